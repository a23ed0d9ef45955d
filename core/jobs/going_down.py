"""The commands before and at a restart of the system: they save its data, and then restart it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from jidoteki.core.jobs import persisting
from jidoteki.core.jobs.last_words import LastWords
from jidoteki.hookspecs import Appliance, Job, JobError, trials

DEFAULT: Final = ("reboot",)
NOTHING: Final = "No {} command is configured: nothing to do"


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    failure: str
    """What a status other than 0 means, with the last line that it printed."""


def command(host_config: Mapping[str, Any], appliance: Appliance) -> list[str] | None:
    """Return the command that restarts the system; None if there is none."""
    configured = host_config["commands"]["reboot"]
    if configured:
        return list(configured)
    return list(DEFAULT) if str(appliance.root) == "/" else None


def pending(jobs: Path) -> list[str]:
    """Return the types of the jobs whose change waits for its confirmation, and is put back before the restart.

    :param jobs: the directory of the records.
    """
    types = sorted({path.stem.partition("-")[2] for path in jobs.glob("*-*.trial")})
    return [each for each in types if (trial := trials.find(jobs, each)) and trial.is_waiting]


def persist(job: Job) -> None:
    """Save the system's data.

    :raises JobError: a command failed; the message says that the system does not reboot.
    """
    commands = persisting.commands(job.host_config, job.appliance)
    if not commands:
        job.log(NOTHING.format("persist"))
    for argv in commands:
        require(run(job, "persist", argv))


def run(job: Job, name: str, argv: list[str]) -> Ended:
    """Run a command, and return how it ended.

    :raises JobError: it cannot be started, or took too long; the message says that the system does not reboot.
    """
    job.log(f"Running the {name} command")
    words = LastWords()
    try:
        timeout = job.host_config["limits"]["command"]
        status = job.command(*argv, timeout=timeout, privileged=True, listen=words.keep)
    except JobError as failure:
        raise JobError(f"The {name} command failed: {failure.message}; the system does not reboot") from failure
    return Ended(status, f"{words.failure(f'The {name} command', status)}; the system does not reboot")


def require(ended: Ended) -> None:
    """Return if a command succeeded.

    :raises JobError: it failed; the message says that the system does not reboot.
    """
    if ended.status:
        raise JobError(ended.failure)
