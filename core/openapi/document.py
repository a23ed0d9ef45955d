"""The whole document, generated from the active routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jidoteki.core.http.routes import Routes, first_level
from jidoteki.core.openapi import components, operations, patterns, security
from jidoteki.hookspecs import PREFIX

OPENAPI = "3.1.0"
#: The version of the API on the wire, which is that of the reference; never that of the software.
API_VERSION = "1.24.0"

INTRODUCTION = """\
Administers an appliance: set up, update, configure, back up, diagnose, reboot. This document describes what **this**
appliance serves.

What takes time answers 202 with the header `Job-Id`, and goes on in the background as a *job*: poll `/jobs/ID` until
`status` is no longer `running`, or, where it shows a `status`, what `Location` names.

With `dry-run=1` in the query, a request that changes something is checked and answered as for real, and nothing is
changed.
"""


SCREENS: Final = "x-jidoteki-screens"


def describe(routes: Routes, screens: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of an appliance, with exactly its active endpoints, third parties' included.

    https://spec.openapis.org/oas/v3.1.0

    :param screens: those of plugins, for the dashboard.
    """
    paths: dict[str, Any] = {}
    for route in sorted(routes.all(), key=lambda each: each.path):
        operation = operations.describe(routes, route)
        item = paths.setdefault(PREFIX + route.path, {})
        item[route.endpoint.method.lower()] = operation
        if route.endpoint.method == "GET":
            item["head"] = operations.describe_head(operation)
    document: dict[str, Any] = {
        "openapi": OPENAPI,
        "info": {"title": "Jidoteki Admin API", "version": API_VERSION, "description": INTRODUCTION},
        "servers": [{"url": "/", "description": "This appliance"}],
        "security": security.requirements(routes.authentication),
        "tags": [{"name": name} for name in _tags(routes)],
        "paths": {**paths, **_own_paths()},
        "components": {
            "schemas": components.SCHEMAS,
            "headers": components.HEADERS,
            "parameters": {
                "dry-run": operations.DRY_RUN,
                "confirm": operations.CONFIRM,
                "idempotency-key": operations.IDEMPOTENCY_KEY,
                "prefer": operations.PREFER,
            },
            "responses": components.RESPONSES,
            "securitySchemes": security.schemes(routes.authentication),
        },
    }
    described: dict[str, Any] = patterns.in_document(document)
    if screens:
        described[SCREENS] = list(screens)
    return described


def _tags(routes: Routes) -> list[str]:
    served = {first_level(route.path)[1:] for route in routes.all()}
    return sorted({*served, "docs"})


def _own_paths() -> dict[str, Any]:
    """Return the paths of the pages that describe the API, which need no credential."""
    return {
        "/docs": _page("getDocs", "The manual and an interactive reference, for people", "text/html", {}),
        "/docs/openapi.json": _page("getDocument", "This document", "application/json", {"schema": {"type": "object"}}),
    }


def _page(identity: str, summary: str, media: str, body: dict[str, Any]) -> dict[str, Any]:
    get = {
        "operationId": identity,
        "summary": summary,
        "tags": ["docs"],
        "security": [],
        "responses": {
            "200": {"description": summary, "content": {media: body}},
            **{str(status): components.shared_error(status) for status in (417, 500)},
        },
    }
    return {"get": get, "head": operations.describe_head(get)}
