"""Computing the size of an archive beside its packing, as it takes a fifth of the time with many small files."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NoReturn, Self


class Count:
    """A computation in a child process, started at once; a context manager, which kills the process at its end.

    It forks, so use it while no other thread is running. A count that fails, or cannot be started, has no result.
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
        """Return the result; None as long as there is none."""
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
        os.closerange(pipe + 1, 1 << 20)  # above all the job's lock, which must be released when the job ends
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.write(pipe, b"%d" % count())
    finally:
        os._exit(0)
