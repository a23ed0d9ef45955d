"""The hooks, in the order in which they are called in a plugin's life: one hook, one sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import click
    import voluptuous as vol

    from jidoteki.hookspecs.appliance import Appliance
    from jidoteki.hookspecs.endpoints import Endpoint, FileSource
    from jidoteki.hookspecs.findings import Finding
    from jidoteki.hookspecs.jobs import Event, Job, JobType
    from jidoteki.hookspecs.live import Service
    from jidoteki.hookspecs.metrics import Metric
    from jidoteki.hookspecs.pages import Page
    from jidoteki.hookspecs.screens import Screen

PROJECT: Final = "jidoteki"

CONTRACT: Final = "1.0"
"""The version of this contract. A plugin declares with `JIDOTEKI_CONTRACT = "1.0"` which one it was written for; a
host accepts plugins of its own major version, up to its own minor version."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """The hooks of the contract. A plugin implements the ones it needs; none is called per request.

    An implementation declares the parameters that it needs and leaves the others out. `config` is the plugin's section
    of the active configuration, validated and with its defaults.
    """

    @hookspec
    def jidoteki_config_schema(self) -> vol.Schema | None:
        """Return the schema of this plugin's section below `plugins` in the configuration."""

    @hookspec
    def jidoteki_jobs(self, appliance: Appliance, config: Mapping[str, Any]) -> list[JobType] | None:
        """Return the types of background job this plugin runs; called at start-up and in each job's process."""

    @hookspec
    def jidoteki_endpoints(self, appliance: Appliance, config: Mapping[str, Any]) -> list[Endpoint] | None:
        """Return the endpoints this plugin serves; called at start-up and when the configuration is reloaded."""

    @hookspec
    def jidoteki_pages(
        self, appliance: Appliance, config: Mapping[str, Any], host_config: Mapping[str, Any]
    ) -> list[Page] | None:
        """Return the public pages outside of the API; called at start-up and at each reload."""

    @hookspec
    def jidoteki_screens(self, appliance: Appliance, config: Mapping[str, Any]) -> list[Screen] | None:
        """Return the screens of this plugin in the dashboard; called at start-up and at each reload."""

    @hookspec
    def jidoteki_file_sources(self, appliance: Appliance, config: Mapping[str, Any]) -> list[FileSource] | None:
        """Return the sources of files that a form may name; called at start-up and at each reload."""

    @hookspec
    def jidoteki_commands(self, cli: click.Group) -> None:
        """Add sub-commands to `cli`, the `jidoteki` command; `click.pass_obj` hands them the appliance."""

    @hookspec
    def jidoteki_init(self, appliance: Appliance, vendor: Path) -> None:
        """Add to a new appliance root what this plugin needs to work out of the box; called by `jidoteki init`.

        `vendor` is the directory for files that only the vendor keeps, such as signing keys.
        """

    @hookspec
    def jidoteki_check(
        self, appliance: Appliance, config: Mapping[str, Any], host_config: Mapping[str, Any]
    ) -> list[Finding] | None:
        """Return what is wrong with this plugin's part of the appliance, without changing it; for `jidoteki check`.

        `host_config` holds the host's own keys of the configuration, with their defaults.
        """

    @hookspec
    def jidoteki_startup(
        self, appliance: Appliance, config: Mapping[str, Any], service: Service
    ) -> Awaitable[None] | None:
        """Prepare the plugin; called once before the first request is accepted; may be `async def`."""

    @hookspec
    def jidoteki_services(self, appliance: Appliance, config: Mapping[str, Any]) -> list[tuple[str, bool]] | None:
        """Return `(name, running)` of services to add to `GET /services`; called in a thread."""

    @hookspec
    def jidoteki_health(self, appliance: Appliance, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return figures to show in `GET /health` under the plugin's name; called in a thread at each refresh."""

    @hookspec
    def jidoteki_metrics(self, appliance: Appliance, config: Mapping[str, Any]) -> list[Metric] | None:
        """Return metrics for `GET /metrics`; called in a thread for a request, at most once a second."""

    @hookspec(firstresult=True)
    def jidoteki_apply(self, job: Job, name: str, document: dict[str, Any], config: Mapping[str, Any]) -> bool | None:
        """Apply new settings (`name`: network, storage, …) in place of the built-in command.

        Called in the job's process. Once a plugin returns True, no other is asked; one that cannot apply them raises
        JobError. It is called for the former settings, too, where a change on trial is put back; `network` then has its
        `mode` alone if there were none.
        """

    @hookspec
    def jidoteki_event(self, event: Event, config: Mapping[str, Any]) -> None:
        """Receive each audit line and each job's start and end; called in a thread, after the fact."""

    @hookspec
    def jidoteki_shutdown(self, appliance: Appliance, config: Mapping[str, Any]) -> Awaitable[None] | None:
        """Clean up; called once after the last request was answered; may be `async def`."""
