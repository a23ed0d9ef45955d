"""What one reading of the configuration gives: built beside what is in force, and put into force as a whole."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from jidoteki.core.appliance import Appliance
from jidoteki.core.auth.authentication import Authenticator
from jidoteki.core.auth.gate import Gate
from jidoteki.core.auth.nonces import Nonces
from jidoteki.core.auth.throttle import Throttle
from jidoteki.core.auth.tickets import Tickets
from jidoteki.core.config.loading import Config
from jidoteki.core.http import tls
from jidoteki.core.http.authority import Names
from jidoteki.core.http.clients import Proxies
from jidoteki.core.http.limits import Limits
from jidoteki.core.http.routes import Routes
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.logs.audit import AuditLog
from jidoteki.core.plugin_manager import manager
from jidoteki.core.plugin_manager.isolation import Calls
from jidoteki.core.plugin_manager.manager import Plugins
from jidoteki.core.service import file_sources
from jidoteki.core.service.file_sources import FileSources

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The plugins under one configuration, with the jobs and the routes that they contribute."""

    appliance: Appliance
    config: Config
    plugins: Plugins
    launcher: Launcher
    routes: Routes
    file_sources: FileSources


def assemble(appliance: Appliance, config: Config, calls: Calls | None = None) -> Assembly:
    """Load the plugins and collect what they contribute; what does not work is left out, and told in each plugin.

    :param calls: those of this process, where plugins are loaded more than once in it.
    """
    appliance = appliance.with_group(config.values["files"]["group"])
    plugins = manager.load_all(appliance, config, calls)
    launcher = Launcher(appliance, config, plugins)
    sources = file_sources.collect(plugins, appliance)
    return Assembly(appliance, config, plugins, launcher, Routes(plugins, config), sources)


@dataclass(frozen=True, slots=True)
class Generation:
    """All that a reload replaces, in force until the next one."""

    assembly: Assembly
    gate: Gate
    proxies: Proxies
    limits: Limits

    @property
    def config(self) -> Config:
        """The configuration that it was built from."""
        return self.assembly.config

    @property
    def plugins(self) -> Plugins:
        """The plugins."""
        return self.assembly.plugins

    @property
    def routes(self) -> Routes:
        """Which endpoint answers what."""
        return self.assembly.routes

    @property
    def authenticator(self) -> Authenticator:
        """Who may use the API."""
        return self.gate.authenticator


def build(
    assembly: Assembly, nonces: Nonces | None, throttle: Throttle, audit: AuditLog, tickets: Tickets
) -> Generation:
    """Put a generation together; blocks.

    :param nonces: those in force: new ones might not know one that is just being stored.
    """
    appliance, values = assembly.appliance, assembly.config.values
    wanted, listen = values["authentication"], values["listen"]
    limits = Limits.of(values["limits"])
    first_run = values["first-run"]
    authenticator = Authenticator(appliance, first_run["enabled"], first_run["word-length"], wanted["named-tokens"])
    try:
        authenticator.prepare()
    except OSError as error:
        logger.error("%s: %s", error.filename or appliance.etc, error.strerror or error)
    for problem in (*assembly.config.problems, *assembly.routes.problems):
        logger.error("Configuration: %s", problem)
    if not wanted["signatures"]:
        nonces = None
    elif nonces is None:
        nonces = Nonces(appliance.jobs)
    gate = Gate(authenticator, nonces, Names(tls.bundle(appliance), wanted["names"]), throttle, audit, tickets)
    proxies = Proxies(listen["trusted-proxies"], listen["forwarded-header"], limits.connections_per_address)
    return Generation(assembly, gate, proxies, limits)
