"""The job that an operation starts, for pages that follow it."""

from __future__ import annotations

from typing import Any

from jidoteki.core.http.routes import Route, Routes
from jidoteki.hookspecs import JOB_STATUS, PREFIX, Described

#: An extension of operations: the job that one starts, and where its status is read.
STARTS = "x-starts"
ANY_JOB = f"{PREFIX}/jobs/{{id}}"
"""Where each job is read, with the id that the header `Job-Id` has."""


def described(routes: Routes, route: Route) -> dict[str, Any]:
    """Return the extension of an operation; empty for one that starts no job."""
    name = route.endpoint.starts or route.endpoint.may_start
    job = next((each for each in route.plugin.jobs if each.name == name), None)
    if job is None:
        return {}
    location = f"/{job.name}" if job.location is None else job.location
    return {STARTS: {"job": job.name, "status": PREFIX + location if _shows_status(routes, location) else ANY_JOB}}


def _shows_status(routes: Routes, path: str) -> bool:
    """Return whether a path shows how a job goes, and not what it has changed."""
    shown = (routes.find(path) or {}).get("GET") if path else None
    answer = shown.endpoint.responses.get(200) if isinstance(shown, Route) else None
    if not isinstance(answer, Described) or answer.schema is None:
        return False
    parts = [answer.schema, *answer.schema.get("allOf", ())]
    return JOB_STATUS in parts or any("status" in each.get("properties", {}) for each in parts)
