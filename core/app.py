"""The aiohttp application: one handler for everything, because the routes change with the configuration."""

from __future__ import annotations

from aiohttp import web

from jidoteki.core.pipeline import Pipeline
from jidoteki.core.service import Service

SERVICE: web.AppKey[Service] = web.AppKey("service", Service)


async def _expect_nothing(request: web.Request) -> None:
    """Leave `100 Continue` to the pipeline, which sends it once the request is authenticated."""


def create_app(service: Service) -> web.Application:
    """Return the application that serves one appliance."""
    app = web.Application(client_max_size=0)
    app[SERVICE] = service
    app.router.add_route("*", "/{tail:.*}", Pipeline(service).__call__, expect_handler=_expect_nothing)
    return app
