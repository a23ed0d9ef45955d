"""The job that verifies and installs a new license."""

from __future__ import annotations

from typing import Any, Final

from jidoteki.hookspecs import Job, JobError, JobType, differences, file_names
from jidoteki.hookspecs.job_logs import failure_logged
from jidoteki.plugins.license import trial
from jidoteki.plugins.license.gpg import LicenseError
from jidoteki.plugins.license.programs import ToolError
from jidoteki.plugins.license.reading import LicenseFiles, verified

INVALID: Final = "license-invalid"
"""The error code of an invalid license, as opposed to an appliance that cannot verify it."""

LOG: Final = "update_license.log"
BEGIN: Final = "Updating license. Please wait.."
SUCCESS: Final = "Updating license successful"
FAILURE: Final = "Invalid or missing license file"


def check(job: Job) -> None:
    """Decrypt, verify and parse the license, unless the vendor's command does that after it is installed."""
    job.log(BEGIN)
    with failure_logged(job, FAILURE):
        if not LicenseFiles.of(job.appliance).scripted:
            _verify(job)
        elif job.dry_run:
            raise JobError("A dry run cannot judge a license here: license.sh reads only the one in its place")


def _verify(job: Job) -> None:
    candidate = job.workspace / "license.asc"
    try:
        candidate.touch(mode=0o600)
        candidate.write_bytes(_content(job))
        document = verified(job.appliance, candidate, job.workspace)
    except LicenseError as error:
        hint = f"; {file_names.hint('license')}" if file_names.looks_like_one(_content(job)) else ""
        raise JobError(f"{error}{hint}", INVALID) from error
    except (ToolError, OSError) as error:
        raise JobError(str(error)) from error
    finally:
        candidate.unlink(missing_ok=True)
    if job.dry_run:
        job.preview({"changes": differences.between(_in_force(job), document, "license")})


def _in_force(job: Job) -> dict[str, Any] | None:
    try:
        return verified(job.appliance, LicenseFiles.of(job.appliance).license, job.workspace)
    except (LicenseError, ToolError, OSError):
        return None


def run(job: Job) -> None:
    """Replace the active license."""
    files = LicenseFiles.of(job.appliance)
    with failure_logged(job, FAILURE):
        try:
            trial.put_back(job.appliance)
            if files.scripted:
                trial.install(job, _content(job))
            else:
                job.appliance.replace_file(files.license, _content(job), 0o640)
        except LicenseError as error:
            raise JobError(str(error), INVALID) from error
        except ToolError as error:
            raise JobError(str(error)) from error
        except OSError as error:
            raise JobError(f"The license cannot be stored: {error.strerror or error}") from error
    job.log(SUCCESS)


def _content(job: Job) -> bytes:
    return str(job.input["license"]).encode("latin-1")


LICENSE: Final = JobType(
    "license",
    run=run,
    check=check,
    exclusive_with=("restore",),
    log=LOG,
    timeout=300,
    recover=trial.put_back,
    persist=True,
)
