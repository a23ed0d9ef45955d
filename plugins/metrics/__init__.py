"""`GET /metrics`: metrics of requests, jobs, health and plugins for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from jidoteki.hookspecs import Appliance, Described, Endpoint, Metric, Request, Response, TextResponse, hookimpl

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
EXAMPLE = """# HELP jidoteki_requests_total Answered requests by method and status.
# TYPE jidoteki_requests_total counter
jidoteki_requests_total{method="GET",status="200"} 17.0
"""


async def show(request: Request) -> Response:
    """Return the metrics in the text format of Prometheus."""
    return TextResponse(await asyncio.to_thread(_text, await request.metrics()), CONTENT_TYPE)


def _text(metrics: Sequence[Metric]) -> str:
    from jidoteki.plugins.metrics import exposition  # the library is loaded on the first request

    return exposition.text(metrics)


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    shown = Described("The metrics", examples=(EXAMPLE,), media="text/plain")
    return [Endpoint("GET", "/metrics", show, responses={200: shown}, summary="Metrics for Prometheus")]
