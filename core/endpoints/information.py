"""Information about the appliance: version, changelog, build, health, and the list of endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jidoteki.core.files import CachedFile
from jidoteki.core.http.responses import encode
from jidoteki.core.service.health import figures_of
from jidoteki.core.service.requests import own
from jidoteki.hookspecs import (
    PREFIX,
    ApiError,
    Appliance,
    Described,
    EncodedJson,
    Endpoint,
    Request,
    Response,
    TextFile,
    hookimpl,
    strict_json,
)

DESCRIBED = {
    "version": Described(
        "The version",
        {"type": "object", "required": ["version"], "properties": {"version": {"type": "string", "minLength": 1}}},
        ({"version": "1.0.0"},),
    ),
    "build": Described("The build", {"description": "What the vendor put there"}, ({"builddate": "123456789"},)),
    "health": Described(
        "The health",
        {"description": "Disk, memory, CPU, and what plugins and the vendor's own collector add"},
        (
            {
                "disk": {"used": "3.4G", "total": "234G", "percentage": 2},
                "memory": {"used": "260M", "total": "1000M", "percentage": 26},
                "cpu": {"num": 1, "load": "0.66, 0.28, 0.14", "cpu5min": 0},
            },
        ),
    ),
}
#: The changes that were put back, as nobody confirmed them or they failed, until a later one of the kind succeeds.
REVERTED = "reverted"
CHANGELOG = "# Changelog\n\n## 1.0.9 (2015-08-21)\n\n* Update app to version 2.1.2\n* Update system packages\n"
ENDPOINTS = Described(
    "The endpoints",
    {
        "type": "object",
        "required": ["endpoints"],
        "properties": {"endpoints": {"type": "array", "items": {"type": "string", "pattern": "^/"}}},
    },
    ({"endpoints": ["/api/v1/admin/build", "/api/v1/admin/version", "/docs"]},),
)


def version(content: bytes) -> bytes | None:
    """Return the body for a version file, which is its first line; None if that is empty."""
    text = content.decode("utf-8", "replace").partition("\n")[0].strip()
    return encode({"version": text}) if text else None


def json_object(content: bytes) -> bytes | None:
    """Return the body for a JSON file; None if it is not valid JSON."""
    try:
        value: Any = strict_json.loads(content)
    except (ValueError, RecursionError):
        return None
    return encode(value)


class SmallFile:
    """An endpoint that returns a small file, parsed once for each version of it."""

    def __init__(self, path: Path, parse: Callable[[bytes], bytes | None]) -> None:
        self._name = path.name
        self._file = CachedFile(path, parse)

    async def show(self, request: Request) -> Response:
        """Return the body, or 404."""
        try:
            body = self._file.get()
        except OSError:
            body = None
        if body is None:
            raise ApiError(404, f"There is no {self._name}, or nothing in it that can be shown")
        return EncodedJson(body)


class Health(SmallFile):
    """The health endpoint: the figures in `health.json`, or those in memory if the file cannot be written."""

    async def show(self, request: Request) -> Response:
        """Return the body; 404 if another collector is to write the file and has not."""
        service = own(request).service
        shown = await self._figures(request)
        if not service.put_back:
            return shown
        figures = strict_json.loads(shown.content) if isinstance(shown, EncodedJson) else shown
        return {**figures, REVERTED: list(service.put_back.values())} if isinstance(figures, dict) else shown

    async def _figures(self, request: Request) -> Response:
        service = own(request).service
        if service.unwritten_health is not None:
            return service.unwritten_health
        try:
            return await super().show(request)
        except ApiError:
            if not service.generation.config.values["health"]["refresh"]:
                raise
        return await asyncio.to_thread(figures_of, service)


async def changelog(request: Request) -> Response:
    """Return the changelog of the last update."""
    return TextFile(request.appliance.etc / "changelog.txt")


async def endpoints(request: Request) -> Response:
    """Return the endpoints of this appliance, first level only."""
    listed = own(request).service.generation.routes.listed()
    return {"endpoints": sorted([*(PREFIX + each for each in listed), "/docs"])}


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    missing = {404: "There is none"}
    log = Described("The changelog", examples=(CHANGELOG,), media="text/plain")
    small = {
        "version": SmallFile(appliance.etc / "version.txt", version),
        "build": SmallFile(appliance.system_etc / "build.json", json_object),
        "health": Health(appliance.etc / "health.json", json_object),
    }
    shown = [
        Endpoint(
            "GET", f"/{name}", file.show, responses={200: DESCRIBED[name], **missing}, summary=f"The system's {name}"
        )
        for name, file in small.items()
    ]
    return [
        *shown,
        Endpoint("GET", "/changelog", changelog, responses={200: log, **missing}, summary="The system's changelog"),
        Endpoint(
            "GET", "/endpoints", endpoints, responses={200: ENDPOINTS}, summary="Which endpoints this appliance has"
        ),
    ]
