"""Examples and schemas of the responses of `/jobs`."""

from __future__ import annotations

from typing import Any

from jidoteki.hookspecs import Described, differences

RUNNING: dict[str, Any] = {
    "id": "000042-update",
    "type": "update",
    "status": "running",
    "percentage": 40,
    "started": 1432140922,
    "finished": None,
    "user": "admin",
    "client": "192.168.1.7",
    "cancellable": True,
}
FAILED: dict[str, Any] = {
    "id": "000041-settings",
    "type": "settings",
    "status": "failed",
    "percentage": 50,
    "started": 1432140722,
    "finished": 1432140725,
    "user": "admin",
    "client": "192.168.1.7",
    "cancellable": False,
    "error-message": "network.sh failed with exit status 1",
    "error-code": "E1000",
}
_SECONDS = {"type": "integer", "description": "Seconds since the epoch"}
_PROPERTIES: dict[str, Any] = {
    "id": {"type": "string"},
    "type": {"type": "string"},
    "status": {"enum": ["running", "success", "failed", "cancelled"]},
    "percentage": {"type": "integer", "minimum": 0, "maximum": 100},
    "started": _SECONDS,
    "finished": {**_SECONDS, "type": ["integer", "null"]},
    "user": {"type": "string", "description": "Whose token started it"},
    "client": {"type": "string", "description": "The address that the request came from"},
    "cancellable": {"type": "boolean", "description": "Whether POST /jobs/ID/cancel ends it now"},
    "restarting": {
        "type": "string",
        "description": "There while the job waits for the appliance to restart: a sentence that says why",
    },
    "error-message": {"type": ["string", "null"]},
    "error-code": {"type": ["string", "null"]},
}
_JOB: dict[str, Any] = {"type": "object", "required": list(RUNNING), "properties": _PROPERTIES}

LISTED = Described(
    "The jobs; `next` is what the parameter `before` of the next page is, null where nothing follows",
    {
        "type": "object",
        "required": ["jobs", "next"],
        "properties": {"jobs": {"type": "array", "items": _JOB}, "next": {"type": ["string", "null"]}},
    },
    ({"jobs": [RUNNING, FAILED], "next": "000041-settings"},),
)
SHOWN = Described(
    "The job, and the last ten lines that it wrote; null where there are none",
    {**_JOB, "required": [*RUNNING, "log"], "properties": {**_PROPERTIES, "log": {"type": ["string", "null"]}}},
    ({**RUNNING, "log": "[1432140922][SYSTEM] Updating system. Please wait.."},),
)
CANCELLED = Described(
    "The job as it ended",
    {**_JOB, "properties": {**_PROPERTIES, "changes": differences.SCHEMA}},
    ({**RUNNING, "status": "cancelled", "finished": 1432140950, "cancellable": False},),
)
LOG = Described("The log", examples=("[1432140922][SYSTEM] Updating system. Please wait..\n",), media="text/plain")
