"""What goes on in the running service: events that plugins publish and hear of, for as long as nobody stores them."""

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
"""The name of the event that says that some were lost, for more waited than there is room for."""

_NAME: Final = re.compile(r"[a-z][a-z0-9.-]{0,63}")


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """Something that has just happened.

    The host publishes `job` (the start of a run, each change of its percentage, its end: data as `GET /jobs` shows it),
    `log` (`{"job", "offset", "end", "text"}`: what a run wrote, and which bytes of its log that are)
    and `audit` (`{"time", "id", "client", "user", "action", "target", "count"}`). Begin the names of your own with your
    plugin's.

    :param name: lower-case letters, digits, `.` and `-`.
    :param data: a JSON object.
    :param path: the endpoint that shows the same, such as `/jobs`: only who may GET that is told of the event.
    :raises ValueError: the name is none, or the data are no JSON of at most 64 KiB.
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
    """The running service, for what a plugin does beside answering requests."""

    def publish(self, event: LiveEvent) -> None:
        """Tell an event to all who subscribed; from any thread, and without waiting. Who comes later is not told."""

    def subscribe(self, listener: Callable[[LiveEvent], None]) -> Callable[[], None]:
        """Have each event told to a function, in the event loop and in order, and return what ends that.

        It must return at once. One that raises is told of no more. While more than 4,096 events wait, newer ones are
        lost, and an event `lost` says so.
        """

    async def fetch(self, path: str) -> Any:
        """Return the JSON value that `GET path` answers, whoever asks.

        :param path: without the prefix and without a query.
        :raises ApiError: the endpoint answers an error, or is not served.
        """
