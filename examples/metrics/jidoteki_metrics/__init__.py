"""`GET /metrics` shows Prometheus what the service answered, how its jobs went and how the appliance feels."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from jidoteki.hookspecs import Appliance, Endpoint, Event, Request, Response, TextResponse, hookimpl
from jidoteki_metrics.figures import Answered, Health
from jidoteki_metrics.happenings import Happenings

JIDOTEKI_CONTRACT = "1.0"

happenings = Happenings()


@hookimpl
def jidoteki_event(event: Event) -> None:
    """Count jobs and refused authentications."""
    happenings.count(event)


async def metrics(request: Request) -> Response:
    """Answer in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Answered(request.answered))
    registry.register(Health(await asyncio.to_thread(_health, request.appliance)))
    own, lasting = generate_latest(registry), generate_latest(happenings.registry)
    return TextResponse((own + lasting).decode(), CONTENT_TYPE_LATEST)


def _health(appliance: Appliance) -> object:
    return appliance.read_json(appliance.etc / "health.json")


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    """The one endpoint."""
    return [Endpoint("GET", "/metrics", metrics, summary="Requests, jobs and health for Prometheus")]
