"""The commands before and at a restart of the system: they save its data, and then restart it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jidoteki.core.jobs import persisting
from jidoteki.hookspecs import Appliance, Job, JobError, trials

DEFAULT: Final = ("reboot",)
NOTHING: Final = "No {} command is configured: nothing to do"


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
        require(run(job, "persist", argv), "persist")


def run(job: Job, name: str, argv: list[str]) -> int:
    """Run a command, and return its exit status.

    :raises JobError: it cannot be started, or took too long; the message says that the system does not reboot.
    """
    job.log(f"Running the {name} command")
    try:
        return job.command(*argv, timeout=job.host_config["limits"]["command"], privileged=True)
    except JobError as failure:
        raise JobError(f"The {name} command failed: {failure.message}; the system does not reboot") from failure


def require(status: int, name: str) -> None:
    """Return if a command succeeded.

    :raises JobError: it failed; the message says that the system does not reboot.
    """
    if status:
        raise JobError(f"The {name} command failed with exit status {status}; the system does not reboot")
