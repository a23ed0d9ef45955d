"""A generation: everything that depends on the configuration, built beside the current one and replaced as a whole."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from jidoteki.core import docs_page
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
from jidoteki.core.pages import screens
from jidoteki.core.pages.table import PageTable
from jidoteki.core.plugin_manager import manager
from jidoteki.core.plugin_manager.isolation import Calls
from jidoteki.core.plugin_manager.manager import Plugins
from jidoteki.core.service import file_sources
from jidoteki.core.service.file_sources import FileSources

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The plugins under one configuration, with their jobs and routes."""

    appliance: Appliance
    config: Config
    plugins: Plugins
    launcher: Launcher
    routes: Routes
    file_sources: FileSources
    pages: PageTable
    screens: list[dict[str, Any]]


def assemble(appliance: Appliance, config: Config, calls: Calls | None = None) -> Assembly:
    """Load the plugins and collect their contributions; a failed plugin is left out and records its problem.

    :param calls: the guard of this process, if it loads plugins more than once.
    """
    appliance = appliance.configured(config.values)
    plugins = manager.load_all(appliance, config, calls)
    launcher = Launcher(appliance, config, plugins)
    sources = file_sources.collect(plugins, appliance)
    pages = PageTable(plugins, appliance, config)
    found = screens.collect(plugins, appliance, pages)
    routes = Routes(plugins, config)
    shown = screens.served(found, routes)
    pages.add_own(docs_page.pages(routes, shown))
    return Assembly(appliance, config, plugins, launcher, routes, sources, pages, shown)


@dataclass(frozen=True, slots=True)
class Generation:
    """Everything that a reload replaces."""

    assembly: Assembly
    gate: Gate
    proxies: Proxies
    limits: Limits

    @property
    def config(self) -> Config:
        return self.assembly.config

    @property
    def plugins(self) -> Plugins:
        return self.assembly.plugins

    @property
    def routes(self) -> Routes:
        return self.assembly.routes

    @property
    def authenticator(self) -> Authenticator:
        return self.gate.authenticator


def build(
    assembly: Assembly, nonces: Nonces | None, throttle: Throttle, audit: AuditLog, tickets: Tickets
) -> Generation:
    """Build a generation; blocks.

    :param nonces: the current ones, as new ones might miss a nonce that is being stored.
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
