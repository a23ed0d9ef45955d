"""The commands that save the system's data through a reboot, on systems that run from memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import Appliance, JobType

#: The type of the job that runs them for what is no job, or one without the right to.
JOB_TYPE: Final = "persist"
NOT_KEPT: Final = "The change is in force, but not kept through a reboot"
#: The program that the original API runs after each change, if the system has it.
TOOL = Path("usr/bin/symlinktool.sh")
DEVICE = Path("etc/sysconfig/backup_device")


def is_apart(job: JobType, host_config: Mapping[str, Any]) -> bool:
    """Return whether root keeps the data in a job of its own: a job of the service's user cannot do it."""
    return not job.privileged and host_config["jobs"]["run-as"] == "unit"


def commands(host_config: Mapping[str, Any], appliance: Appliance) -> list[list[str]]:
    """Return the commands to run in this order; none if there is nothing to do.

    :param host_config: the configuration; the default of `commands.persist` is the original's commands.
    """
    configured = host_config["commands"]["persist"]
    if configured:
        return [list(configured)]
    tool = appliance.root / TOOL
    if not tool.is_file():
        return []
    try:
        device = (appliance.read_text(appliance.root / DEVICE) or "").strip().replace("/", "", 1)
    except OSError:
        device = ""
    return [[str(tool), "-c", device], [str(tool), "-r", device]]
