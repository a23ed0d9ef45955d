"""What the appliance is: version, changelog, build, health, and which endpoints it has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jidoteki.core.files import CachedFile
from jidoteki.core.health import figures_of
from jidoteki.core.requests import own
from jidoteki.core.responses import PREFIX, encode
from jidoteki.hookspecs import ApiError, Appliance, Endpoint, PlainText, Request, Response, hookimpl


def version(content: bytes) -> bytes | None:
    """The body for a version file; None when it is empty."""
    text = content.decode("utf-8", "replace").strip()
    return encode({"version": text}) if text else None


def json_object(content: bytes) -> bytes | None:
    """The body for a JSON file; None when it is none."""
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return encode(value)


class SmallFile:
    """Answers with a small file, parsed once for each version of it."""

    def __init__(self, path: Path, parse: Callable[[bytes], bytes | None]) -> None:
        self._file = CachedFile(path, parse)

    async def show(self, request: Request) -> Response:
        """The body, or 404."""
        try:
            body = self._file.get()
        except OSError:
            body = None
        if body is None:
            raise ApiError(404)
        return body


class Health(SmallFile):
    """Answers with the figures in `health.json`, or those that a full disk kept from being written there."""

    async def show(self, request: Request) -> Response:
        """The body; 404 where another collector is to write the file and has not."""
        service = own(request).service
        if service.unwritten_health is not None:
            return service.unwritten_health
        try:
            return await super().show(request)
        except ApiError:
            if not service.config.settings["health"]["refresh"]:
                raise
        return await asyncio.to_thread(figures_of, service)


async def changelog(request: Request) -> Response:
    """What changed in the last update."""
    return PlainText(request.appliance.etc / "changelog.txt")


async def endpoints(request: Request) -> Response:
    """The endpoints of this appliance, first level only."""
    served = own(request).service.routes.first_levels()
    return {"endpoints": sorted([*(PREFIX + each for each in served), "/docs"])}


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    missing = {404: "There is none"}
    small = {
        "version": SmallFile(appliance.etc / "version.txt", version),
        "build": SmallFile(appliance.system_etc / "build.json", json_object),
        "health": Health(appliance.etc / "health.json", json_object),
    }
    shown = [
        Endpoint("GET", f"/{name}", file.show, {}, {200: f"The {name}", **missing}, f"The system's {name}")
        for name, file in small.items()
    ]
    return [
        *shown,
        Endpoint("GET", "/changelog", changelog, {}, {200: "The changelog", **missing}, "The system's changelog"),
        Endpoint("GET", "/endpoints", endpoints, {}, {200: "The endpoints"}, "Which endpoints this appliance has"),
    ]
