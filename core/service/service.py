"""The service of one appliance: the parts of the host, assembled anew on a reload."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from jidoteki.core.appliance import Appliance
from jidoteki.core.auth.inflight import InFlight
from jidoteki.core.auth.nonces import Nonces
from jidoteki.core.auth.throttle import Throttle
from jidoteki.core.auth.tickets import Tickets
from jidoteki.core.config import loading as configuration
from jidoteki.core.files.reserve import Reserve
from jidoteki.core.http.bodies import Buffers
from jidoteki.core.http.parts import Room
from jidoteki.core.http.resuming import SentFiles
from jidoteki.core.http.streaming import Streams
from jidoteki.core.jobs import listing, settling
from jidoteki.core.jobs.manager import JobManager
from jidoteki.core.logs.audit import AuditLog, AuditUnavailableError
from jidoteki.core.plugin_manager.events import Events
from jidoteki.core.plugin_manager.isolation import Calls, RaisedError, told
from jidoteki.core.plugin_manager.live import Live
from jidoteki.core.plugin_manager.manager import Plugin, PluginError, within
from jidoteki.core.service import fetching
from jidoteki.core.service.generation import Assembly, Generation, assemble, build
from jidoteki.core.service.idempotency import Idempotency
from jidoteki.core.service.kept_answers import KeptAnswers
from jidoteki.core.service.metrics import Figures
from jidoteki.hookspecs import Event, LiveEvent, audit_log, trials

logger = logging.getLogger(__name__)

HOOK_TIMEOUT = 10.0
LOOK_EACH = 1.0
TELL_EACH = 5
PASSPHRASE_AFTER = 1.0


def put_back_entry(id: str, ended: float | None, message: str | None, code: str = trials.CODE) -> dict[str, Any]:
    """Return what `/health` tells of a change that was put back, or was to be."""
    return {"job": id, "time": int(ended or 0), "error-code": code, "error-message": message}


class Service:
    """The state of the service that requests share.

    :param path: the configuration file.
    """

    def __init__(self, appliance: Appliance, path: Path) -> None:
        self._path = path
        self._last_good = appliance.last_good_configuration
        self._started: set[str] = set()
        self._creating: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._calls = Calls()
        self.live = Live()
        self.streams = Streams()
        self._events = Events(lambda: self.generation.plugins.implementations("jidoteki_event"), self._calls)
        self._throttle = Throttle(lambda: self.generation.limits.pause)
        self.tickets = Tickets()
        self.figures = Figures(self._calls.failures)
        self.answered: Counter[tuple[str, int]] = Counter()
        #: The last figures of `/health`, if they cannot be written.
        self.unwritten_health: dict[str, Any] | None = None
        #: The changes that were put back, by job type, until one of that type succeeds.
        self.put_back: dict[str, dict[str, Any]] = {}
        reserve = Reserve(appliance.jobs / "reserve")
        self.audit = AuditLog(
            appliance.log / audit_log.FILE,
            self._publish_audit,
            lambda: self.appliance.group,
            lambda: reserve.release(1),
        )
        self.in_flight = InFlight()
        #: What is being told of requests that were ended.
        self.telling: set[asyncio.Future[None]] = set()
        self.sent = SentFiles(appliance.jobs / "sent.json")
        self.idempotency = Idempotency(KeptAnswers(appliance.jobs / "answers.sqlite"))
        self.buffers = Buffers()
        self.room = Room(appliance.spool, lambda: self.generation.limits.free_space)
        self.jobs = JobManager(lambda: self.generation.assembly.launcher, self._note_job, self.live)
        config = configuration.load(path, self._last_good)
        #: The current generation; a reload replaces it as a whole.
        self.generation = self._build(assemble(appliance, config, self._calls), None)

    @property
    def appliance(self) -> Appliance:
        """The appliance, under the current configuration."""
        return self.generation.assembly.appliance

    def publish(self, event: LiveEvent) -> None:
        """Deliver a live event to all subscribers."""
        self.live.publish(event)

    def subscribe(self, listener: Callable[[LiveEvent], None]) -> Callable[[], None]:
        """Subscribe a function to live events; return a function that unsubscribes it."""
        return self.live.subscribe(listener)

    async def fetch(self, path: str) -> Any:
        """Return the JSON value that `GET path` returns, with all rights."""
        return await fetching.fetch(self, path)

    def _publish_audit(self, event: Event) -> None:
        self._events.notify(event)
        if self.live.is_heard:
            names = ("time", "id", "client", "user", "action", "target", "count")
            self.live.publish(LiveEvent("audit", {name: getattr(event, name) for name in names}, "/audit", event.time))

    def _build(self, assembly: Assembly, nonces: Nonces | None) -> Generation:
        generation = build(assembly, nonces, self._throttle, self.audit, self.tickets)
        try:
            configuration.keep(assembly.config, self._last_good)
        except OSError as error:
            logger.error("%s: %s", error.filename or self._last_good, error.strerror or error)
        return generation

    def _note_job(self, event: Event) -> None:
        self.figures.note(event)
        self._events.notify(event)
        if event.action == "job.end":
            self._note_outcome(event)

    def _note_outcome(self, event: Event) -> None:
        """Keep for `/health` which changes were put back, and audit that one was."""
        job_type = event.id.partition("-")[2]
        if event.code not in trials.TOLD:
            if event.outcome == "success":
                self.put_back.pop(job_type, None)
            return
        self.put_back[job_type] = put_back_entry(event.id, event.time, event.message, event.code)
        action = {trials.CODE: "change.reverted", trials.LOST: "change.lost"}.get(event.code, "change.failed")
        if event.code == trials.LOST:
            logger.error("%s: %s", event.id, event.message)
        with suppress(AuditUnavailableError):  # which the audit log reports itself
            self.audit.write(event.id, event.client, event.user, action, f"{job_type} {event.code}", True)

    def _recall_put_back(self) -> None:
        for record in listing.last_failed(self.jobs.launcher):
            if record.error_code in trials.TOLD:
                told = put_back_entry(record.id, record.ended, record.error_message, record.error_code)
                self.put_back[record.type] = told

    async def start(self) -> None:
        """Start the plugins and find running jobs; called once."""
        self.live.begin()
        await asyncio.to_thread(settling.recover, self.jobs.launcher)
        await asyncio.to_thread(self._recall_put_back)
        await self._start_plugins()
        await self.jobs.adopt()
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Find jobs that other processes start, and let the audit log tell of what it only counts."""
        for turn in itertools.count(1):
            await asyncio.sleep(LOOK_EACH)
            await self.jobs.adopt()
            if turn % TELL_EACH == 0:
                await self._write_sums()

    async def _write_sums(self, at_once: bool = False) -> None:
        try:
            await asyncio.to_thread(self.audit.tell, at_once)
        except AuditUnavailableError:
            pass  # the audit log reports this itself

    def make_passphrase_soon(self) -> None:
        """Create the first-run passphrase if the token is still missing in a moment.

        Replacing the token by removing the old one first does not start a first run.
        """
        if self._creating is None or self._creating.done():
            self._creating = asyncio.create_task(self._make_passphrase())

    async def _make_passphrase(self) -> None:
        await asyncio.sleep(PASSPHRASE_AFTER)
        authenticator = self.generation.authenticator
        if authenticator.lacks_passphrase():
            try:
                await asyncio.to_thread(authenticator.prepare)
                logger.warning("There is no token: a new passphrase for a first setup was made")
            except OSError as error:
                logger.error("The passphrase of the first setup cannot be made: %s", error.strerror or error)

    async def reload(self) -> None:
        """Reload the configuration; jobs and connections are kept."""
        self.generation = await asyncio.to_thread(self._rebuild)
        await self._start_plugins()
        if self.generation.config.mistakes:
            logger.error("Configuration: what is wrong in it stays as it was")
        logger.info("The configuration was read again")

    def _rebuild(self) -> Generation:
        now = self.generation
        config = configuration.load(self._path, self._last_good, now.config.values)
        return self._build(assemble(self.appliance, config, self._calls), now.gate.nonces)

    async def stop(self) -> None:
        """Shut the plugins down; jobs go on."""
        if self._looking:
            self._looking.cancel()
        await self._write_sums(at_once=True)
        for plugin, function in self.generation.plugins.implementations("jidoteki_shutdown"):
            await self._life_cycle(plugin, function, "jidoteki_shutdown")
        await asyncio.to_thread(self._events.close, 2.0)

    async def _start_plugins(self) -> None:
        for plugin, function in self.generation.plugins.implementations("jidoteki_startup"):
            if plugin.name not in self._started:
                self._started.add(plugin.name)
                await self._life_cycle(plugin, function, "jidoteki_startup")

    def _arguments(self, hook: str) -> dict[str, Any]:
        also = {"service": self} if hook == "jidoteki_startup" else {}
        return {"appliance": self.appliance, **also}

    async def _life_cycle(self, plugin: Plugin, function: object, hook: str) -> None:
        """Await a hook that may be `async def`; a plain one runs in a thread."""
        assert callable(function)
        try:
            async with asyncio.timeout(HOOK_TIMEOUT):
                result = await asyncio.to_thread(within, HOOK_TIMEOUT, lambda: function(**self._arguments(hook)))
                if inspect.isawaitable(result):
                    await result
        except TimeoutError:
            self.figures.failures[plugin.name] += 1
            logger.error("The plugin %s did not finish %s within %g seconds", plugin.name, hook, HOOK_TIMEOUT)
        except (Exception, SystemExit) as error:
            self.figures.failures[plugin.name] += 1
            failed = error if isinstance(error, PluginError) else RaisedError(error)
            raised = failed.__cause__ if failed is error else error
            logger.error("The plugin %s failed in %s: %s", plugin.name, hook, told(failed), exc_info=raised)
