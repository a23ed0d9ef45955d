"""Checks of an appliance's files: versions, permissions, owners, and free space."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from jidoteki.core.appliance import Appliance
from jidoteki.core.config.loading import Config
from jidoteki.core.files import ownership
from jidoteki.hookspecs import Finding, named_tokens, paths


def check(appliance: Appliance, config: Config) -> Iterator[Finding]:
    """Check the files."""
    if config.values["jobs"]["run-as"] != "unit":  # there the record is root's, and out of the service's sight
        yield from _versions(appliance)
    yield from _permissions(appliance, config)
    yield from _owners(appliance)
    yield from _space(appliance, config)


def _versions(appliance: Appliance) -> Iterator[Finding]:
    from jidoteki.core.endpoints.update import highest_version, versions

    path = highest_version.path(appliance)
    try:
        mark = highest_version.read(appliance)
    except (versions.VersionError, OSError) as error:
        advice = f"Remove {path}: the next update begins the record anew with version.txt."
        yield Finding("warning", "updates", f"the highest version that was installed is not known: {error}", advice)
        return
    lines = (_text(appliance.etc / "version.txt") or "").strip().splitlines()
    with contextlib.suppress(versions.VersionError):
        installed = versions.parse(lines[0] if lines else "")
        if mark and versions.is_newer(installed, mark):
            message = (
                f"it says {installed}, and {mark} is the highest that an update installed: a package must be newer"
            )
            advice = "Nothing is to be done if that version was put there by an image or by hand; else correct it."
            yield Finding("note", "updates", f"{message} than both", advice, str(appliance.etc / "version.txt"))
        elif mark and not versions.is_equal(installed, mark):
            message = f"it says {installed}, but {mark} was installed: a package must be newer than that"
            advice = f"If another version was put there on purpose, remove {path}."
            yield Finding("warning", "updates", message, advice, str(appliance.etc / "version.txt"))


def _permissions(appliance: Appliance, config: Config) -> Iterator[Finding]:
    in_units = config.values["jobs"]["run-as"] == "unit"
    for name in ("api.token", "api.token.setup", named_tokens.FILE, "updates.key", "license.key"):
        path = appliance.etc / name
        try:
            status = path.stat()
        except OSError:
            continue
        mode = stat.S_IMODE(status.st_mode)
        if name == "api.token.setup" and not status.st_size:
            continue  # the original empties it
        of_root = in_units and status.st_uid == 0 and status.st_gid == os.getegid()  # that the service may read
        shared = of_root or status.st_gid in (appliance.group, ownership.group_of(None, appliance.etc))
        if mode & (0o007 if shared else 0o077):
            message = f"other users of this machine may read or change it (mode {mode:04o})"
            advice = f"Run: chmod {mode & (0o660 if shared else 0o600):o} {shlex.quote(str(path))}"
            if in_units and name == "updates.key":
                place = shlex.quote(str(path.resolve()))
                advice = f"Run: chown root:{ownership.group_name(os.getegid())} {place} && chmod 640 {place}"
            yield Finding("error", "permissions", message, advice, str(path))
    written = [appliance.etc, appliance.log, appliance.spool, appliance.tmp]
    for directory in written if in_units else [*written, appliance.system_etc]:
        if directory.exists() and not os.access(directory, os.W_OK):
            advice = "Run the service, and this, as the user that the directory belongs to."
            if in_units and directory != appliance.system_etc:
                advice = f"Run: chown {ownership.user_name(os.geteuid())}: {shlex.quote(str(directory))}"
            if directory == appliance.system_etc and not appliance.configuration.exists():
                advice = "Run: jidoteki provision, if root is to run jobs. Else: " + advice[:1].lower() + advice[1:]
            yield Finding("error", "permissions", "this user cannot write there", advice, str(directory))


def _owners(appliance: Appliance) -> Iterator[Finding]:
    """Check the owners of files that are ignored if somebody else can have created them."""
    for name in ("api.token.setup", named_tokens.FILE, "debug.txt", "logs.txt", "updates.pub", "updates.revoked"):
        path = appliance.etc / name
        try:
            os.close(paths.open_trusted(path))
        except paths.NotTrustedError:
            waits = name == "api.token.setup" and _text(path) == _text(appliance.etc / "api.token")
            if path.stat().st_size and not waits:  # the original leaves a pending first run this way
                message = "it does not count, for it belongs to somebody else than root and the service's user"
                advice = f"Run: chown root {shlex.quote(str(path))}"
                yield Finding("warning", "permissions", message, advice, str(path))
        except OSError:
            continue


def _space(appliance: Appliance, config: Config) -> Iterator[Finding]:
    wanted = config.values["limits"]["free-space"]
    for directory in (appliance.spool, appliance.etc):
        if directory.exists() and (free := shutil.disk_usage(directory).free) < wanted:
            message = f"{free} bytes are free, less than the {wanted} of limits.free-space"
            yield Finding("error", "disk", message, "Make room, or uploads and backups are refused.", str(directory))


def _text(path: Path) -> str | None:
    try:
        return paths.read_regular(path, follow=True).decode("utf-8", "replace")
    except OSError:
        return None
