"""The check by `jidoteki check` of the license, and of the keys that read it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jidoteki.hookspecs import Appliance, Finding, paths
from jidoteki.plugins.license import key_faults, programs
from jidoteki.plugins.license.gpg import LicenseError, NoMessageError
from jidoteki.plugins.license.programs import ToolError
from jidoteki.plugins.license.reading import LicenseFiles, ask_script, content_of, exit_warning, verified

GPG = "gpg"
COMMAND_TIMEOUT = 60.0
PUT_KEY = "Put the appliance's own OpenPGP secret key there, without a passphrase."


def check(appliance: Appliance, command_timeout: float = COMMAND_TIMEOUT) -> Iterator[Finding]:
    """Yield why `GET /license` does not show the installed license, or why `POST /license` will refuse each one.

    :param command_timeout: timeout of the vendor's command, in seconds.
    """
    files = LicenseFiles.of(appliance)
    if files.scripted:
        if os.path.lexists(files.license) and _may_run(appliance, files.script):
            yield from _asked(appliance, files, command_timeout)
        return
    yield from _signers(appliance, files)
    missing = list(_missing(files))
    yield from missing or _tried(appliance, files)


def _missing(files: LicenseFiles) -> Iterator[Finding]:
    if not shutil.which(GPG, path=programs.PATH):
        message = f"licenses cannot be read: {GPG} is in none of {programs.PATH}"
        yield Finding("error", "license", message, "Install GnuPG, or a license.sh that does without.")
    if not os.path.lexists(files.key):
        message = f"no license can be read: there is no {files.key.name}, the key that decrypts it"
        yield Finding("error", "license", message, PUT_KEY, str(files.key))


def _signers(appliance: Appliance, files: LicenseFiles) -> Iterator[Finding]:
    try:
        status = files.signers.stat()
    except OSError:
        if not os.path.lexists(files.signers):
            message = "there is none: a license of anybody counts that is encrypted to this appliance"
            advice = "Put the certificate of the key that signs your licenses there."
            yield Finding("warning", "license", message, advice, str(files.signers))
        return
    others = 0o002 if status.st_gid == appliance.group else 0o022
    commands = [] if paths.is_own(status) else ["chown root"]
    commands += ["chmod go-w"] if status.st_mode & others else []
    if commands:
        message = "somebody else than root and the service owns it or may write to it, and decides whose licenses count"
        advice = f"Run: {' && '.join(f'{each} {shlex.quote(str(files.signers))}' for each in commands)}"
        yield Finding("error", "permissions", message, advice, str(files.signers))


def _tried(appliance: Appliance, files: LicenseFiles) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as directory:
        if os.path.lexists(files.license):
            try:
                verified(appliance, files.license, Path(directory))
                return
            except NoMessageError:
                message = "it is no license, and GET /license says so"
                yield Finding("note", "license", message, "Send one with POST /license.", str(files.license))
            except (LicenseError, ToolError) as error:
                advice = (
                    "Send a license for this appliance with POST /license, or put back license.key and license.pub."
                )
                yield Finding("error", "license", f"GET /license does not show it: {error}", advice, str(files.license))
                return
        yield from _keys(files, Path(directory))


def _keys(files: LicenseFiles, directory: Path) -> Iterator[Finding]:
    for path, fault_of, advice in (
        (files.key, key_faults.of_secret_key, PUT_KEY),
        (
            files.signers,
            key_faults.of_certificates,
            "Put the OpenPGP certificate of the key that signs licenses there.",
        ),
    ):
        try:
            content = content_of(path)
            fault = None if content is None else fault_of(content, directory)
        except (LicenseError, ToolError) as error:
            fault = str(error)
            if not os.access(path, os.R_OK):
                advice = f"Let the service's user read it: chown {os.geteuid()} {shlex.quote(str(path))}"
        if fault:
            yield Finding("error", "license", f"POST /license refuses each license: {fault}", advice, str(path))
    with contextlib.suppress(LicenseError, ToolError):
        key, signers = content_of(files.key), content_of(files.signers)
        if key and signers and (fault := key_faults.of_both(key, signers, directory)):
            yield Finding("error", "license", fault, f"Remove it from all appliances. {PUT_KEY}", str(files.key))


def _may_run(appliance: Appliance, script: Path) -> bool:
    """Return whether the service runs the command as this user anyway, and nobody else can change it."""
    try:
        return appliance.jobs.stat().st_uid == os.geteuid() and all(
            paths.is_private(each.stat()) for each in (script.parent, script)
        )
    except OSError:
        return False


def _asked(appliance: Appliance, files: LicenseFiles, command_timeout: float) -> Iterator[Finding]:
    try:
        _, status = ask_script(appliance, command_timeout)
    except (LicenseError, ToolError) as error:
        advice = "Let it read etc/license.asc and print a JSON object, or remove it: then GnuPG reads the license."
        yield Finding("error", "license", f"GET /license does not show the license: {error}", advice, str(files.script))
    else:
        if status:
            advice = "Let it end with 0 where it prints the license."
            yield Finding("warning", "license", exit_warning(status), advice, str(files.script))
