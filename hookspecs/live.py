"""Live events of the running service, which plugins publish and subscribe to; they are not stored."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

MAX_EVENT: Final = 64 * 1024
"""Bytes of an event's data as JSON."""

LOST: Final = "lost"
"""The name of the event that reports the loss of others, because too many were queued."""

_NAME: Final = re.compile(r"[a-z][a-z0-9.-]{0,63}")


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """An event that has just happened.

    The host publishes `job` (a run's start, each change of its percentage, its end: data as in `GET /jobs`), `log`
    (`{"job", "offset", "end", "text"}`: new output of a run, and the bytes of its log that it takes up) and `audit`
    (`{"time", "id", "client", "user", "action", "target", "count"}`). Begin the names of other events with the plugin's
    name.

    :param name: lower-case letters, digits, `.` and `-`.
    :param data: a JSON object.
    :param path: the endpoint that shows the same, such as `/jobs`: a client must be authorized to GET it to receive the
        event.
    :raises ValueError: the name is invalid, or the data are not JSON of at most 64 KiB.
    """

    name: str
    data: Mapping[str, Any]
    path: str
    time: float = field(default_factory=time.time)
    """Seconds since the epoch."""
    encoded: str = field(init=False, repr=False, compare=False)
    """The data as JSON, in one line."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of an event, such as backup.verified")
        try:
            text = json.dumps(dict(self.data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        except (TypeError, RecursionError) as error:
            raise ValueError(f"The data of {self.name} are no JSON: {error}") from error
        if len(text) > MAX_EVENT:
            raise ValueError(f"The data of {self.name} have more than {MAX_EVENT} bytes as JSON")
        object.__setattr__(self, "encoded", text)


class Service(Protocol):
    """The running service, for plugins that do more than handle requests."""

    def publish(self, event: LiveEvent) -> None:
        """Deliver an event to all current subscribers; from any thread, without blocking."""

    def subscribe(self, listener: Callable[[LiveEvent], None]) -> Callable[[], None]:
        """Subscribe a function to all events and return a function that unsubscribes it.

        It is called in the event loop, in order, and must return at once; if it raises an exception, it is
        unsubscribed. While more than 4,096 events are queued, new ones are lost, which an event `lost` reports.
        """

    async def fetch(self, path: str) -> Any:
        """Return the JSON value that `GET path` returns, with all rights.

        :param path: without the prefix and without a query.
        :raises ApiError: the endpoint returns an error, or is not served.
        """
