"""A section with one required and one optional key: `"plugins": {"NAME": {"colour": "red"}}`."""

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Endpoint, Request, Response, hookimpl


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    return vol.Schema({vol.Required("colour"): vol.In(["red", "green"]), vol.Optional("depth", default=3): int})


async def lamp(request: Request) -> Response:
    return {"colour": request.config["colour"], "depth": request.config["depth"]}


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [Endpoint("GET", "/lamp", lamp)]
