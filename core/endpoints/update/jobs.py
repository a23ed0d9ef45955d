"""The job that installs an update package."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from jidoteki.core.archives.unpacking import Policy
from jidoteki.core.endpoints.update import (
    course,
    description,
    highest_version,
    inbox,
    kept_programs,
    package,
    preflight,
    programs_of_package,
    recorded_versions,
    restarting,
    script,
    trial,
    unpacked,
    versions,
)
from jidoteki.core.endpoints.update.description import Description
from jidoteki.core.endpoints.update.package import NoRoomForPackageError, PackageError
from jidoteki.core.endpoints.update.preview import preview
from jidoteki.core.endpoints.update.recorded_versions import CHANGELOG, MAX_CHANGELOG, VERSION
from jidoteki.core.endpoints.update.trial_state import DamagedError
from jidoteki.core.endpoints.update.versions import VersionError
from jidoteki.core.jobs import disks
from jidoteki.hookspecs import Job, JobError, privileges
from jidoteki.hookspecs.free_space import FULL

MAX_LOOKED_AT = 1000
#: The last lines of `update.log`: those of the original's script and of its documentation.
SUCCESS = ("Update successful", "Updating system successful")
NO_SCRIPT = "No update script found, skipping."
MAX_VERSION = 4096


def check(job: Job) -> None:
    """Find, decrypt, verify and unpack the package, and compare versions; `run` continues from there."""
    with _failures(job):
        try:
            _check_package(job)
        except BaseException:
            with privileges.raised():
                inbox.discard(job)
            raise


def run(job: Job) -> None:
    """Run the package's `update.sh` and install its version and changelog; the package is removed afterwards."""
    with _failures(job), privileges.raised():
        try:
            has_script = _install(job, unpacked.accept(job))
        finally:
            inbox.discard(job)
            unpacked.clear(job.appliance)
    for line in SUCCESS if has_script else (NO_SCRIPT,):
        job.log(line)


@contextlib.contextmanager
def _failures(job: Job) -> Iterator[None]:
    """Log errors and convert them to the error codes of the API."""
    try:
        yield
    except (JobError, PackageError, VersionError, OSError) as error:
        failure = _failure(error)
        with contextlib.suppress(OSError):
            job.log(failure.message)
            job.log("Failed updating...")
        raise failure from error


def _failure(error: Exception) -> JobError:
    if isinstance(error, JobError):
        return error
    if isinstance(error, NoRoomForPackageError):
        return JobError(str(error), "E1000")
    if isinstance(error, PackageError):
        return JobError(str(error), "E1005")
    if isinstance(error, VersionError):
        return JobError(str(error), "E1001")
    if isinstance(error, OSError) and error.errno in FULL:
        return JobError("The disk is full: free some space, then update again", "E1000")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return JobError(f"The update could not go on: {reason}", "E1000")


def _check_package(job: Job) -> None:
    job.log("Updating system. Please wait..")
    job.progress(10)
    found = inbox.find(job)
    job.progress(20)
    if found is None:
        if not job.input.get("package"):
            job.log(f"There is no regular file called {inbox.PACKAGES} in {job.appliance.uploads}")
        raise JobError("Missing update package", "E1003")
    with found, privileges.raised():
        _open(job, found)


def _open(job: Job, found: inbox.Found) -> None:
    """Decrypt, verify and unpack a package, where root runs this to where nobody else can change what was verified."""
    inbox.note(job, found)
    size = os.fstat(found.file.fileno()).st_size
    keys = package.Keys(job.appliance.keys)
    job.progress(30)
    decrypted = package.decrypt(
        found.file,
        keys,
        unpacked.workspace(job),
        legacy=job.host_config["update"]["legacy-packages"],
        free_space=job.host_config["limits"]["free-space"],
        checkpoint=lambda: job.progress(30),
    )
    # From here on only the decrypted archive is used.
    job.progress(40)
    key = package.verify(decrypted, keys)
    for name in keys.public.problems:
        job.log(f"{name} holds no key that can be used, and is passed over")
    job.progress(50)
    directory = unpacked.make(job)
    package.unpack(decrypted.archive, directory, _policy(job))
    decrypted.archive.unlink()
    changelog = _read(directory / CHANGELOG, MAX_CHANGELOG)
    told = _description(directory)
    job.progress(60)
    version = _version(job, directory)
    if version is not None:
        recorded_versions.compare(job, version)
    installed = recorded_versions.valid(recorded_versions.read_installed, job, lambda told: None)
    description.require_suitable(told, installed, job.host_config["update"]["product"])
    _require_space(directory, told.free_space + job.host_config["limits"]["free-space"] if told.free_space else 0)
    job.preview(preview(installed=installed, candidate=version, changelog=changelog, size=size, key_id=key.id))
    if os.path.lexists(directory / description.FILE):
        job.preview({"package": told.shown()})
    _require_restart(job, told)
    trial.require_programs(directory)
    if job.input.get("preflight", True):
        preflight.run(job, directory, programs_of_package.environment(installed, version))


def _policy(job: Job) -> Policy:
    return Policy.update(
        max_size=job.host_config["update"]["max-unpacked-size"],
        max_members=job.host_config["update"]["max-members"],
        free_space=job.host_config["limits"]["free-space"],
        umask=unpacked.UMASK,
        checkpoint=lambda: job.progress(50),
    )


def _read(path: Path, limit: int) -> bytes | None:
    """Return the content of a file in the package, or None."""
    if not os.path.lexists(path):
        return None
    if not path.is_file():
        raise PackageError(f"The package's {path.name} is not a file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise PackageError(f"The package's {path.name} is longer than {limit} bytes")
    return content


def _description(directory: Path) -> Description:
    content = _read(directory / description.FILE, description.MAX_SIZE)
    try:
        return Description() if content is None else description.parse(content)
    except ValueError as error:
        raise PackageError(f"The package's {description.FILE} is not valid: {error}") from error


def _require_space(directory: Path, needed: int) -> None:
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise JobError(f"The package needs {needed} bytes of free disk, and {free} are free", "E1000")


def _require_restart(job: Job, told: Description) -> None:
    problem = restarting.problem(job.host_config, job.appliance) if told.reboot else None
    if problem:
        raise JobError(f"The package restarts the appliance to try itself, and {problem}", "E1000")


def _nested_hint(directory: Path) -> str:
    """Return a hint if a directory was packed in place of its content."""
    for found in sorted(itertools.islice(directory.iterdir(), MAX_LOOKED_AT)):
        if not found.is_symlink() and (found / VERSION).is_file():
            return f" at its top, but {found.name}/{VERSION}: pack what is in {found.name}, and not {found.name} itself"
    return ""


def _version(job: Job, directory: Path) -> str | None:
    """Return the package's version; None if the configuration allows packages without one, as the original did."""
    content = _read(directory / VERSION, MAX_VERSION)
    if content is None and job.host_config["update"]["unversioned-packages"]:
        return None
    if content is None:
        raise VersionError(f"The package has no {VERSION}{_nested_hint(directory)}")
    try:
        return versions.parse(content.decode("ascii", "replace"))
    except VersionError as error:
        raise VersionError(f"The package's {VERSION} is not valid: {error}") from error


def _install(job: Job, directory: Path) -> bool:
    """Run the script and install version and changelog; return whether there is a script."""
    # Read before the script runs, which may move the files.
    version, changelog = _version(job, directory), _read(directory / CHANGELOG, MAX_CHANGELOG)
    has_script = os.path.lexists(directory / script.SCRIPT)
    job.progress(70)
    job.commit()
    recorded_versions.record_installed(job)
    begun = highest_version.path(job.appliance, highest_version.BEGUN)
    former = recorded_versions.valid(recorded_versions.read_installed, job, lambda told: None)
    told = _description(directory)
    tried = trial.begin(job, directory, told, former, version) if trial.is_wanted(job, directory, told) else None
    if version is not None:
        job.appliance.replace_file(begun, f"{version}\n", highest_version.MODE)
    inbox.discard(job)  # if it takes the system down, it must not be found again at each boot
    try:
        if has_script:
            script.run(job, directory, programs_of_package.environment(former, version))
        else:
            job.progress(90, final=True)
    except JobError as failure:
        if tried:
            raise course.rolled_back(job, tried, failure) from failure
        begun.unlink(missing_ok=True)  # the script itself reports that it did not install this version
        raise
    if has_script:
        _store(job, tried)
    if tried:
        course.try_out(job, tried)
    recorded_versions.record(job, version, changelog)
    if tried:
        tried.end()
    return has_script


def _store(job: Job, tried: trial.Trial | None) -> None:
    """Write what the script changed to disk: a version counts only once all of it is there."""
    try:
        disks.store(job)
    except JobError as failure:
        if tried:
            raise course.rolled_back(job, tried, failure) from failure
        raise


def resume(job: Job, reason: str) -> None:
    """Go on with an update that died on trial, or for the restart of the appliance."""
    directory = unpacked.directory(job.appliance)
    with _failures(job), privileges.raised():
        try:
            course.go_on(job, _found(job, directory), reason)
        finally:
            unpacked.clear(job.appliance)
    for line in SUCCESS:
        job.log(line)


def _found(job: Job, directory: Path) -> trial.Trial:
    """Return the trial of an update that died.

    :raises JobError: how far it was cannot be read; it was rolled back.
    """
    try:
        return trial.found(job, directory)
    except DamagedError as error:
        tried = trial.unknown(job, directory, *_known_of_package(job, directory))
        raise course.unknown(job, tried, f"How far the update was cannot be read ({error})") from error


def _known_of_package(job: Job, directory: Path) -> tuple[Description, str | None, str | None]:
    """Return what a package says of itself, the former version and its own, of whatever is left of it."""
    told, former, new = Description(), None, None
    with contextlib.suppress(OSError):
        kept_programs.put_back(job, directory)
    with contextlib.suppress(PackageError, OSError):
        told = _description(directory)
    with contextlib.suppress(PackageError, VersionError, OSError):
        new = _version(job, directory)
    with contextlib.suppress(OSError):
        former = recorded_versions.former(job, new)
    return told, former, new
