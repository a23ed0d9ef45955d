"""`GET /health/history`: load, memory, disk and network of the last hour, day, week, month or year."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Described, Endpoint, Label, Request, Response, hookimpl, validators
from jidoteki.plugins.history.measuring import Meter
from jidoteki.plugins.history.recorder import Recorder
from jidoteki.plugins.history.series import COLUMNS, FINEST, SERIES
from jidoteki.plugins.history.store import Store

logger = logging.getLogger(__name__)

FILE: Final = "health-history.sqlite3"
DEFAULT: Final = "1d"
_NUMBERS: Final = {"type": "array", "maxItems": 400, "items": {"type": ["number", "null"]}}
SHOWN: Final = Described(
    "A list for each figure, all of the same length; null where nothing is known",
    {
        "type": "object",
        "required": ["range", "step", "columns"],
        "properties": {
            "range": {"enum": list(SERIES)},
            "step": {"type": "integer", "description": "Seconds from one point to the next"},
            "columns": {
                "type": "object",
                "required": ["time", *COLUMNS],
                "properties": {
                    "time": {
                        "type": "array",
                        "maxItems": 400,
                        "items": {
                            "type": "integer",
                            "description": "When a point begins, since the epoch",
                        },
                    },
                    "load": {**_NUMBERS, "description": "Load of one minute"},
                    "memory": {**_NUMBERS, "description": "Percent"},
                    "disk": {**_NUMBERS, "description": "Percent"},
                    "received": {**_NUMBERS, "description": "Bytes a second, of all networks"},
                    "sent": {**_NUMBERS, "description": "Bytes a second, of all networks"},
                },
            },
        },
    },
    (
        {
            "range": "1d",
            "step": 300,
            "columns": {
                "time": [1795812000, 1795812300],
                "load": [0.28, None],
                "memory": [26.1, None],
                "disk": [2.0, None],
                "received": [1520.5, None],
                "sent": [320.0, None],
            },
        },
    ),
)

_recorders: dict[Path, Recorder] = {}
_tasks: dict[Path, asyncio.Task[None]] = {}


def _recorder(appliance: Appliance) -> Recorder:
    """Return the one recorder of an appliance in this process, which is kept through reloads."""
    path = appliance.jobs / FILE
    if path not in _recorders:
        _recorders[path] = Recorder(Store(path), Meter(appliance.root).measure)
    return _recorders[path]


@validators.described({"enum": list(SERIES), "description": f"How far back; {DEFAULT} by default"})
def how_far(value: str) -> str:
    """Accept the name of a series."""
    if value not in SERIES:
        raise vol.Invalid(f"must be one of {', '.join(SERIES)}")
    return value


async def show(request: Request) -> Response:
    """Return one series."""
    name = request.values.get("range", DEFAULT)
    series = SERIES[name]
    columns: dict[str, Any] = await asyncio.to_thread(_recorder(request.appliance).columns, series)
    return {"range": name, "step": series.step, "columns": columns}


async def _record(recorder: Recorder) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        try:
            await asyncio.to_thread(recorder.step)
        except Exception:  # it may succeed next time
            logger.exception("The health cannot be recorded")
        due = max(due + FINEST.step, loop.time())
        await asyncio.sleep(due - loop.time())


@hookimpl
async def jidoteki_startup(appliance: Appliance) -> None:
    """Start recording."""
    path = appliance.jobs / FILE
    if path not in _tasks:
        _tasks[path] = asyncio.create_task(_record(_recorder(appliance)))


@hookimpl
async def jidoteki_shutdown(appliance: Appliance) -> None:
    """Stop recording; unsaved points are dropped, so that restarts do not cause writes."""
    task = _tasks.pop(appliance.jobs / FILE, None)
    if task:
        task.cancel()
    _recorders.pop(appliance.jobs / FILE, None)


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    return [
        Endpoint(
            "GET",
            "/health/history",
            show,
            parameters={vol.Optional("range", description=Label("Range")): how_far},
            responses={200: SHOWN, 400: "There is no such range"},
            summary="Load, memory, disk and network over time",
            enabled_by="history",
        )
    ]
