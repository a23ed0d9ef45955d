"""The logs of jobs, which are rotated."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jidoteki.core import files
from jidoteki.core.files import leftovers
from jidoteki.hookspecs import Appliance, JobType, paths

MAX_LOG = 1024 * 1024
MAX_RUN_LOG = 16 * 1024 * 1024
#: Bytes of lines of the job itself that still have room where programs have filled the rest: why it failed, above all.
MAX_LINES = 1024 * 1024
MAX_LINE = 4096


def printable(text: str) -> str:
    """Return a text with its unprintable characters escaped, line ends among them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Log:
    """The log of a job type, to which each run appends, and the log of this run.

    :param group: the group that may read the former when it is created.
    """

    def __init__(self, path: Path, run_path: Path, source: str, group: int | None = None) -> None:
        self._source = source
        self._shared: list[int] = []
        self._own: list[int] = []
        for each, readers, into in ((path, group, self._shared), (run_path, None, self._own)):
            # A failure of one log must not prevent an update, so each is optional.
            with leftovers.tolerated(f"{each} cannot be written"):
                into.append(open_log(each, group=readers))
        self._left = MAX_RUN_LOG + MAX_LINES
        self._at_line_start = True

    def line(self, message: str, plain: bool = False) -> None:
        """Append a message as one line; unprintable characters are escaped.

        :param plain: whether to omit the time and the source.
        """
        shown = printable(message[:MAX_LINE])
        start = "" if self._at_line_start else "\n"
        prefix = "" if plain else f"[{int(time.time())}][{self._source}] "
        self.write(f"{start}{prefix}{shown}\n".encode("utf-8", "backslashreplace"), spare=0)

    def write(self, output: bytes, spare: int = MAX_LINES) -> None:
        """Append bytes unchanged; errors are ignored, so that a full disk does not end a job.

        :param spare: bytes that are left to others.
        """
        output = self._write(output, [*self._shared, *self._own], spare)
        if output:
            self._at_line_start = output.endswith(b"\n")

    def write_own(self, output: bytes) -> None:
        """Append bytes to the log of this run only: other tools evaluate the last lines of the shared one."""
        self._write(output, self._own, MAX_LINES)

    def store(self) -> None:
        """Write to disk what was appended, so that a power cut takes nothing of it."""
        for descriptor in (*self._shared, *self._own):
            with leftovers.tolerated("A log cannot be stored"):
                os.fsync(descriptor)

    def close(self) -> None:
        for descriptor in (*self._shared, *self._own):
            os.close(descriptor)

    def _write(self, output: bytes, descriptors: list[int], spare: int) -> bytes:
        output = output[: max(0, self._left - spare)]
        self._left -= len(output)
        for descriptor in descriptors:
            with leftovers.tolerated("What a job says cannot be written to a log"):
                files.write_all(descriptor, output)
        return output


def of(appliance: Appliance, job: JobType, run_path: Path) -> Log:
    """Open the logs of a run.

    :param run_path: the path of this run's log.
    """
    return Log(appliance.log / (job.log or f"{job.name}.log"), run_path, job.source, appliance.group)


def open_log(path: Path, mode: int = 0o600, group: int | None = None) -> int:
    """Open a log for appending, after rotating one that is too long, and return its descriptor.

    :param mode: the permissions of a new one.
    :param group: as of `leftovers.append_own`.
    :raises OSError: it cannot be created or written.
    """
    paths.make_directories(path.parent)
    with leftovers.tolerated(f"{path} is too long and stays"):
        if os.path.lexists(path) and path.lstat().st_size > MAX_LOG:
            path.replace(path.with_name(f"{path.name}.1"))
    return leftovers.append_own(path, mode, group)
