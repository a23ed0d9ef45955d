"""From the host's events to the spools of the destinations."""

from __future__ import annotations

import datetime
import json
import logging
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from jidoteki.hookspecs import Appliance, Event
from jidoteki_forwarder.destinations import syslog, webhook
from jidoteki_forwarder.sender import Sender
from jidoteki_forwarder.spool import Spool

logger = logging.getLogger(__name__)

MAX_EARLY = 1000


class Forwarder:
    """Puts each event into the spool of every destination."""

    def __init__(self) -> None:
        self.senders: dict[str, Sender] = {}
        self._appliance: Appliance | None = None
        self._config: Mapping[str, Any] = {}
        self._early: deque[Event] = deque(maxlen=MAX_EARLY)
        self._stopped = False
        self._lock = threading.Lock()

    def start(self, appliance: Appliance, config: Mapping[str, Any]) -> None:
        """Begin to send, first what waits and what happened before the start."""
        with self._lock:
            self._appliance = appliance
            self._use(appliance, config)
            while self._early:
                self._add(self._early.popleft())

    def forward(self, event: Event, config: Mapping[str, Any]) -> None:
        """Spool an event for every destination that `config` names."""
        with self._lock:
            if self._appliance is None:
                self._early.append(event)
                return
            if config != self._config and not self._stopped:
                self._use(self._appliance, config)
            self._add(event)

    def stop(self) -> None:
        """Stop sending."""
        with self._lock:
            self._stopped = True
            for sender in self.senders.values():
                sender.stop()

    def _use(self, appliance: Appliance, config: Mapping[str, Any]) -> None:
        for sender in self.senders.values():
            sender.stop()
        self._config = config
        directory = appliance.admin / "spool/forwarder"
        self.senders = {
            name: Sender(
                name, Spool(appliance, directory / name, config["max-waiting"]), deliver, config["longest-pause"]
            )
            for name, deliver in _destinations(config).items()
        }
        for sender in self.senders.values():
            sender.start()

    def _add(self, event: Event) -> None:
        entry = json.dumps(document(event)).encode()
        for name, sender in self.senders.items():
            try:
                sender.spool.add(entry)
            except OSError as error:
                logger.error("An event for the %s is lost, because it cannot be written: %s", name, error)
            sender.wake()


def _destinations(config: Mapping[str, Any]) -> dict[str, Callable[[bytes], None]]:
    found = {}
    if "syslog" in config:
        found["syslog"] = syslog(config["syslog"])
    if "webhook" in config:
        found["webhook"] = webhook(config["webhook"], config.get("webhook-token"))
    return found


def document(event: Event) -> dict[str, str]:
    """An event as the webhook gets it; `event-id` tells one that is sent twice."""
    time = datetime.datetime.fromtimestamp(event.time, datetime.UTC)
    return {
        "event-id": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "time": time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "kind": event.kind,
        "action": event.action,
        "target": event.target,
        "client": event.client,
        "user": event.user,
        "id": event.id,
    }
