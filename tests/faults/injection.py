"""What is put between a host and the processes of its jobs: faults, injected with strace, or a gate."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from jidoteki.testing import Host, wait_until

KILLED_AT = (
    *("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir"),
    *("mkdirat", "rmdir", "link", "linkat", "symlinkat", "ftruncate", "fchmod", "fchmodat", "utimensat", "flock"),
)


def _interpreter(path: Path, before: str) -> Path:
    """A program that is this Python, with something in front of it."""
    path.write_text(f'#!/bin/sh\n{before} {shlex.quote(sys.executable)} "$@"\n')
    path.chmod(0o755)
    return path


class Injector:
    """A Python interpreter for jobs that fails where it is told to."""

    def __init__(self, host: Host) -> None:
        directory = host.appliance.root.parent
        self._options = directory / "injection"
        self._trace = directory / "trace"
        self._once = directory / "inject-once"
        spent = f"if [ -e {self._once} ]; then rm {self._once}; echo '-e trace=none' > {self._options}; fi"
        traced = f"o=$(cat {self._options}); {spent}; exec strace -DDD -q -o {self._trace} $o"
        self.python = _interpreter(directory / "python", traced)
        self.nothing()

    def nothing(self) -> None:
        """Let jobs run undisturbed."""
        self._options.write_text("-e trace=none")

    def use(self, call: str, nth: int | str, what: str) -> None:
        """Let the n-th call of the next job fail."""
        self._options.write_text(f"-e trace={call} -e inject={call}:{what}:when={nth}")

    def only_once(self) -> None:
        """Let the jobs after the next one run undisturbed."""
        self._once.touch()

    def count(self, calls: tuple[str, ...], *steps: Callable[[], object]) -> Counter[str]:
        """How often a job makes each call while the steps are carried out."""
        self._options.write_text(f"-e trace={','.join(calls)}")
        for step in steps:
            step()
        self.nothing()
        return Counter(re.findall(r"^(\w+)\(", self._whole_trace(), re.MULTILINE))

    def has_struck(self) -> bool:
        """Whether the fault befell the job that has just ended: it may make fewer calls than the one that was counted.

        Priorities of sessions are written until the kernel takes them, which it does ten times a second.
        """
        return "(INJECTED)" in self._whole_trace()

    def _whole_trace(self) -> str:
        wait_until(lambda: "\n+++ " in "\n" + self._trace.read_text())
        return self._trace.read_text()


class Gate:
    """A Python interpreter for jobs that waits until it is let go, a minute at most."""

    def __init__(self, host: Host) -> None:
        directory = host.appliance.root.parent
        self._open = directory / "gate-is-open"
        waiting = f"while [ ! -e {self._open} ] && [ $n -lt 1200 ]; do n=$((n + 1)); sleep 0.05; done"
        self.python = _interpreter(directory / "gated-python", f"n=0; {waiting}; exec")

    def shut(self) -> None:
        """Let the next jobs wait."""
        self._open.unlink(missing_ok=True)

    def open(self) -> None:
        """Let them go on."""
        self._open.touch()


def injected_host(host: Host, injector: Injector | Gate, *arguments: str) -> None:
    """Start a host whose jobs run under the injector."""
    program = f"import sys; sys.executable = {str(injector.python)!r}; from jidoteki.core.cli import main; main()"
    with mock.patch.object(Host, "_command", (sys.executable, "-c", program)):
        host.start(*arguments)


def points(counts: Counter[str], most: int) -> list[tuple[str, int]]:
    """The calls to fail at: all, or `most` of them spread evenly."""
    every = [(call, nth) for call in sorted(counts) for nth in range(1, counts[call] + 1)]
    step = max(1, len(every) // most)
    return every[::step]


def ptrace_works() -> bool:
    """Whether strace may trace here: a container can forbid it."""
    try:
        return subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True).returncode == 0
    except OSError:
        return False
