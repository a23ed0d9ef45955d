"""What processes take: their memory while something goes on, and the time and memory of a command from start to end."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from jidoteki.testing import Host

INTERVAL = 0.1


def begin_peak(pid: int) -> int:
    """Let the kernel count the peak of a process's memory anew, and return the resident bytes it starts from."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak(pid)


def peak(pid: int) -> int:
    """The most resident bytes that a process had, as the kernel counts them: to sample often would be a load."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


class LargestChild:
    """The most resident bytes, in `most`, of a descendant of this process inside a `with`; looked at now and then."""

    def __init__(self) -> None:
        self.most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

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
            for child in psutil.Process().children(recursive=True):
                with suppress(OSError):
                    self.most = max(self.most, peak(child.pid))


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
