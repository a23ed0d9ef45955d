"""Which part of a file a client may be sent that has the beginning already: never one of another file.

`curl -C -` and `wget -c` ask for the rest by Range alone, without If-Range, and do not look whether it is of the file
that they began. So the service remembers for an hour what it sent to whom; if that was more than one, none counts. Of a
file that is made rarely, such as a backup, that holds from whatever address somebody asks, and after a restart.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from jidoteki.core import files
from jidoteki.hookspecs import paths

logger = logging.getLogger(__name__)

HOUR = 3600.0
MOST = 256
"""Clients and files that are remembered."""
MOST_TAGS = 8
MAX_SIZE = 256 * 1024
#: Sending that lasts is noted anew as often, in seconds.
WRITE_INTERVAL = 60.0
ANYWHERE = "*"
"""In the place of an address: what is sent from there is remembered for all, and through a restart."""

Key = tuple[str, str, str]
"""Address, user and name of the file."""

#: One range of bytes; https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2.
_RANGE = re.compile(r"(?a:(\d{0,100})-(\d{0,100}))")


def tag(status: os.stat_result) -> str:
    """The strong entity tag of a file, without its quotes, as aiohttp makes it."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


@dataclass(slots=True)
class _Sent:
    tags: dict[str, float] = field(default_factory=dict)
    """When each was sent last, in seconds of the clock that nobody sets."""
    kept: float = -HOUR
    """When they were written last."""


class SentFiles:
    """What was sent to whom in the last hour.

    :param path: where it is kept of what is sent to `ANYWHERE`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sent: OrderedDict[Key, _Sent] = OrderedDict()
        #: Since when everything is remembered that was sent to `ANYWHERE`.
        self._since = time.monotonic()
        try:
            self._load(json.loads(paths.read_own(path, MAX_SIZE)), time.monotonic(), time.time())
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            logger.warning("%s says nothing of what was sent: %s", path, error)
            self._sent.clear()

    def _load(self, document: Any, now: float, clock: float) -> None:
        for user, name, tags in document["sent"]:
            times = {str(tag): now - max(0.0, clock - float(sent)) for tag, sent in tags.items()}
            self._sent[ANYWHERE, str(user), str(name)] = _Sent(times)
        self._since = now - max(0.0, clock - float(document["since"]))

    def note(self, key: Key, tag: str) -> bool:
        """Take note that somebody is sent a file, or was; return whether that is to be kept by `keep`."""
        now = time.monotonic()
        sent = self._sent.setdefault(key, _Sent())
        self._sent.move_to_end(key)
        is_new = tag not in self._recent(key)
        sent.tags = {**self._recent(key), tag: now}
        while len(sent.tags) > MOST_TAGS:
            del sent.tags[next(iter(sent.tags))]
        while len(self._sent) > MOST:
            (address, _, _), _ = self._sent.popitem(last=False)
            if address == ANYWHERE:
                self._since = now
        if key[0] != ANYWHERE or not (is_new or now - sent.kept > WRITE_INTERVAL):
            return False
        sent.kept = now
        return True

    def document(self) -> dict[str, Any]:
        """What is to be kept, with times that hold after a restart."""
        ago = time.time() - time.monotonic()
        kept = [(key, {tag: sent + ago for tag, sent in self._recent(key).items()}) for key in self._sent]
        sent = [[user, name, tags] for (address, user, name), tags in kept if address == ANYWHERE]
        return {"since": self._since + ago, "sent": sent}

    def keep(self, document: Mapping[str, Any]) -> None:
        """Write it, in a thread; what cannot be written must not count as all that was sent."""
        try:
            files.replace_file(self._path, json.dumps(document).encode(), 0o600)
        except OSError as error:
            logger.error("%s cannot be written: %s", self._path, error.strerror or error)
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def may_resume(self, key: Key, status: os.stat_result) -> bool:
        """Whether somebody who does not say which file he began can only have begun this one within the last hour."""
        recent = self._recent(key)
        if recent or key[0] != ANYWHERE:
            return set(recent) == {tag(status)}
        return time.monotonic() - self._since >= HOUR or time.time() - status.st_ctime >= HOUR

    def is_only(self, key: Key, status: os.stat_result, second: int) -> bool:
        """Whether no other file of the same second was sent."""
        others = set(self._recent(key)) - {tag(status)}
        return not any(_second(int(other.partition("-")[0], 16)) == second for other in others)

    def _recent(self, key: Key) -> dict[str, float]:
        sent = self._sent.get(key)
        now = time.monotonic()
        return {tag: last for tag, last in sent.tags.items() if now - last < HOUR} if sent else {}


@dataclass(frozen=True, slots=True)
class Resuming:
    """What is known of one request's client and file.

    :param headers: of the request.
    :param generated: whether each request makes another file.
    """

    sent: SentFiles
    key: Key
    headers: Mapping[str, str]
    generated: bool

    def allowed(self, status: os.stat_result) -> bool:
        """Whether the client may be sent a part of this file (RFC 9110, 13.1.5 and 14.2)."""
        if_range = self.headers.get("If-Range")
        if if_range is None:
            # Nothing is appended to a beginning.
            return self._is_beginning or self.sent.may_resume(self.key, status)
        if not names(if_range, status):
            return False
        # Two files may be made within the second that a date is exact to.
        return if_range.startswith('"') or (
            not self.generated and self.sent.is_only(self.key, status, _second(status.st_mtime_ns))
        )

    def wanted(self, status: os.stat_result) -> bool:
        """Whether the client asks for the rest of this very file."""
        return byte_range(self.headers) is not None and not self._is_beginning and self.allowed(status)

    @property
    def _is_beginning(self) -> bool:
        found = byte_range(self.headers)
        return found is not None and found[0] == 0

    def note(self, status: os.stat_result) -> bool:
        """Take note that the client is sent this file, or was; return whether that is to be kept."""
        return self.sent.note(self.key, tag(status))


def byte_range(headers: Mapping[str, str]) -> tuple[int | None, int | None] | None:
    """The range of bytes that a request asks for: first and last, None for what it leaves open.

    :return: None where no part is to be sent: of several ranges, other units and what is not valid (RFC 9110, 14.2).
    """
    values = [value for name, value in headers.items() if name.lower() == "range"]
    unit, _, listed = ", ".join(values).partition("=")
    ranges = [each.strip(" \t") for each in listed.split(",")]
    found = [_RANGE.fullmatch(each) for each in ranges if each]
    if unit.lower() != "bytes" or len(found) != 1 or found[0] is None:
        return None
    first, last = (int(each) if each else None for each in found[0].groups())
    if (first is None and last is None) or (first is not None and last is not None and last < first):
        return None
    return first, last


def is_satisfiable(found: tuple[int | None, int | None], size: int) -> bool:
    """Whether a file of this size has something of a range."""
    first, last = found
    return first < size if first is not None else bool(last and size)


def names(if_range: str, status: os.stat_result) -> bool:
    """Whether an If-Range names this very version of a file, as exactly as its ETag or Last-Modified was sent."""
    if if_range.startswith('"'):
        return if_range == f'"{tag(status)}"'
    try:
        return int(parsedate_to_datetime(if_range).timestamp()) == _second(status.st_mtime_ns)
    except (ValueError, OverflowError):
        return False


def _second(nanoseconds: int) -> int:
    """The second that aiohttp's Last-Modified shows: the next one."""
    return math.ceil(nanoseconds / 1e9)
