"""A change on trial, in the process of its job: waiting for the confirmation, and putting back what has none."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from jidoteki.core.files import leftovers
from jidoteki.core.jobs.records import Record, Records
from jidoteki.hookspecs import Appliance, JobError, trials, tried_files
from jidoteki.hookspecs.free_space import FULL

if TYPE_CHECKING:
    from jidoteki.core.jobs.context import Context
    from jidoteki.core.jobs.runner import Run

#: The endings of what a trial leaves in `ADMIN/jobs`.
LEFT: Final = ("trial", "reverting", "confirmed", "pending", "former", "noted", "state")

Limit = Callable[[float], AbstractContextManager[None]]

LOOK_EACH: Final = 0.1
#: Seconds before each attempt to put a change back.
PAUSES: Final = (0, 1, 5, 15)
#: Pieces of the reserve that are freed for what is put back on a full disk.
ROOM: Final = 32
NOBODY: Final = "Nobody confirmed the change within {} seconds"
GOES_DOWN: Final = "The system goes down before the change was confirmed"
LOST: Final = "The record of the trial is lost"
CONFIRMED: Final = "The change was confirmed and stays"
PUT_BACK: Final = "What was changed is put back"
RESTORED: Final = "What was changed is back as it was"
NOT_PUT_BACK: Final = "What was changed could not be put back, which is tried again when the service starts"


def longest(timeout: float, confirm: int) -> float:
    """Return the seconds that a run may take.

    :param timeout: of its job type.
    :param confirm: seconds within which its change must be confirmed; 0 if it is on no trial.
    """
    return timeout + confirm + sum(timeout + pause for pause in PAUSES) if confirm else timeout


def begin(context: Context) -> None:
    """Begin the trial of a change: from here on it is put back, not cancelled.

    :raises JobCancelledError: the run was cancelled before.
    :raises JobError: that cannot be recorded.
    """
    context.commit()
    try:
        trials.begin(context.appliance, context.id)
    except OSError as error:
        raise JobError(f"Nothing was changed, as the trial cannot be recorded: {error.strerror or error}") from error
    context.on_trial = True


def wait(context: Context, seconds: int, pending: Mapping[str, Any]) -> None:
    """Wait until the change is confirmed.

    :raises JobError: E2001, it is not.
    """
    jobs = context.appliance.jobs
    try:
        deadline = trials.wait(context.appliance, context.id, seconds, pending)
    except OSError as error:
        message = f"The change could not be confirmed, as that cannot be recorded: {error.strerror or error}"
        raise JobError(message, trials.CODE) from error
    context.log(f"Waiting for the confirmation for {seconds} seconds")
    while (state := trials.state(jobs, context.id)) == "trial":
        context.checkpoint()
        if trials.now() >= deadline and _is_to_go_back(context.appliance, context.id):
            raise JobError(NOBODY.format(seconds), trials.CODE)
        time.sleep(LOOK_EACH)
    if state != "confirmed":
        raise JobError(GOES_DOWN if state else LOST, trials.CODE)
    context.log("The change is confirmed")


def end(run: Run, limit: Limit) -> None:
    """End the trial of a run that has ended: put the change back, unless it was confirmed or not begun.

    :param limit: as of `runner.carry_out`.
    """
    record, appliance = run.record, run.context.appliance
    if not run.context.on_trial:
        return
    is_lost = trials.state(appliance.jobs, record.id) is None and not run.context.confirmed
    if is_lost:
        with leftovers.tolerated("That the record of the trial is lost cannot be recorded"):
            trials.lose(appliance, record.id)
    if is_lost or _is_to_go_back(appliance, record.id):
        put_back(run, limit, record.error_message or "The job was ended")
    elif record.status != "success":
        record.fail(f"{record.error_message or 'The job was ended'}. {CONFIRMED}", record.error_code or "E1000")


def _is_to_go_back(appliance: Appliance, id: str) -> bool:
    """Decide that a change is put back, unless it was confirmed.

    What cannot be recorded, on a disk that takes nothing any more, nobody can confirm either.
    """
    with leftovers.tolerated(f"That {id} is put back cannot be recorded"):
        return trials.decide(appliance.jobs, id, "reverting")
    return trials.state(appliance.jobs, id) != "confirmed"


def put_back(run: Run, limit: Limit, reason: str) -> None:
    """Put back what a run changed, and record that it failed.

    :param reason: why it is put back.
    """
    run.context.protect()
    run.context.log_failure(reason)
    run.context.log(PUT_BACK)
    for pause in PAUSES:
        time.sleep(pause)
        problem = _attempt(run, limit)
        if problem is None:
            run.record.fail(f"{reason}. {RESTORED}", trials.CODE)
            run.record.unrecovered = False
            return
        run.context.log(problem)
    run.record.fail(f"{reason}. {NOT_PUT_BACK}: {problem}", trials.CODE)
    run.record.unrecovered = True


def _attempt(run: Run, limit: Limit) -> str | None:
    """Call the job's `revert`; return why it failed."""
    assert run.job.revert
    try:
        with limit(run.job.timeout):
            run.job.revert(run.context)
    except JobError as error:
        _make_room(run.context.appliance, error.__cause__)
        return error.message
    except BaseException as error:
        traceback.print_exc()
        _make_room(run.context.appliance, error)
        return f"An internal error ended it: {error}"
    return None


def _make_room(appliance: Appliance, cause: BaseException | None) -> None:
    if isinstance(cause, OSError) and cause.errno in FULL:
        Records(appliance.jobs).reserve.release(ROOM)


def forget(appliance: Appliance, record: Record) -> None:
    """Forget the trial of a run whose outcome is recorded, unless its change still is to be put back."""
    on_trial = record.confirm or trials.state(appliance.jobs, record.id)
    if on_trial and not record.unrecovered:
        clear(appliance, record.id)


def forget_others(appliance: Appliance, record: Record) -> None:
    """Forget the trials of earlier runs, which a new change takes the place of."""
    for id in trials.unended(appliance.jobs, record.type):
        if id != record.id:
            clear(appliance, id)


def clear(appliance: Appliance, id: str) -> None:
    """Remove what a trial left; directories are set aside."""
    set_aside(appliance, id, LEFT)
    tried_files.forget(appliance, id)
    trials.forget(appliance.jobs, id)


def set_aside(appliance: Appliance, id: str, endings: Iterable[str]) -> None:
    """Set aside each directory that somebody put in the place of a file of a trial."""
    for path in (appliance.jobs / f"{id}.{ending}" for ending in endings):
        if path.is_dir() and not path.is_symlink():
            leftovers.set_aside(path)
