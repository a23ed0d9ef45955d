"""Programs that a job runs, whose output goes to its log: see `hookspecs.programs`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from jidoteki.core.jobs import priority
from jidoteki.core.jobs.last_words import LastWords
from jidoteki.hookspecs import Appliance, JobError, privileges, programs, rooted
from jidoteki.hookspecs.programs import UMASK

MAX_OUTPUT = 8 * 1024 * 1024
CUT = b"\n[output cut here]\n"


def environment(appliance: Appliance) -> dict[str, str]:
    """Return the environment variables of every program of a job."""
    return programs.environment(**programs.script_environment(appliance))


def require_roots(program: Path) -> None:
    """Check that nobody but root decides what root executes, where this job can be root.

    :raises JobError: somebody else may change it.
    """
    if not privileges.are_kept():
        return
    try:
        with privileges.raised():
            rooted.require(program)
    except OSError as error:
        raise JobError(f"{program.name} is not run as root: {error.strerror}") from error


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    output: Callable[[bytes], None],
    env: Mapping[str, str],
    cwd: Path | None = None,
    umask: int = UMASK,
    name: str = "",
    checkpoint: Callable[[], None] = lambda: None,
    max_output: int = MAX_OUTPUT,
    privileged: bool = False,
) -> int:
    """Run a program with the usual priority and pass on its output.

    :param privileged: as root, where this job runs in a unit of its own.
    :param max_output: bytes; of a longer output the beginning and the last lines are passed on.
    :raises JobError: it cannot be started, or timed out.
    """
    shortened = _Shortened(output, max_output)
    try:
        return programs.run(
            argv, timeout=timeout, output=shortened.take, env=env, cwd=cwd, umask=umask, name=name,
            checkpoint=checkpoint,
            starting=lambda start: priority.usual(partial(privileges.as_root, start) if privileged else start),
        )  # fmt: skip
    except programs.ProgramError as error:
        raise JobError(str(error)) from error
    finally:
        shortened.finish()


class _Shortened:
    """Passes on the beginning of an output, and where that is not all its end, which tells why a program failed.

    :param size: bytes of the beginning.
    """

    def __init__(self, output: Callable[[bytes], None], size: int) -> None:
        self._output = output
        self._left = size
        self._end = LastWords()

    def take(self, chunk: bytes) -> None:
        """Take the next piece."""
        beginning, rest = chunk[: self._left], chunk[self._left :]
        self._left -= len(beginning)
        if beginning:
            self._output(beginning)
        if rest and not self._end.content:
            self._output(CUT)
        self._end.keep(rest)

    def finish(self) -> None:
        """Pass on the end, once there is no more."""
        if self._end.content:
            self._output(self._end.content)
