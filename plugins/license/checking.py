"""The check of the license by `jidoteki check`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jidoteki.hookspecs import Appliance, Finding, paths
from jidoteki.plugins.license import programs
from jidoteki.plugins.license.gpg import LicenseInvalid, NoMessage
from jidoteki.plugins.license.programs import ToolFailed
from jidoteki.plugins.license.reading import LicenseFiles, ask_script, exit_warning, verified

GPG = "gpg"
COMMAND_TIME = 60.0


def check(appliance: Appliance, command_time: float = COMMAND_TIME) -> Iterator[Finding]:
    """Yield why `GET /license` does not show the installed license.

    :param command_time: timeout of the vendor's command, in seconds.
    """
    files = LicenseFiles.of(appliance)
    if not os.path.lexists(files.license):
        return
    if files.scripted:
        if _may_run(appliance, files.script):
            yield from _asked(appliance, files, command_time)
        return
    missing = list(_missing(files))
    yield from missing or _tried(appliance, files)


def _missing(files: LicenseFiles) -> Iterator[Finding]:
    if not shutil.which(GPG, path=programs.PATH):
        message = f"licenses cannot be read: {GPG} is in none of {programs.PATH}"
        yield Finding("error", "license", message, "Install GnuPG, or a license.sh that does without.")
    if not os.path.lexists(files.key):
        message = f"the license cannot be read: there is no {files.key.name}, the key that decrypts it"
        yield Finding("error", "license", message, "Put the appliance's own OpenPGP secret key there.", str(files.key))


def _tried(appliance: Appliance, files: LicenseFiles) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryDirectory() as directory:
            verified(appliance, files.license, Path(directory))
    except NoMessage:
        message = "it is no license, and GET /license says so"
        yield Finding("note", "license", message, "Send one with POST /license.", str(files.license))
    except (LicenseInvalid, ToolFailed) as error:
        advice = "Send a license for this appliance with POST /license, or put back license.key and license.pub."
        yield Finding("error", "license", f"GET /license does not show it: {error}", advice, str(files.license))


def _may_run(appliance: Appliance, script: Path) -> bool:
    """Return whether the service runs the command as this user anyway, and nobody else can change it."""
    try:
        return appliance.jobs.stat().st_uid == os.geteuid() and all(
            paths.is_private(each.stat()) for each in (script.parent, script)
        )
    except OSError:
        return False


def _asked(appliance: Appliance, files: LicenseFiles, command_time: float) -> Iterator[Finding]:
    try:
        _, status = ask_script(appliance, command_time)
    except (LicenseInvalid, ToolFailed) as error:
        advice = "Let it read etc/license.asc and print a JSON object, or remove it: then GnuPG reads the license."
        yield Finding("error", "license", f"GET /license does not show the license: {error}", advice, str(files.script))
    else:
        if status:
            advice = "Let it end with 0 where it prints the license."
            yield Finding("warning", "license", exit_warning(status), advice, str(files.script))
