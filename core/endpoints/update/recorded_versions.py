"""The versions that are recorded on the appliance: what a package is compared with, and what an update writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from jidoteki.core.endpoints.update import highest_version, versions
from jidoteki.core.endpoints.update.versions import VersionError
from jidoteki.hookspecs import Appliance, Job, JobError
from jidoteki.hookspecs.free_space import FULL

VERSION: Final = "version.txt"
CHANGELOG: Final = "changelog.txt"
MAX_CHANGELOG: Final = 4 * 1024 * 1024


def read_installed(appliance: Appliance) -> str | None:
    """Return the installed version, or None.

    :raises VersionError: it is not valid.
    """
    try:
        text = (appliance.read_text(appliance.etc / VERSION) or "").strip()
        return versions.parse(text.splitlines()[0]) if text else None  # the first of several lines, as in the original
    except OSError as error:
        raise VersionError(f"The installed {VERSION} cannot be read ({error.strerror})") from error
    except VersionError as error:
        raise VersionError(f"The installed {VERSION} is not valid") from error


def valid(read: Callable[[Appliance], str | None], job: Job, log: Callable[[str], None]) -> str | None:
    """Return the version in a record, or None: an invalid record must not prevent a repair by an update."""
    try:
        return read(job.appliance)
    except VersionError as error:
        log(f"{error}: it does not count")
        return None


def former(job: Job, new: str | None) -> str | None:
    """Return the version before an update that is not recorded yet, even where `update.sh` wrote the new one."""
    installed, mark = (valid(read, job, lambda told: None) for read in (read_installed, highest_version.read))
    return mark if installed in (None, new) else installed


def compare(job: Job, candidate: str) -> None:
    """Check that a version is newer than the installed one and the recorded ones.

    :raises VersionError: it is not.
    """
    allowed = job.host_config["update"]["allow-scheme-change-to"]
    installed, mark = valid(read_installed, job, job.log), valid(highest_version.read, job, job.log)
    if installed is not None:
        versions.require_newer(candidate, installed, f"the installed version {installed}", allowed)
    if mark is not None:
        named = f"{mark}, the highest version that was installed here ({highest_version.path(job.appliance)})"
        versions.require_newer(candidate, mark, named, allowed)
    begun = valid(highest_version.read_begun, job, job.log)
    if begun is not None and candidate != begun:  # the same one may be tried again
        where = (
            f"{begun}, whose installation was begun here ({highest_version.path(job.appliance, highest_version.BEGUN)})"
        )
        versions.require_newer(candidate, begun, where, allowed)


def record(job: Job, version: str | None, changelog: bytes | None) -> None:
    """Record which version is installed from now on."""
    etc, mark = job.appliance.etc, highest_version.path(job.appliance)
    if changelog is not None:
        try:
            job.appliance.replace_file(etc / CHANGELOG, changelog)
        except OSError as error:  # the version must be recorded nevertheless
            job.log(f"The changelog cannot be written: {error.strerror or error}")
    if version is not None:
        contents: dict[Path, str | bytes] = {etc / VERSION: f"{version}\n", mark: f"{version}\n"}
        _write(job, version, contents, mark)
    highest_version.path(job.appliance, highest_version.BEGUN).unlink(missing_ok=True)


def _write(job: Job, version: str, contents: dict[Path, str | bytes], mark: Path) -> None:
    try:
        job.appliance.replace_files(contents, modes={mark: highest_version.MODE})
    except OSError as error:
        if error.errno in FULL:
            raise
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise JobError(f"The update was carried out, but version {version} cannot be recorded: {reason}") from error


def record_installed(job: Job) -> None:
    """Record the installed version as the highest if there is no record: the script may change `version.txt`."""
    installed, mark = (valid(read, job, lambda told: None) for read in (read_installed, highest_version.read))
    if installed is not None and mark is None:
        job.appliance.replace_file(highest_version.path(job.appliance), f"{installed}\n", highest_version.MODE)
