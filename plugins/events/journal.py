"""The events that are kept through a restart of the service, in `ADMIN/jobs/events.json`.

The file is written once, when the service stops, and emptied durably when it starts: after a kill there are no events,
and a new numbering begins, because it is unknown which events clients have received.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Appliance, paths, strict_json
from jidoteki.plugins.events.ring import MAX_EVENTS, Ring

logger = logging.getLogger(__name__)

FILE: Final = "events.json"
MAX_SIZE: Final = 4 * 1024 * 1024
MAX_KNOWN: Final = 1000
_NUMBER: Final = vol.All(int, vol.Range(min=0, max=10**15))
_TEXTS: Final = vol.All({str: str}, vol.Length(max=MAX_KNOWN))
_KEPT: Final = vol.Schema(
    {
        "boot": vol.All(str, vol.Match("^[0-9a-f]{16}$")),
        "last": _NUMBER,
        "events": vol.All([vol.ExactSequence([str, str, str])], vol.Length(max=MAX_EVENTS)),
        "jobs": vol.All({str: dict}, vol.Length(max=MAX_KNOWN)),
        "logs": vol.All({str: _NUMBER}, vol.Length(max=MAX_KNOWN)),
        "newest": str,
        "shown": _TEXTS,
    },
    required=True,
)


@dataclass(slots=True)
class Known:
    """The events, and the states that they have reported.

    :param jobs: the state of each run that has not ended.
    :param logs: the number of reported bytes of the log of each.
    :param newest: the id of the last reported run; empty if the events are incomplete.
    :param shown: digests of the content of endpoints.
    """

    ring: Ring = field(default_factory=Ring)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    logs: dict[str, int] = field(default_factory=dict)
    newest: str = ""
    shown: dict[str, str] = field(default_factory=dict)


def take(appliance: Appliance) -> Known:
    """Return the state of the previous run, and empty the file durably; blocks."""
    path = appliance.jobs / FILE
    try:
        kept = _parse(paths.read_own(path, MAX_SIZE))
        appliance.replace_file(path, "{}\n", 0o600)
    except FileNotFoundError:
        return Known()
    except (OSError, ValueError, RecursionError, vol.Invalid) as error:
        logger.info("Events are numbered anew: %s", error)
        return Known()
    return kept or Known()


def _parse(content: bytes) -> Known | None:
    """Return the content of the file; None if the service was killed.

    :raises ValueError: it is not JSON.
    :raises voluptuous.Invalid: it is invalid.
    """
    document = strict_json.loads(content)
    if document == {}:
        return None
    kept = _KEPT(document)
    ring = Ring(kept["boot"], kept["last"] - len(kept["events"]))
    for name, path, data in kept["events"]:
        ring.add(name, path, data)
    return Known(ring, kept["jobs"], kept["logs"], kept["newest"], kept["shown"])


def keep(appliance: Appliance, known: Known) -> None:
    """Save the state; blocks."""
    events = [(each.name, each.path, each.data) for each in known.ring.entries()]
    document = {"boot": known.ring.boot, "last": known.ring.last, "events": events, "jobs": known.jobs}
    document |= {"logs": known.logs, "newest": known.newest, "shown": known.shown}
    try:
        appliance.replace_file(appliance.jobs / FILE, json.dumps(document) + "\n", 0o600)
    except OSError as error:
        logger.error("The events cannot be kept, so clients begin anew: %s", error.strerror or error)
