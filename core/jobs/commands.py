"""Programs that a job runs, whose output goes to its log: see `hookspecs.programs`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from jidoteki.core.jobs import priority
from jidoteki.hookspecs import Appliance, JobError, privileges, programs, rooted
from jidoteki.hookspecs.programs import UMASK

MAX_OUTPUT = 8 * 1024 * 1024


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
    """Run a program with the usual priority and pass on the beginning of its output.

    :param privileged: as root, where this job runs in a unit of its own.
    :param max_output: bytes; longer output is truncated.
    :raises JobError: it cannot be started, or timed out.
    """
    left = max_output

    def beginning(chunk: bytes) -> None:
        nonlocal left
        if left > 0:
            output(chunk[:left])
            left -= len(chunk)
            if left <= 0:
                output(b"\n[output cut here]\n")

    try:
        return programs.run(
            argv, timeout=timeout, output=beginning, env=env, cwd=cwd, umask=umask, name=name, checkpoint=checkpoint,
            starting=lambda start: priority.usual(partial(privileges.as_root, start) if privileged else start),
        )  # fmt: skip
    except programs.ProgramError as error:
        raise JobError(str(error)) from error
