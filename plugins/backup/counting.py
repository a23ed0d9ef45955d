"""How long an archive will be, counted beside its packing: with many small files it took a fifth of the time before."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NoReturn, Self


class Count:
    """A count in a process of its own, started at once; a context manager, at whose end the process ends.

    It is a fork, so use it while no other thread is at work. A count that fails, or cannot be started, is never known.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._result: int | None = None
        self._pid: int | None = None
        self._pipe, pipe = os.pipe()
        with suppress(OSError):
            self._pid = os.fork()
        if self._pid == 0:
            _run(count, pipe)
        os.close(pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._pipe)
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def result(self, wait: bool = False) -> int | None:
        """What was counted; None as long as it is not known."""
        if self._result is None:
            os.set_blocking(self._pipe, wait)
            try:
                self._result = int(os.read(self._pipe, 32) or -1)
            except BlockingIOError:
                return None
        return None if self._result < 0 else self._result


def _run(count: Callable[[], int], pipe: int) -> NoReturn:
    try:
        os.closerange(0, pipe)
        os.closerange(pipe + 1, 1 << 20)  # above all the lock of the job, which must not outlive it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.write(pipe, b"%d" % count())
    finally:
        os._exit(0)
