"""The service of one appliance: the parts of the host put together, and put together anew on a reload."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from jidoteki.core.appliance import Appliance
from jidoteki.core.auth.authentication import Authenticator
from jidoteki.core.auth.inflight import InFlight
from jidoteki.core.auth.nonces import Nonces
from jidoteki.core.auth.throttle import Throttle
from jidoteki.core.authority import Names
from jidoteki.core.clients import Proxies
from jidoteki.core.config import loading as configuration
from jidoteki.core.config.loading import Config
from jidoteki.core.http import tls
from jidoteki.core.http.bodies import Buffers, Limits
from jidoteki.core.http.parts import Room
from jidoteki.core.http.resuming import SentFiles
from jidoteki.core.http.routes import Routes
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.jobs.manager import JobManager
from jidoteki.core.logs.audit import AuditLog, AuditUnavailable
from jidoteki.core.plugin_manager import manager as plugin_loading
from jidoteki.core.plugin_manager.events import Events
from jidoteki.core.plugin_manager.isolation import Calls
from jidoteki.core.plugin_manager.manager import Plugin, PluginError, Plugins

logger = logging.getLogger(__name__)

HOOK_TIME = 10.0
TELL_EACH = 5.0
PASSPHRASE_AFTER = 1.0


class Service:
    """Everything a request may need.

    :param path: the configuration file.
    """

    def __init__(self, appliance: Appliance, path: Path) -> None:
        self.appliance = appliance
        self._path = path
        self._started: set[str] = set()
        self.answered: Counter[tuple[str, int]] = Counter()
        self.nonces: Nonces | None = None
        #: The last figures of `/health`, while they cannot be written.
        self.unwritten_health: dict[str, Any] | None = None
        self._calls = Calls()
        self._events = Events(lambda: self.plugins.implementations("jidoteki_event"), self._calls)
        self.audit = AuditLog(appliance.log / "jidoteki-audit.log", self._events.notify, lambda: appliance.group)
        self._last_good = appliance.jobs / "last-good-configuration.json"
        self._creating: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self.in_flight = InFlight()
        self.sent = SentFiles()
        self.buffers = Buffers()
        self.room = Room(appliance.spool, 0)
        self._use(configuration.load(path, self._last_good))
        self.jobs = JobManager(self._launcher, self._events.notify)
        self.throttle = Throttle(self.config.settings["limits"]["failed-authentication-pause"])

    def _use(self, config: Config) -> None:
        """Put a configuration into force."""
        self.config = config
        self.appliance.files_group = config.settings["files"]["group"]
        self.plugins: Plugins = plugin_loading.load_all(self.appliance, config, self._calls)
        self._launcher = Launcher(self.appliance, config, self.plugins)
        self.routes = Routes(self.plugins, config)
        self.authenticator = Authenticator(
            self.appliance,
            config.first_run,
            config.settings["first-run"]["word-length"],
            config.settings["authentication"]["named-tokens"],
        )
        if not config.settings["authentication"]["signatures"]:
            self.nonces = None
        elif self.nonces is None:  # kept through reloads: a new one might not know a nonce that is just being stored
            self.nonces = Nonces(self.appliance.jobs)
        self.names = Names(tls.bundle(self.appliance), config.settings["authentication"]["names"])
        limits = config.settings["limits"]
        self.room.reserve = limits["free-space"]
        listen = config.settings["listen"]
        self.proxies = Proxies(listen["trusted-proxies"], listen["forwarded-header"], limits["connections-per-address"])
        try:
            self.authenticator.prepare()
            configuration.keep(config, self._last_good)
        except OSError as error:
            logger.error("%s: %s", error.filename or self.appliance.etc, error.strerror or error)
        self.limits = Limits(limits["upload"], limits["free-space"], limits["idle-body"], limits["minimum-upload-rate"])
        for problem in (*config.problems, *self.routes.problems):
            logger.error("Configuration: %s", problem)

    def first_run(self) -> bool | None:
        """Whether the first-run passphrase is pending; None where first runs are not enabled."""
        return self.authenticator.first_run_pending() if self.authenticator.first_run else None

    async def start(self) -> None:
        """Find running jobs and start the plugins; called once."""
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
        except AuditUnavailable:
            pass  # it says so itself

    def make_passphrase_soon(self) -> None:
        """Make the passphrase of a first run if there is still no token in a moment.

        Whoever replaces the token by removing the old one first does not begin a first run.
        """
        if self._creating is None or self._creating.done():
            self._creating = asyncio.create_task(self._make_passphrase())

    async def _make_passphrase(self) -> None:
        await asyncio.sleep(PASSPHRASE_AFTER)
        if self.authenticator.lacks_passphrase():
            try:
                await asyncio.to_thread(self.authenticator.prepare)
                logger.warning("There is no token: a new passphrase for a first setup was made")
            except OSError as error:
                logger.error("The passphrase of the first setup cannot be made: %s", error.strerror or error)

    async def reload(self) -> None:
        """Read the configuration again; jobs and connections go on."""
        config = await asyncio.to_thread(configuration.load, self._path, self._last_good, self.config.settings)
        await asyncio.to_thread(self._use, config)
        self.jobs.launcher = self._launcher
        self.throttle.pause = config.settings["limits"]["failed-authentication-pause"]
        await self._start_plugins()
        if config.mistakes:
            logger.error("Configuration: what is wrong in it stays as it was")
        logger.info("The configuration was read again")

    async def stop(self) -> None:
        """Let the plugins end; jobs go on."""
        if self._telling:
            self._telling.cancel()
        await self._write_sums(at_once=True)
        for plugin, function in self.plugins.implementations("jidoteki_shutdown"):
            await self._life_cycle(plugin, function, "jidoteki_shutdown")
        await asyncio.to_thread(self._events.close, 2.0)

    async def _start_plugins(self) -> None:
        for plugin, function in self.plugins.implementations("jidoteki_startup"):
            if plugin.name not in self._started:
                self._started.add(plugin.name)
                await self._life_cycle(plugin, function, "jidoteki_startup")

    async def _life_cycle(self, plugin: Plugin, function: object, hook: str) -> None:
        """Await a hook that may be `async def`; a plain one runs in a thread."""
        assert callable(function)
        try:
            async with asyncio.timeout(HOOK_TIME):
                result = await asyncio.to_thread(
                    plugin_loading.within, HOOK_TIME, lambda: function(appliance=self.appliance)
                )
                if inspect.isawaitable(result):
                    await result
        except TimeoutError:
            logger.error("The plugin %s did not finish %s within %g seconds", plugin.name, hook, HOOK_TIME)
        except (PluginError, Exception, SystemExit) as error:
            logger.error("The plugin %s failed in %s: %s", plugin.name, hook, error)
