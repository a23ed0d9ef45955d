"""The job that puts a new license into force, once it is decrypted and verified."""

from __future__ import annotations

from typing import Final

from jidoteki.hookspecs import Job, JobFailed, JobType
from jidoteki.plugins.license.gpg import LicenseInvalid
from jidoteki.plugins.license.programs import ToolFailed
from jidoteki.plugins.license.reading import LicenseFiles, read

INVALID: Final = "license-invalid"
"""The error code that tells a wrong license from an appliance that cannot judge it."""


def check(job: Job) -> None:
    """Decrypt, verify and parse the license."""
    job.log("Validating the license")
    candidate = job.workspace / "license.asc"
    try:
        candidate.touch(mode=0o600)
        candidate.write_bytes(_content(job))
        read(job.appliance, candidate, job.workspace)
    except LicenseInvalid as error:
        job.log(str(error))
        raise JobFailed(str(error), INVALID) from error
    except (ToolFailed, OSError) as error:
        job.log(str(error))
        raise JobFailed(str(error)) from error
    finally:
        candidate.unlink(missing_ok=True)


def run(job: Job) -> None:
    """Replace the license in force."""
    try:
        job.appliance.replace_file(LicenseFiles.of(job.appliance).license, _content(job), 0o600)
    except OSError as error:
        job.log(f"The license cannot be stored: {error.strerror or error}")
        raise JobFailed(f"The license cannot be stored: {error.strerror or error}") from error
    job.log("The new license is in force")


def _content(job: Job) -> bytes:
    return str(job.input["license"]).encode("latin-1")


LICENSE: Final = JobType(
    "license",
    run=run,
    check=check,
    exclusive_with=("restore",),
    timeout=300,
    persist=True,
)
