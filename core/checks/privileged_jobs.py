"""Checks of whether root runs the jobs that are to be root's, by what systemd says."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jidoteki.core.jobs import units
from jidoteki.core.jobs.helper import STATE
from jidoteki.core.jobs.launch import Launcher
from jidoteki.hookspecs import Finding

TEMPLATE: Final = "jidoteki-job@.service"
#: By why the unit is not loaded.
ADVICE: Final = {
    "not-found": "Install the service's package anew.",
    "masked": f"Run: systemctl unmask {TEMPLATE}",
}


def check(launcher: Launcher) -> Iterator[Finding]:
    """Check whether the service may have such jobs started, and root runs each type of them."""
    wanted = {name: plugin.name for name, (plugin, _) in launcher.job_types.items() if launcher.has_unit(name)}
    if not wanted:
        return
    if not units.is_booted():
        message = "systemd, by which root runs jobs, does not run here"
        advice = 'In an image this is as it should be. Else take "jobs" out of the configuration.'
        yield Finding("note", "job", message, advice)
        return
    try:
        unit = units.properties("LoadState", "Environment", "EnvironmentFiles")
        if unit["LoadState"] == "loaded":
            units.require_start()
    except OSError as error:
        advice = (
            f"See its drop-ins, systemctl cat {TEMPLATE}, and that dbus and polkit run, systemctl status dbus polkit. "
            "Else install the service's package anew."
        )
        yield Finding("error", "job", f"root runs no jobs: {error}", advice)
        return
    if unit["LoadState"] != "loaded":
        advice = f"Correct it, or what drop-ins make of it: systemctl cat {TEMPLATE}"
        advice = ADVICE.get(unit["LoadState"], advice)
        yield Finding("error", "job", f"root runs no jobs: {TEMPLATE} is {unit['LoadState']}", advice)
    elif _is_full(STATE):
        advice = "Make room on its file system, for files and for their number: df, df -i."
        yield Finding(
            "error", "job", "root runs no jobs: nothing can be made any more where it works", advice, str(STATE)
        )
    elif not unit.get("EnvironmentFiles"):  # which the service may not be able to read
        yield from _types(wanted, unit["Environment"])


def _is_full(directory: Path) -> bool:
    """Return whether root can make no file in a directory, or where that is to be made."""
    there = next(each for each in (directory, *directory.parents) if each.exists())
    room = os.statvfs(there)
    return room.f_bfree == 0 or (room.f_files > 0 and room.f_ffree == 0)


def _types(wanted: dict[str, str], environment: str) -> Iterator[Finding]:
    """Check that the unit names each type.

    :param wanted: the name of the plugin of each type.
    :param environment: of the unit, as a shell would read it.
    """
    try:
        variables = dict(each.split("=", 1) for each in shlex.split(environment))
    except ValueError:  # it is none that a shell reads, and tells nothing of the types
        return
    permitted = variables.get(units.TYPES, "").replace(r"\t", " ").split()  # systemctl writes a tab so
    missing = [name for name in wanted if name not in permitted]
    if missing:
        plugins = ", ".join(sorted({wanted[name] for name in missing}))
        message = f"root does not run jobs of the types {' '.join(missing)}: what {plugins} does by them is refused"
        advice = (
            f'Put Environment="{units.TYPES}={" ".join([*permitted, *missing])}" below [Service] in a drop-in, '
            f"/etc/systemd/system/{TEMPLATE}.d/types.conf, with the types of other plugins that are to be enabled, "
            "and run: systemctl daemon-reload"
        )
        yield Finding("error", "plugin", message, advice)
