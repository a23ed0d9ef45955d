"""What processes take: their memory while something goes on, and the time and memory of a command from start to end."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from jidoteki.testing import Host

MIB = 1024 * 1024
INTERVAL = 0.02


class Peak:
    """The most memory that a process took inside a `with`, sampled: its own, and that of its largest child.

    All sizes are resident bytes.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self.most = self._process.memory_info().rss
        self.child = 0

    @property
    def growth(self) -> int:
        """By how much the memory of the process itself grew."""
        return self.most - self.before

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.most = max(self.most, self._process.memory_info().rss)
            for child in self._process.children(recursive=True):
                try:
                    self.child = max(self.child, child.memory_info().rss)
                except psutil.Error:
                    continue


def seconds(argv: Sequence[str | Path], cwd: Path | None = None) -> float:
    """Run a command to its successful end and return the seconds that it took.

    :raises subprocess.CalledProcessError: it failed.
    """
    began = time.perf_counter()
    subprocess.run([*map(str, argv)], check=True, cwd=cwd, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def settle() -> None:
    """Write what is still in memory to the disk, so that one run does not pay for the one before."""
    os.sync()


def pid_of(host: Host) -> int:
    """The process of a running host."""
    assert host.process
    return host.process.pid
