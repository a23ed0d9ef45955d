"""The hooks, in the order in which a plugin's life meets them: one hook, one sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import click
    import voluptuous as vol

    from jidoteki.hookspecs.appliance import Appliance
    from jidoteki.hookspecs.endpoints import Endpoint
    from jidoteki.hookspecs.findings import Finding
    from jidoteki.hookspecs.jobs import Event, Job, JobType
    from jidoteki.hookspecs.metrics import Metric

PROJECT: Final = "jidoteki"

CONTRACT: Final = "1.0"
"""The version of this contract. A plugin says with `JIDOTEKI_CONTRACT = "1.0"` which one it was written for; a host
takes plugins of its own major version, up to its own minor one."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """Every hook of the contract. A plugin implements the ones it needs; none is called per request.

    An implementation takes the arguments that it needs and leaves the others out. `config` is the plugin's section of
    the configuration in force, validated and with its defaults.
    """

    @hookspec
    def jidoteki_config_schema(self) -> vol.Schema | None:
        """Return the schema of this plugin's section below `plugins` in the configuration."""

    @hookspec
    def jidoteki_jobs(self, appliance: Appliance, config: Mapping[str, Any]) -> list[JobType] | None:
        """Return the kinds of background job this plugin runs; called at start-up and in each job's process."""

    @hookspec
    def jidoteki_endpoints(self, appliance: Appliance, config: Mapping[str, Any]) -> list[Endpoint] | None:
        """Return the endpoints this plugin serves; called at start-up and when the configuration is reloaded."""

    @hookspec
    def jidoteki_commands(self, cli: click.Group) -> None:
        """Add sub-commands to `cli`, the `jidoteki` command; `click.pass_obj` hands them the appliance."""

    @hookspec
    def jidoteki_init(self, appliance: Appliance, vendor: Path) -> None:
        """Called by `jidoteki init`: add to a new appliance root what makes this plugin work out of the box.

        `vendor` is the directory for what only the vendor keeps, such as signing keys.
        """

    @hookspec
    def jidoteki_check(
        self, appliance: Appliance, config: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> list[Finding] | None:
        """Return what is wrong with this plugin's part of the appliance; changes nothing. For `jidoteki check`.

        `settings` is the whole configuration of the host, with its defaults.
        """

    @hookspec
    def jidoteki_startup(self, appliance: Appliance, config: Mapping[str, Any]) -> Awaitable[None] | None:
        """Called once before the first request is accepted; may be `async def`."""

    @hookspec
    def jidoteki_services(self, appliance: Appliance, config: Mapping[str, Any]) -> list[tuple[str, bool]] | None:
        """Return `(name, running)` of services to add to `GET /services`; called in a thread."""

    @hookspec
    def jidoteki_health(self, appliance: Appliance, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return figures to show in `GET /health` under the plugin's name; called in a thread at each refresh."""

    @hookspec
    def jidoteki_metrics(self, appliance: Appliance, config: Mapping[str, Any]) -> list[Metric] | None:
        """Return figures for `GET /metrics`; called in a thread when that is asked for, at most once a second."""

    @hookspec(firstresult=True)
    def jidoteki_apply(self, job: Job, name: str, document: dict[str, Any], config: Mapping[str, Any]) -> bool | None:
        """Put new settings (`name`: network, storage, …) into force in place of the built-in command.

        Called in the job's process. The first plugin that returns True has done it; one that cannot raises JobFailed.
        """

    @hookspec
    def jidoteki_event(self, event: Event, config: Mapping[str, Any]) -> None:
        """Told of every audit line and every job's start and end; called in a thread, after the fact."""

    @hookspec
    def jidoteki_shutdown(self, appliance: Appliance, config: Mapping[str, Any]) -> Awaitable[None] | None:
        """Called once after the last request was answered; may be `async def`."""
