"""Sends what waits in one spool to one destination, in a thread of its own."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from jidoteki_forwarder.spool import Spool

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
STOPS_WITHIN = 3.0


class Sender:
    """Sends entries in their order; one that cannot be sent is tried again, with longer and longer pauses.

    An entry is removed after it was sent, so a power cut between the two sends it twice.

    :param deliver: sends one entry, or raises OSError or http.client.HTTPException.
    :param longest_pause: seconds between two attempts.
    """

    def __init__(self, name: str, spool: Spool, deliver: Callable[[bytes], None], longest_pause: float) -> None:
        self.spool = spool
        self.reaches = True
        self._name = name
        self._deliver = deliver
        self._longest_pause = longest_pause
        self._ended = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"forwarder-{name}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wake(self) -> None:
        """Tell that there is a new entry."""
        self._news.set()

    def stop(self) -> None:
        """Let the attempt at hand finish, and send no more."""
        self._ended.set()
        self._news.set()
        self._thread.join(STOPS_WITHIN)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            self._news.clear()
            entry = self.spool.oldest()
            if entry is None:
                self._news.wait()
            elif self._send(entry):
                pause = FIRST_PAUSE
            else:
                self._ended.wait(pause)
                pause = min(2 * pause, self._longest_pause)

    def _send(self, entry: Path) -> bool:
        try:
            self._deliver(entry.read_bytes())
        except FileNotFoundError:
            pass  # it made room for newer ones
        except (OSError, http.client.HTTPException) as error:
            if self.reaches:
                logger.error("Nothing can be sent to the %s, so events wait: %s", self._name, error)
            self.reaches = False
            return False
        self.spool.remove(entry)
        if not self.reaches:
            logger.warning("The %s can be reached again", self._name)
        self.reaches = True
        return True
