"""The job manager: starts, adopts, awaits and cancels jobs, and reports their status."""

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
from jidoteki.core.jobs import cancelling, deaths, listing, processes, status_files
from jidoteki.core.jobs.cancelling import NotCancellable
from jidoteki.core.jobs.following import Following, job_event
from jidoteki.core.jobs.launch import Busy, Launcher
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.jobs.records import Record, boot_id
from jidoteki.core.plugin_manager.live import Live
from jidoteki.hookspecs import Event, JobOutcome, JobType
from jidoteki.hookspecs.jobs import DEFAULT_GRACE

logger = logging.getLogger(__name__)

EXTRA_TIME = 30.0
CHECK_TIME = 600.0
LOG_LINES = 10
JOIN_TRIES = 20
MAX_REASON = 1000

Permit = Callable[[], None]


@dataclass(slots=True)
class _Watch:
    """A running job, watched from its start or its adoption to its end."""

    record: Record
    process: JobProcess
    ended: asyncio.Future[Record]
    cancelled: bool = False
    late: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class JobManager:
    """The jobs of one appliance.

    :param launcher: returns the current one.
    :param notify: called with each start and end, in a thread.
    :param live: publishes events and output of jobs.
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
        """The current launcher."""
        return self._launcher()

    def kind(self, name: str) -> JobType:
        """Return the job type of this name.

        :raises KeyError: there is none.
        """
        return self.launcher.kinds[name][1]

    async def recover(self) -> None:
        """Adopt running jobs, record the failure of dead ones, and clean up after them."""
        for record, pid in await asyncio.to_thread(self._recover):
            self._watch(record, JobProcess(pid))

    def _recover(self) -> list[tuple[Record, int]]:
        appliance = self.launcher.appliance
        self.launcher.records.keep_reserve()
        running, held = [], set()
        for kind in self._known_kinds():
            with leftovers.tolerated(f"What became of the last {kind} cannot be found out"):
                lock = self.launcher.lock(kind)
                if not locks.is_held(lock):
                    self.launcher.settle(kind)
                    continue
                held.add(kind)
                record = self.launcher.records.latest(kind)
                if record and record.boot == boot_id() and processes.leads(record.pid, lock):
                    running.append((record, record.pid))
        with leftovers.tolerated(f"{appliance.tmp} cannot be cleared"):
            for name in os.listdir(appliance.tmp):
                # `NUMBER-KIND` is the workspace of a run, `KIND` is shared by all runs of a type.
                if (name.partition("-")[2] or name) not in held:
                    self.launcher.clear(name)
        if not held:
            appliance.recover()
        return running

    def _known_kinds(self) -> set[str]:
        with leftovers.tolerated("The records of jobs cannot be read"):
            return {*self.launcher.kinds, *(record.kind for record in self.launcher.records.all())}
        return set(self.launcher.kinds)

    async def start(self, kind: str, values: Mapping[str, Any], client: str, user: str, permit: Permit) -> Record:
        """Start a job.

        :param permit: called in a thread just before the start; an exception that it raises prevents the start.
        :raises Busy: it cannot run now.
        :raises OSError: it cannot be started.
        """
        return (await asyncio.shield(self._start(kind, values, client, user, permit))).record

    async def _start(self, kind: str, values: Mapping[str, Any], client: str, user: str, permit: Permit) -> _Watch:
        record, process = await asyncio.to_thread(self.launcher.start, kind, values, client, user, permit)
        return self._watch(record, process)

    async def run(
        self, kind: str, values: Mapping[str, Any], client: str, user: str, permit: Permit, join: bool = False
    ) -> JobOutcome:
        """Start a job and wait for its end.

        :param permit: as for `start`.
        :param join: whether to wait for a running job of this type in place of raising Busy.
        :raises Busy: it cannot run now.
        """
        for tries_left in range(JOIN_TRIES, -1, -1):
            try:
                watch = await asyncio.shield(self._start(kind, values, client, user, permit))
            except Busy as busy:
                running = self._watches.get(kind)
                if not join or busy.kind != kind or not (running or tries_left):
                    raise
                if running is None:  # it is just starting, or was started by another process
                    await asyncio.sleep(0.05)
                    continue
                watch = running
            return (await asyncio.shield(watch.ended)).outcome()
        raise Busy(kind)

    async def judge(self, kind: str, values: Mapping[str, Any]) -> JobOutcome:
        """Run the job's check of an input; nothing is changed.

        :raises Busy: the job could not run now.
        """
        async with self._checks:
            verdict = await asyncio.to_thread(self.launcher.judge, kind, values, CHECK_TIME)
        preview = verdict.get("preview") or {}
        return JobOutcome("", verdict["status"], verdict.get("error_message"), verdict.get("error_code"), preview)

    async def busy(self, kind: str) -> str | None:
        """Return the type of a running job that prevents this type from starting, or None."""
        return await asyncio.to_thread(self.launcher.busy, kind)

    async def is_running(self, kind: str) -> bool:
        """Return whether a job of this type is running and has not recorded its outcome."""
        return await asyncio.to_thread(self.launcher.is_running, kind)

    async def cancel(self, kind: str) -> bool:
        """Cancel the running job of this type, and wait up to its grace period for its end.

        :return: False if none is running, or it cannot be cancelled any more.
        """
        watch = self._watches.get(kind)
        return watch is not None and await self._cancel(watch)

    async def cancel_run(self, id: str) -> None:
        """Cancel one run, and wait up to its grace period for its end.

        :raises KeyError: there is no such run.
        :raises NotCancellable: it is not cancelled.
        """
        watch = await self._watched(await self.check_cancellable(id))
        if not await self._cancel(watch):
            raise NotCancellable(listing.PAST)
        status = watch.ended.result().status
        if status != "cancelled":
            raise NotCancellable(listing.ended(status))

    async def check_cancellable(self, id: str) -> Record:
        """Return the record of a run that `cancel_run` would cancel; raises as that does."""
        record = await asyncio.to_thread(listing.current, self.launcher.records, id)
        if record is None:
            raise KeyError(id)
        reason = await asyncio.to_thread(listing.why_not, self.launcher, record)
        if reason:
            raise NotCancellable(reason)
        return record

    async def _watched(self, record: Record) -> _Watch:
        watch = self._watches.get(record.kind)
        if watch and watch.record.id == record.id:
            return watch
        # Started by the command line.
        if not await asyncio.to_thread(processes.leads, record.pid, self.launcher.lock(record.kind)):
            raise NotCancellable("The job begins or ends at this moment: try again")
        return self._watch(record, JobProcess(record.pid))

    async def _cancel(self, watch: _Watch) -> bool:
        directory = self.launcher.appliance.tmp / watch.record.id
        with contextlib.suppress(FileNotFoundError):  # it has ended
            if not await asyncio.to_thread(cancelling.decide, directory, "cancelled"):
                return False
        if not watch.cancelled:  # a second signal would kill the programs that clean up
            watch.cancelled = True
            watch.process.ask_to_end()
        await self._end(watch)
        return True

    async def _end(self, watch: _Watch) -> None:
        known = self.launcher.kinds.get(watch.record.kind)
        grace = known[1].grace if known else DEFAULT_GRACE
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(watch.ended), grace)
        if not watch.ended.done():
            await asyncio.to_thread(watch.process.kill)
            await asyncio.wait_for(asyncio.shield(watch.ended), EXTRA_TIME)

    async def status(self, kind: str) -> dict[str, Any]:
        """Return the status of the last run of this type, including runs of another tool.

        :return: `{"status", "percentage", "log", "error-message"?, "error-code"?}`, and further keys of such a tool.
        """
        return await asyncio.to_thread(self.status_now, kind)

    def status_now(self, kind: str) -> dict[str, Any]:
        """Return the same as `status`; blocks."""
        job, appliance = self.kind(kind), self.launcher.appliance
        shown = self._shown(kind, job)
        errors = {key: shown.pop(key) for key in status_files.ERRORS if key in shown}
        try:  # last, so that the log of a run that has ended is complete
            log = files.tail(appliance.log / (job.log or f"{job.name}.log"), LOG_LINES)
        except OSError:
            log = None
        return shown | {"log": log} | errors

    def _shown(self, kind: str, job: JobType) -> dict[str, Any]:
        record, lock = self.launcher.records.latest(kind), self.launcher.lock(kind)
        if record is not None and record.status == "running" and not locks.is_held(lock):
            # It may have recorded its outcome after it was read.
            record = self.launcher.records.latest(kind) or record
            if record.status == "running":
                reason = deaths.reason(self.launcher.records.path(record.id))
                return status_files.interrupted({"percentage": record.percentage}, reason)
        return status_files.shown(self.launcher.appliance.etc, job, record, lambda: locks.is_held(lock))

    def _watch(self, record: Record, process: JobProcess) -> _Watch:
        watch = _Watch(record, process, asyncio.get_running_loop().create_future())
        self._watches[record.kind] = watch
        watch.task = asyncio.create_task(self._follow(watch))
        return watch

    async def _follow(self, watch: _Watch) -> None:
        await self._announce("job.start", watch.record)
        following = Following(watch.record.shown(), self._launcher, self._live)
        limit = self.launcher.kinds[watch.record.kind][1].timeout if watch.record.kind in self.launcher.kinds else 3600
        try:
            await asyncio.wait_for(watch.process.ended(), max(1.0, limit + EXTRA_TIME - watch.process.age()))
        except TimeoutError:
            watch.late = True
            await asyncio.to_thread(watch.process.kill)
        record = watch.record
        try:
            record = await asyncio.to_thread(self._record_end, watch)
        except OSError:
            logger.exception("The end of %s cannot be recorded", record.id)
            record.fail(deaths.UNRECORDED)
        finally:
            if self._watches.get(record.kind) is watch:
                del self._watches[record.kind]
            watch.ended.set_result(record)
        await following.end()
        await self._announce("job.end", record)

    def _record_end(self, watch: _Watch) -> Record:
        watch.process.wait()
        record = self.launcher.records.read(watch.record.id) or watch.record
        if record.status == "running":
            watch.process.kill()
            if watch.cancelled:
                record.end("cancelled")
            else:
                reason = deaths.reason(self.launcher.records.path(record.id))
                record.fail("The job took too long" if watch.late else reason)
            with contextlib.suppress(OSError):
                self.launcher.finish(record)
        self.launcher.clear(record.id)
        self.launcher.records.keep_reserve()
        return record

    async def _announce(self, action: str, record: Record) -> None:
        outcome = record.status if record.error_code is None else f"{record.status} {record.error_code}"
        event = Event(
            "job", time.time(), action, f"{record.kind} {outcome}", record.client, record.user, record.id,
            outcome=record.status, code=record.error_code, message=record.error_message,
            duration=None if record.ended is None else max(0.0, record.ended - record.started),
        )  # fmt: skip
        reason = f": {record.error_message[:MAX_REASON]}" if record.error_message else ""
        logger.info("%s: %s %s%s", action, record.id, outcome, reason)
        if self._live.is_heard:
            self._live.publish(job_event(record.shown()))
        await asyncio.to_thread(self._notify, event)
