"""The course of an update on trial, which goes on in another process where one dies, and after a restart."""

from __future__ import annotations

import contextlib

from jidoteki.core.endpoints.update import highest_version, recorded_versions, unpacked
from jidoteki.core.endpoints.update.trial import ROLLBACK, Trial, replace_file
from jidoteki.hookspecs import Job, JobError, paths, trials


def try_out(job: Job, tried: Trial) -> None:
    """Verify an update, and once more after the restart that its package asks for.

    :raises JobError: it was rolled back.
    """
    try:
        if tried.state.step != "rebooting":
            tried.verify()
        if tried.state.reboot:
            tried.restart()
            tried.verify()
        tried.passed()
    except JobError as failure:
        raise rolled_back(job, tried, failure) from failure
    except OSError as error:
        unrecorded = JobError(f"How far the update is cannot be recorded: {error.strerror or error}", trials.FAILED)
        raise rolled_back(job, tried, unrecorded) from error


def rolled_back(job: Job, tried: Trial, failure: JobError) -> JobError:
    """Go back to the former version, record that, and return what the job fails with."""
    outcome = tried.back(failure)
    if tried.is_back or (not tried.state.way_back and failure.code not in (trials.FAILED, trials.LOST)):
        with contextlib.suppress(OSError):  # it keeps nothing but older packages out
            highest_version.path(job.appliance, highest_version.BEGUN).unlink(missing_ok=True)
    if tried.is_back:
        outcome = tried.restart_back(_recorded_former(job, tried, outcome))
    tried.end(outcome)
    return outcome


def _recorded_former(job: Job, tried: Trial, outcome: JobError) -> JobError:
    """Record that the former version is installed; return what the job fails with, which says so if that is impossible.

    Nothing that can be wrong with the record keeps the appliance from the restart that the way back needs.
    """
    former, now = tried.state.former, recorded_versions.valid(recorded_versions.read_installed, job, lambda told: None)
    if former is None or now == former:
        return outcome
    try:
        replace_file(job, job.appliance.etc / recorded_versions.VERSION, f"{former}\n")
    except OSError as error:
        unwritten = f"{recorded_versions.VERSION} cannot be written: {error.strerror or error}"
        return JobError(f"{outcome.message}, but {unwritten}", trials.LOST)
    return outcome


def go_on(job: Job, tried: Trial, reason: str) -> None:
    """Go on where a process died.

    :param reason: why it died.
    :raises JobError: the update was rolled back.
    """
    state = tried.state
    said = JobError(state.message, state.code)
    match state.step:
        case "updating":
            raise rolled_back(job, tried, JobError(reason, "E1002"))
        case "verifying":
            raise rolled_back(job, tried, JobError(reason, trials.FAILED))
        case "rebooting":
            try_out(job, tried)
            _record(job, tried)
        case "rolling back":
            raise rolled_back(job, tried, said)
        case "rebooting back":
            outcome = tried.restart_back(said)
            tried.end(outcome)
            raise outcome
        case "verified":
            _record(job, tried)
        case "ended":
            if state.message:
                raise said
        case _:
            raise unknown(job, tried, f"How far the update was is not known: its step is {state.step[:80]!r}")


def unknown(job: Job, tried: Trial, problem: str) -> JobError:
    """Go back where it cannot be told how far an update was: nobody can say that it is verified.

    :param problem: why it cannot.
    :return: what the job fails with.
    """
    if tried.state.way_back:
        return rolled_back(job, tried, JobError(problem, trials.FAILED))
    return rolled_back(job, tried, JobError(f"{problem}. There is no {ROLLBACK}: what was changed stays", trials.LOST))


def _record(job: Job, tried: Trial) -> None:
    changelog = None
    with contextlib.suppress(OSError):  # there is none, or update.sh moved it
        path = unpacked.directory(job.appliance) / recorded_versions.CHANGELOG
        changelog = paths.read_regular(path, recorded_versions.MAX_CHANGELOG)
    recorded_versions.record(job, tried.state.new, changelog)
    tried.end()
