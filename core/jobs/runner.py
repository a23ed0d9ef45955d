"""The process of one job: `python -m jidoteki.core.jobs.runner ORDER`, with the lock of its type as descriptor 0."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from jidoteki.core.config.loading import Config
from jidoteki.core.jobs import disks, logs, priority, recovering, status_files, trying
from jidoteki.core.jobs.context import Context
from jidoteki.core.jobs.exit_reasons import NOT_RECORDED
from jidoteki.core.jobs.logs import Log
from jidoteki.core.jobs.order import Order
from jidoteki.core.jobs.records import Record, Records
from jidoteki.core.plugin_manager import manager
from jidoteki.hookspecs import JobCancelledError, JobError, JobType, trials

#: Characters of a traceback in a verdict.
MAX_DETAILS = 16 * 1024


@dataclass(slots=True)
class Run:
    """A job that is ready to run."""

    job: JobType
    record: Record
    context: Context
    log: Log | None
    """None in a dry run."""
    reverting: str | None = None
    """Why only to put back what an earlier process of this run changed."""
    fault: BaseException | None = None
    """An unexpected exception of the job; set before the record contains the outcome."""


def main(path: Path) -> None:
    """Run the job that the file at `path` describes, record its outcome, and exit."""
    perform(Order.take(path))


def perform(order: Order) -> None:
    """Run a job, with the lock of its type as descriptor 0, record its outcome, and exit."""
    _keep_lock()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it may be inherited as ignored, and a job waits for its children
    os.umask(0o077)
    priority.step_back()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()  # prints the traceback of a crash to the log
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    run = prepare(order)
    signal.signal(signal.SIGTERM, lambda number, frame: run.context.cancel())
    if order.recovering or order.dry_run:
        print(json.dumps(recovering.recover(run) if order.recovering else dry_run(run)), flush=True)
        return
    status = 0
    try:
        carry_out(run, _time_limit)
    except OSError:
        traceback.print_exc()
        status = NOT_RECORDED
    # Exit at once: the lock is held until the end, and who has read the record may start the next job.
    sys.stderr.flush()
    os._exit(status)


def load(path: Path) -> Run:
    """Take the file that describes a job, and load the plugins that it needs."""
    return prepare(Order.take(path))


def prepare(order: Order) -> Run:
    """Load the plugins that a job needs."""
    appliance, record = order.appliance, order.record
    config = Config({**order.host_config, "plugins": order.sections})
    loaded = manager.load_for_job(appliance, config, order.plugins)
    job, section = _find(loaded, record.type)
    log = None
    if not (order.dry_run or order.recovering):
        log = logs.of(appliance, job, Records(appliance.jobs).log(record.id))
    context = Context(
        appliance, record, job, loaded,
        config=section, host_config=order.host_config, input=order.input, workspace=order.workspace, log=log,
        directory=order.directory,
    )  # fmt: skip
    return Run(job, record, context, log, order.reverting)


def _keep_lock() -> None:
    """Move the lock to a descriptor that no command inherits."""
    os.set_inheritable(os.dup(0), False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _find(loaded: manager.Plugins, job_type: str) -> tuple[JobType, Any]:
    for plugin in loaded.loaded:
        for job in plugin.jobs:
            if job.name == job_type:
                return job, plugin.section
    raise SystemExit(f"No plugin has the job {job_type}: " + "; ".join(p.problem or "" for p in loaded.all))


def carry_out(run: Run, limit: Callable[[float], AbstractContextManager[None]]) -> None:
    """Run a job and record its outcome.

    :param limit: returns a context manager that raises JobError after that many seconds.
    """
    context, record = run.context, run.record
    records = Records(context.appliance.jobs)
    record.pid, record.restarting = os.getpid(), None
    records.write(record, durable=False)
    if run.reverting is None:
        _run(run, limit, _perform)
        if record.confirm:
            trying.end(run, limit)
    elif run.job.resume:
        context.protect()
        _run(run, limit, _resume)
        if run.fault is None:
            record.unrecovered = False
    else:
        trying.put_back(run, limit, run.reverting)
    if run.job.persist and record.status != "success":
        _store_former(run)
    if run.log:
        run.log.store()
    status_files.save(context.appliance.etc, run.job, record, records)
    if record.confirm or trials.state(context.appliance.jobs, record.id):
        trying.forget(context.appliance, record)


def _run(run: Run, limit: Callable[[float], AbstractContextManager[None]], perform: Callable[[Run], None]) -> None:
    context, record = run.context, run.record
    try:
        with limit(run.job.timeout + record.confirm):
            perform(run)
        record.end("success")
    except JobCancelledError:
        record.end("cancelled")
    except JobError as error:
        record.fail(error.message, error.code)
    except BaseException as error:
        traceback.print_exc()
        record.fail(_message(error))
        run.fault = error
    if record.error_message:
        context.log_failure(record.error_message)
    if context.was_told:  # the failure was one of cleaning up
        record.end("cancelled")
        record.error_message = record.error_code = None


def _perform(run: Run) -> None:
    _check(run)
    if run.job.revert or run.job.resume:
        trying.forget_others(run.context.appliance, run.record)
    if run.record.confirm:
        trying.begin(run.context)
    run.job.run(run.context)
    if run.context.was_told:
        raise JobCancelledError  # the job caught the exception
    run.context.await_confirmation()
    _keep(run)


def _resume(run: Run) -> None:
    assert run.job.resume and run.reverting is not None
    run.job.resume(run.context, run.reverting)
    _keep(run)


def _keep(run: Run) -> None:
    if run.job.persist:
        run.context.persist()
        disks.store(run.context)
    run.record.percentage = run.context.final_percentage


def _store_former(run: Run) -> None:
    """Write to disk what a failed change put back: a power cut a moment later must not leave neither state."""
    run.context.protect()
    try:
        disks.store(run.context)
    except JobError as error:
        run.context.log_failure(error.message)
        if run.record.error_message:
            run.record.error_message += f". {error.message}"


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise JobError("The job took too long")


def dry_run(run: Run) -> dict[str, Any]:
    """Check the input of a job without changing anything.

    :return: the verdict, `{"status", "error_message"?, "error_code"?, "preview"?, "details"?}`; the details, a
        traceback, are for the service's log.
    """
    try:
        _check(run)
    except JobError as error:
        return {"status": "failed", "error_message": error.message, "error_code": error.code}
    except BaseException as error:
        run.fault = error
        details = "".join(traceback.format_exception(error))[-MAX_DETAILS:]
        message = _message(error, "An internal error ended the check; the service's log has the details")
        return {"status": "failed", "error_message": message, "error_code": "E1000", "details": details}
    return {"status": "success", "preview": run.context.previewed}


def _check(run: Run) -> None:
    run.context.checkpoint()
    if run.job.check:
        run.job.check(run.context)


def _message(error: BaseException, otherwise: str = "An internal error ended the job; its log has the details") -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"An operation failed: {error.strerror}"
    return otherwise


if __name__ == "__main__":
    main(Path(sys.argv[1]))
