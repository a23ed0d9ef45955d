"""The service of one appliance: the parts of the host put together, and put together anew on a reload."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jidoteki.core.appliance import Appliance
from jidoteki.core.auth.inflight import InFlight
from jidoteki.core.auth.nonces import Nonces
from jidoteki.core.auth.throttle import Throttle
from jidoteki.core.auth.tickets import Tickets
from jidoteki.core.config import loading as configuration
from jidoteki.core.http.bodies import Buffers
from jidoteki.core.http.parts import Room
from jidoteki.core.http.resuming import SentFiles
from jidoteki.core.http.streaming import Streams
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
from jidoteki.hookspecs import Event, LiveEvent, audit_log

logger = logging.getLogger(__name__)

HOOK_TIMEOUT = 10.0
TELL_EACH = 5.0
PASSPHRASE_AFTER = 1.0


class Service:
    """Everything a request may need.

    :param path: the configuration file.
    """

    def __init__(self, appliance: Appliance, path: Path) -> None:
        self._path = path
        self._last_good = appliance.jobs / "last-good-configuration.json"
        self._started: set[str] = set()
        self._creating: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._calls = Calls()
        self.live = Live()
        self.streams = Streams()
        self._events = Events(lambda: self.generation.plugins.implementations("jidoteki_event"), self._calls)
        self._throttle = Throttle(lambda: self.generation.limits.pause)
        self.tickets = Tickets()
        self.figures = Figures(self._calls.failures)
        self.answered: Counter[tuple[str, int]] = Counter()
        #: The last figures of `/health`, while they cannot be written.
        self.unwritten_health: dict[str, Any] | None = None
        self.audit = AuditLog(appliance.log / audit_log.FILE, self._tell_of_audit, lambda: self.appliance.group)
        self.in_flight = InFlight()
        self.sent = SentFiles(appliance.jobs / "sent.json")
        self.idempotency = Idempotency(KeptAnswers(appliance.jobs / "answers.sqlite"))
        self.buffers = Buffers()
        self.room = Room(appliance.spool, lambda: self.generation.limits.free_space)
        self.jobs = JobManager(lambda: self.generation.assembly.launcher, self._note_job, self.live)
        config = configuration.load(path, self._last_good)
        #: What is in force; a reload replaces it as a whole.
        self.generation = self._build(assemble(appliance, config, self._calls), None)

    @property
    def appliance(self) -> Appliance:
        """The appliance, as the configuration in force describes it."""
        return self.generation.assembly.appliance

    def publish(self, event: LiveEvent) -> None:
        """Tell a live event to all who subscribed."""
        self.live.publish(event)

    def subscribe(self, listener: Callable[[LiveEvent], None]) -> Callable[[], None]:
        """Have each live event told to a function."""
        return self.live.subscribe(listener)

    async def fetch(self, path: str) -> Any:
        """What `GET path` answers, whoever asks."""
        return await fetching.fetch(self, path)

    def _tell_of_audit(self, event: Event) -> None:
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

    async def start(self) -> None:
        """Find running jobs and start the plugins; called once."""
        self.live.begin()
        await self.jobs.recover()
        await self._start_plugins()
        self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        """Let the audit log tell of what it only counts."""
        while True:
            await asyncio.sleep(TELL_EACH)
            await self._write_sums()

    async def _write_sums(self, at_once: bool = False) -> None:
        try:
            await asyncio.to_thread(self.audit.tell, at_once)
        except AuditUnavailableError:
            pass  # it says so itself

    def make_passphrase_soon(self) -> None:
        """Make the passphrase of a first run if there is still no token in a moment.

        Whoever replaces the token by removing the old one first does not begin a first run.
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
        """Read the configuration again; jobs and connections go on."""
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
        """Let the plugins end; jobs go on."""
        if self._telling:
            self._telling.cancel()
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
