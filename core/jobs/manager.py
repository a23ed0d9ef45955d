"""The job manager: starts, adopts, awaits and cancels jobs, and reports their status."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jidoteki.core.files import leftovers
from jidoteki.core.jobs import adopting, awaiting, cancelling, exit_reasons, keeping, listing, reverting, settling
from jidoteki.core.jobs.cancelling import NotCancellableError
from jidoteki.core.jobs.launch import BusyError, Launcher
from jidoteki.core.jobs.live_progress import Following, job_event, plugin_event
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.jobs.records import Record
from jidoteki.core.plugin_manager.live import Live
from jidoteki.hookspecs import Event, JobOutcome, JobType
from jidoteki.hookspecs.jobs import DEFAULT_GRACE

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 600.0
JOIN_TRIES = 20
MAX_REASON = 1000

Permit = Callable[[], None]


@dataclass(slots=True)
class Watch:
    """A running job, watched from its start or its adoption to its end."""

    record: Record
    process: JobProcess
    ended: asyncio.Future[Record]
    #: From the end on: why its change is not kept through a reboot, or None.
    kept: asyncio.Task[str | None] | None = field(default=None, repr=False)
    cancelled: bool = False
    why_killed: str | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class JobManager:
    """The jobs of one appliance.

    :param launcher: returns the one in force.
    :param notify: told of each start and end, in a thread; None beside the service, which finds and tells them itself.
    :param live: where what happens to jobs, and what they write, is told as live events.
    """

    def __init__(self, launcher: Callable[[], Launcher], notify: Callable[[Event], None] | None, live: Live) -> None:
        self._launcher = launcher
        self._notify = notify
        self._live = live
        self._watches: dict[str, Watch] = {}
        #: The runs that are told of here, until nobody else would.
        self._known: set[str] = set()
        #: Of runs that ended while nobody watched them.
        self._keeping: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Lock()
        self._looked = self._begun = self._starting = 0
        #: One start at a time: those that wait for it take no thread.
        self._turn = asyncio.Lock()
        self.seen = listing.Seen()
        self._checks = asyncio.Semaphore(4)

    @property
    def launcher(self) -> Launcher:
        """The current launcher."""
        return self._launcher()

    def job_type(self, name: str) -> JobType:
        """Return the job type of this name.

        :raises KeyError: there is none.
        """
        return self.launcher.job_types[name][1]

    async def adopt(self) -> None:
        """Follow the runs that another process started since the last look, and tell of those that ended meanwhile."""
        async with self._looking:
            changed, now = listing.changed_at(self.launcher.records.directory), time.time_ns()
            begun = self._begun
            if (changed and changed == self._looked) or self._starting:  # what starts here would be found, too
                return
            found = await asyncio.to_thread(adopting.find, self.launcher, frozenset(self._known))
            if begun != self._begun:
                return
            self._looked = 0 if found.unclear or changed > now - listing.SETTLED else changed
            self._known.update(record.id for record in found.ended)
            for record, process in found.running:
                process = process or self.launcher.reverting.pop(record.id, None)
                self._watch(record, process or JobProcess(record.pid))
        for record in found.ended:
            await self._tell("job.start", adopting.begun(record))
            if await self._is_to_be_kept(record):
                # That may take minutes, in which the service has to begin, and other runs are found.
                task = asyncio.create_task(self._keep_found(record))
                self._keeping.add(task)
                task.add_done_callback(self._keeping.discard)
            else:
                await self._tell_end(record)

    async def _keep_found(self, record: Record) -> None:
        await keeping.keep_of(self.start, record)
        await self._tell_end(record)

    async def start(
        self,
        job_type: str,
        values: Mapping[str, Any],
        client: str,
        user: str,
        permit: Permit = lambda: None,
        confirm: int = 0,
    ) -> Watch:
        """Start a job.

        :param permit: called in a thread just before the start; an exception that it raises prevents the start.
        :param confirm: seconds within which its change must be confirmed.
        :raises BusyError: it cannot run now.
        :raises OSError: it cannot be started.
        """
        return await asyncio.shield(self._start(job_type, values, client, user, permit, confirm))

    async def _start(
        self, job_type: str, values: Mapping[str, Any], client: str, user: str, permit: Permit, confirm: int
    ) -> Watch:
        self._begun += 1
        self._starting += 1
        try:
            async with self._turn:
                record, process = await asyncio.to_thread(
                    self.launcher.start, job_type, values, client, user, permit, confirm
                )
                return self._watch(record, process)
        finally:
            self._starting -= 1

    async def run(
        self, job_type: str, values: Mapping[str, Any], client: str, user: str, permit: Permit, join: bool = False
    ) -> JobOutcome:
        """Start a job, and wait for its end and for that of the job by which root keeps its change, if there is one.

        :param permit: as for `start`.
        :param join: whether to wait for a running job of this type in place of raising Busy.
        :raises BusyError: it cannot run now.
        """
        for tries_left in range(JOIN_TRIES, -1, -1):
            try:
                watch = await self.start(job_type, values, client, user, permit)
            except BusyError as busy:
                running = await self._running(job_type) if join and busy.job_type == job_type else None
                if running is None:
                    if not join or busy.job_type != job_type or not tries_left:
                        raise
                    await asyncio.sleep(0.05)  # it begins or ends at this moment
                    continue
                watch = running
            outcome = (await asyncio.shield(watch.ended)).outcome()
            problem = await asyncio.shield(watch.kept) if watch.kept else None
            return dataclasses.replace(outcome, status="failed", error_message=problem) if problem else outcome
        raise BusyError(job_type)

    async def _running(self, job_type: str) -> Watch | None:
        """The running job of a type, whoever started it."""
        if job_type not in self._watches:
            await self.adopt()
        return self._watches.get(job_type)

    async def await_end(self, job_type: str, id: str, seconds: float) -> None:
        """Wait a while for the end of a run."""
        watch = await self._running(job_type)
        if watch and watch.record.id == id:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(watch.ended), seconds)

    async def check(self, job_type: str, values: Mapping[str, Any]) -> JobOutcome:
        """Run the job's check of an input; nothing is changed.

        :raises BusyError: the job could not run now.
        """
        async with self._checks:
            outcome = await asyncio.to_thread(self.launcher.check, job_type, values, CHECK_TIMEOUT)
        preview = outcome.get("preview") or {}
        return JobOutcome("", outcome["status"], outcome.get("error_message"), outcome.get("error_code"), preview)

    async def cancel(self, job_type: str) -> bool:
        """Cancel the running job of this type, and wait up to its grace period for its end.

        :return: False if none is running, or it cannot be cancelled any more.
        :raises OSError: its process cannot be told.
        """
        watch = await self._running(job_type)
        return watch is not None and await self._cancel(watch)

    async def cancel_run(self, id: str) -> None:
        """Cancel one run, and wait up to its grace period for its end.

        :raises KeyError: there is no such run.
        :raises NotCancellableError: it is not cancelled.
        :raises OSError: its process cannot be told.
        """
        record = await self.check_cancellable(id)
        watch = await self._running(record.type)
        if watch is None or watch.record.id != id:
            raise NotCancellableError("The job begins or ends at this moment: try again")
        if not await self._cancel(watch):
            raise NotCancellableError(listing.PAST)
        status = watch.ended.result().status
        if status != "cancelled":
            raise NotCancellableError(listing.ended(status))

    async def check_cancellable(self, id: str) -> Record:
        """Return the record of a run that `cancel_run` would cancel; raises as that does."""
        record = await asyncio.to_thread(listing.current, self.launcher, id)
        if record is None:
            raise KeyError(id)
        reason = await asyncio.to_thread(listing.why_not, self.launcher, record)
        if reason:
            raise NotCancellableError(reason)
        return record

    async def _cancel(self, watch: Watch) -> bool:
        directory = self.launcher.appliance.tmp / watch.record.id
        with contextlib.suppress(FileNotFoundError):  # it has ended
            if not await asyncio.to_thread(cancelling.decide, directory, "cancelled"):
                return False
        if not watch.cancelled:  # a second signal would kill the programs that clean up
            watch.cancelled = True
            try:
                await asyncio.to_thread(watch.process.ask_to_end)
            except OSError:
                watch.cancelled = False
                raise
        await self._end(watch)
        return True

    async def _end(self, watch: Watch) -> None:
        known = self.launcher.job_types.get(watch.record.type)
        grace = known[1].grace if known else DEFAULT_GRACE
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(watch.ended), grace)
        if not watch.ended.done():
            await asyncio.to_thread(watch.process.kill)
            await asyncio.wait_for(asyncio.shield(watch.ended), awaiting.EXTRA_TIMEOUT)

    def _watch(self, record: Record, process: JobProcess) -> Watch:
        watch = Watch(record, process, asyncio.get_running_loop().create_future())
        self._watches[record.type] = watch
        self._known.add(record.id)
        exit_reasons.await_settling(self.launcher.records.path(record.id), process)
        watch.task = asyncio.create_task(self._follow(watch))
        return watch

    async def _follow(self, watch: Watch) -> None:
        await self._tell("job.start", watch.record)
        following = Following(watch.record.shown(), self._launcher, self._live)
        record = watch.record
        try:
            while record.status == "running":
                watch.why_killed = await awaiting.end(self.launcher, record, watch.process)
                record = await self._put_back(watch, await self._settled(watch, partial(self._settle, watch)))
        except OSError:
            logger.exception("The end of %s cannot be recorded", record.id)
            record.fail(exit_reasons.UNRECORDED)
        finally:
            exit_reasons.settled(self.launcher.records.path(record.id))
            if self._watches.get(record.type) is watch:
                del self._watches[record.type]
            watch.kept = asyncio.create_task(self._keep(record))
            watch.ended.set_result(record)
        await following.end()
        await watch.kept
        await self._tell_end(record)

    async def _put_back(self, watch: Watch, record: Record) -> Record:
        """Watch the process that puts back what a dead run changed, or wait for another one to do that."""
        pause = reverting.TRY_EACH
        while record.status == "running":
            if process := self.launcher.reverting.pop(record.id, None):
                exit_reasons.await_settling(self.launcher.records.path(record.id), process)
                watch.process, watch.why_killed = process, None
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, reverting.TRY_EACH_AT_MOST) if record.id in self.launcher.unstarted else pause
            record = await self._settled(watch, partial(settling.settle, self.launcher, record))
        return record

    async def _settled(self, watch: Watch, settle: Callable[[], Record]) -> Record:
        """Settle a run, one on trial as soon as the disk takes that: what it changed must not stay unsaid.

        :param settle: does it the first time; later on nothing is killed whose id another process may have by then.
        :raises OSError: that is impossible now, and it is on no trial.
        """
        pause = reverting.TRY_EACH
        while True:
            try:
                return await asyncio.to_thread(settle)
            except OSError as error:
                if not await asyncio.to_thread(reverting.is_due, self.launcher, watch.record):
                    raise
                what = "That %s is put back cannot be recorded, which is tried again: %s"
                logger.error(what, watch.record.id, leftovers.reason(error))
            settle = partial(settling.settle, self.launcher, watch.record, watch.why_killed)
            await asyncio.sleep(pause)
            pause = min(2 * pause, reverting.TRY_EACH_AT_MOST)

    def _settle(self, watch: Watch) -> Record:
        watch.process.wait()
        record = self.launcher.records.read(watch.record.id)
        if record is None or record.status == "running":
            watch.process.kill()
        record = settling.settle(self.launcher, watch.record, watch.why_killed)
        self.launcher.records.reserve.keep()
        return record

    async def _tell_end(self, record: Record) -> None:
        if self._notify:
            told = await asyncio.to_thread(self.launcher.records.note_told, record.id)
            if told:
                self._known.discard(record.id)
        await self._tell("job.end", record)

    async def _keep(self, record: Record) -> str | None:
        """Have root keep what a run changed, where that has to be a job of its own; return why that failed."""
        return await keeping.keep_of(self.start, record) if await self._is_to_be_kept(record) else None

    async def _is_to_be_kept(self, record: Record) -> bool:
        return self._notify is not None and await asyncio.to_thread(self.launcher.is_to_be_kept, record)

    async def keep(self, client: str, user: str) -> str | None:
        """Have root keep what was changed, as `keeping.keep` does."""
        return await keeping.keep(self.start, client, user)

    async def _tell(self, action: str, record: Record) -> None:
        if self._notify is None:
            return
        event = plugin_event(action, record)
        reason = f": {record.error_message[:MAX_REASON]}" if record.error_message else ""
        logger.info("%s: %s %s%s", action, record.id, event.target.partition(" ")[2], reason)
        if self._live.is_heard:
            self._live.publish(job_event(record.shown()))
        await asyncio.to_thread(self._notify, event)
