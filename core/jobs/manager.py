"""The host's part in a job's life: start it, find it again, wait for it, end it, say how it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jidoteki.core import files
from jidoteki.core.files import leftovers, locks
from jidoteki.core.jobs import cancelling, exit_reasons, listing, processes, status_files
from jidoteki.core.jobs.cancelling import NotCancellableError
from jidoteki.core.jobs.launch import BusyError, Launcher
from jidoteki.core.jobs.live_progress import Following, job_event
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.jobs.records import Record, boot_id
from jidoteki.core.plugin_manager.live import Live
from jidoteki.hookspecs import Event, JobOutcome, JobType
from jidoteki.hookspecs.jobs import DEFAULT_GRACE

logger = logging.getLogger(__name__)

EXTRA_TIMEOUT = 30.0
CHECK_TIMEOUT = 600.0
LOG_LINES = 10
JOIN_TRIES = 20
MAX_REASON = 1000

Permit = Callable[[], None]


@dataclass(slots=True)
class _Watch:
    """A running job, from its start or its discovery to its end."""

    record: Record
    process: JobProcess
    ended: asyncio.Future[Record]
    cancelled: bool = False
    late: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class JobManager:
    """The jobs of one appliance.

    :param launcher: returns the one in force.
    :param notify: told of each start and end, in a thread.
    :param live: where what happens to jobs, and what they write, is told as live events.
    """

    def __init__(self, launcher: Callable[[], Launcher], notify: Callable[[Event], None], live: Live) -> None:
        self._launcher = launcher
        self._notify = notify
        self._live = live
        self._watches: dict[str, _Watch] = {}
        self.seen = listing.Seen()
        self._checks = asyncio.Semaphore(4)

    @property
    def launcher(self) -> Launcher:
        """What starts jobs now."""
        return self._launcher()

    def job_type(self, name: str) -> JobType:
        """The job type of this name.

        :raises KeyError: there is none.
        """
        return self.launcher.job_types[name][1]

    async def recover(self) -> None:
        """Find the jobs that still run, settle those that died, and clear away what they left."""
        for record, pid in await asyncio.to_thread(self._recover):
            self._watch(record, JobProcess(pid))

    def _recover(self) -> list[tuple[Record, int]]:
        appliance = self.launcher.appliance
        self.launcher.records.keep_reserve()
        running, held = [], set()
        for job_type in self._known_types():
            with leftovers.tolerated(f"What became of the last {job_type} cannot be found out"):
                lock = self.launcher.lock(job_type)
                if not locks.is_held(lock):
                    self.launcher.settle(job_type)
                    continue
                held.add(job_type)
                record = self.launcher.records.latest(job_type)
                if record and record.boot == boot_id() and processes.leads(record.pid, lock):
                    running.append((record, record.pid))
        with leftovers.tolerated(f"{appliance.tmp} cannot be cleared"):
            for name in os.listdir(appliance.tmp):
                # `NUMBER-TYPE` is the work space of a run, `TYPE` what all runs of a type share.
                if (name.partition("-")[2] or name) not in held:
                    self.launcher.clear(name)
        if not held:
            appliance.recover()
        return running

    def _known_types(self) -> set[str]:
        with leftovers.tolerated("The records of jobs cannot be read"):
            return {*self.launcher.job_types, *(record.type for record in self.launcher.records.all())}
        return set(self.launcher.job_types)

    async def start(self, job_type: str, values: Mapping[str, Any], client: str, user: str, permit: Permit) -> Record:
        """Start a job.

        :param permit: raises, in a thread, what keeps the job from starting in the end.
        :raises BusyError: it cannot run now.
        :raises OSError: it cannot be started.
        """
        return (await asyncio.shield(self._start(job_type, values, client, user, permit))).record

    async def _start(self, job_type: str, values: Mapping[str, Any], client: str, user: str, permit: Permit) -> _Watch:
        record, process = await asyncio.to_thread(self.launcher.start, job_type, values, client, user, permit)
        return self._watch(record, process)

    async def run(
        self, job_type: str, values: Mapping[str, Any], client: str, user: str, permit: Permit, join: bool = False
    ) -> JobOutcome:
        """Start a job and wait for its end.

        :param permit: as for `start`.
        :param join: when one of this type runs already, wait for that one.
        :raises BusyError: it cannot run now.
        """
        for tries_left in range(JOIN_TRIES, -1, -1):
            try:
                watch = await asyncio.shield(self._start(job_type, values, client, user, permit))
            except BusyError as busy:
                running = self._watches.get(job_type)
                if not join or busy.job_type != job_type or not (running or tries_left):
                    raise
                if running is None:  # it is just starting, or was started by another process
                    await asyncio.sleep(0.05)
                    continue
                watch = running
            return (await asyncio.shield(watch.ended)).outcome()
        raise BusyError(job_type)

    async def check(self, job_type: str, values: Mapping[str, Any]) -> JobOutcome:
        """Run the job's check of an input; nothing is changed.

        :raises BusyError: the job could not run now.
        """
        async with self._checks:
            outcome = await asyncio.to_thread(self.launcher.check, job_type, values, CHECK_TIMEOUT)
        preview = outcome.get("preview") or {}
        return JobOutcome("", outcome["status"], outcome.get("error_message"), outcome.get("error_code"), preview)

    async def busy(self, job_type: str) -> str | None:
        """The type of a running job that keeps this type from starting, or None."""
        return await asyncio.to_thread(self.launcher.busy, job_type)

    async def is_running(self, job_type: str) -> bool:
        """Whether a job of this type runs now: from its answer until its record says how it ended."""
        return await asyncio.to_thread(self.launcher.is_running, job_type)

    async def cancel(self, job_type: str) -> bool:
        """End the running job of this type, and wait for that as long as its grace.

        :return: False when none runs, or it cannot be cancelled any more.
        """
        watch = self._watches.get(job_type)
        return watch is not None and await self._cancel(watch)

    async def cancel_run(self, id: str) -> None:
        """End one run, and wait for that as long as its grace.

        :raises KeyError: there is no such run.
        :raises NotCancellableError: it is not cancelled.
        """
        watch = await self._watched(await self.check_cancellable(id))
        if not await self._cancel(watch):
            raise NotCancellableError(listing.PAST)
        status = watch.ended.result().status
        if status != "cancelled":
            raise NotCancellableError(listing.ended(status))

    async def check_cancellable(self, id: str) -> Record:
        """Return the record of a run that `cancel_run` would end; raises as that does."""
        record = await asyncio.to_thread(listing.current, self.launcher.records, id)
        if record is None:
            raise KeyError(id)
        reason = await asyncio.to_thread(listing.why_not, self.launcher, record)
        if reason:
            raise NotCancellableError(reason)
        return record

    async def _watched(self, record: Record) -> _Watch:
        watch = self._watches.get(record.type)
        if watch and watch.record.id == record.id:
            return watch
        # Started on the command line.
        if not await asyncio.to_thread(processes.leads, record.pid, self.launcher.lock(record.type)):
            raise NotCancellableError("The job begins or ends at this moment: try again")
        return self._watch(record, JobProcess(record.pid))

    async def _cancel(self, watch: _Watch) -> bool:
        directory = self.launcher.appliance.tmp / watch.record.id
        with contextlib.suppress(FileNotFoundError):  # it has ended
            if not await asyncio.to_thread(cancelling.decide, directory, "cancelled"):
                return False
        if not watch.cancelled:  # a second signal would end what a run of its cleans up with
            watch.cancelled = True
            watch.process.ask_to_end()
        await self._end(watch)
        return True

    async def _end(self, watch: _Watch) -> None:
        known = self.launcher.job_types.get(watch.record.type)
        grace = known[1].grace if known else DEFAULT_GRACE
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(watch.ended), grace)
        if not watch.ended.done():
            await asyncio.to_thread(watch.process.kill)
            await asyncio.wait_for(asyncio.shield(watch.ended), EXTRA_TIMEOUT)

    async def status(self, job_type: str) -> dict[str, Any]:
        """How the last run of this type went, or goes, be it another tool's.

        :return: `{"status", "percentage", "log", "error-message"?, "error-code"?}`, and what else such a tool says.
        """
        return await asyncio.to_thread(self.status_now, job_type)

    def status_now(self, job_type: str) -> dict[str, Any]:
        """Return the same; blocks."""
        job, appliance = self.job_type(job_type), self.launcher.appliance
        shown = self._shown(job_type, job)
        errors = {key: shown.pop(key) for key in status_files.ERRORS if key in shown}
        try:  # after the rest: the log of a run that has ended is whole
            log = files.tail(appliance.log / (job.log or f"{job.name}.log"), LOG_LINES)
        except OSError:
            log = None
        return shown | {"log": log} | errors

    def _shown(self, job_type: str, job: JobType) -> dict[str, Any]:
        record, lock = self.launcher.records.latest(job_type), self.launcher.lock(job_type)
        if record is not None and record.status == "running" and not locks.is_held(lock):
            # It may have ended, and recorded so, since it was read.
            record = self.launcher.records.latest(job_type) or record
            if record.status == "running":
                reason = exit_reasons.reason(self.launcher.records.path(record.id))
                return status_files.interrupted({"percentage": record.percentage}, reason)
        return status_files.shown(self.launcher.appliance.etc, job, record, lambda: locks.is_held(lock))

    def _watch(self, record: Record, process: JobProcess) -> _Watch:
        watch = _Watch(record, process, asyncio.get_running_loop().create_future())
        self._watches[record.type] = watch
        watch.task = asyncio.create_task(self._follow(watch))
        return watch

    async def _follow(self, watch: _Watch) -> None:
        await self._tell("job.start", watch.record)
        following = Following(watch.record.shown(), self._launcher, self._live)
        limit = (
            self.launcher.job_types[watch.record.type][1].timeout
            if watch.record.type in self.launcher.job_types
            else 3600
        )
        try:
            await asyncio.wait_for(watch.process.ended(), max(1.0, limit + EXTRA_TIMEOUT - watch.process.age()))
        except TimeoutError:
            watch.late = True
            await asyncio.to_thread(watch.process.kill)
        record = watch.record
        try:
            record = await asyncio.to_thread(self._bury, watch)
        except OSError:
            logger.exception("The end of %s cannot be recorded", record.id)
            record.fail(exit_reasons.UNRECORDED)
        finally:
            if self._watches.get(record.type) is watch:
                del self._watches[record.type]
            watch.ended.set_result(record)
        await following.end()
        await self._tell("job.end", record)

    def _bury(self, watch: _Watch) -> Record:
        watch.process.wait()
        record = self.launcher.records.read(watch.record.id) or watch.record
        if record.status == "running":
            watch.process.kill()
            if watch.cancelled:
                record.end("cancelled")
            else:
                reason = exit_reasons.reason(self.launcher.records.path(record.id))
                record.fail("The job took too long" if watch.late else reason)
            with contextlib.suppress(OSError):
                self.launcher.finish(record)
        self.launcher.clear(record.id)
        self.launcher.records.keep_reserve()
        return record

    async def _tell(self, action: str, record: Record) -> None:
        outcome = record.status if record.error_code is None else f"{record.status} {record.error_code}"
        event = Event(
            "job", time.time(), action, f"{record.type} {outcome}", record.client, record.user, record.id,
            outcome=record.status, code=record.error_code, message=record.error_message,
            duration=None if record.ended is None else max(0.0, record.ended - record.started),
        )  # fmt: skip
        reason = f": {record.error_message[:MAX_REASON]}" if record.error_message else ""
        logger.info("%s: %s %s%s", action, record.id, outcome, reason)
        if self._live.is_heard:
            self._live.publish(job_event(record.shown()))
        await asyncio.to_thread(self._notify, event)
