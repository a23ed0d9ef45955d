"""Which clients may resume a download with a range request, so that parts of different files are never combined.

`curl -C -` and `wget -c` ask for the rest by Range alone, without If-Range, and do not check that it belongs to the
file that they began. So the service remembers for an hour which files it sent to whom, and allows no range if there
were several. For a file that changes rarely, such as a backup, this includes all addresses and survives a restart.
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
"""The maximum number of remembered pairs of client and file."""
MOST_TAGS = 8
MAX_SIZE = 256 * 1024
#: Seconds after which the record of a download in progress is saved again.
WRITE_INTERVAL = 60.0
ANYWHERE = "*"
"""In place of an address: the file is remembered for all addresses, and through a restart."""

Key = tuple[str, str, str]
"""Address, user and name of the file."""

#: One range of bytes; https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2.
_RANGE = re.compile(r"(?a:(\d{0,100})-(\d{0,100}))")


def tag(status: os.stat_result) -> str:
    """Return the strong entity tag of a file as aiohttp makes it, without quotes."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


@dataclass(slots=True)
class _Sent:
    tags: dict[str, float] = field(default_factory=dict)
    """The monotonic time in seconds at which each was last sent."""
    kept: float = -HOUR
    """The monotonic time at which they were last saved."""


class SentFiles:
    """The files that were sent to each client in the last hour.

    :param path: the file that saves those sent to `ANYWHERE`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sent: OrderedDict[Key, _Sent] = OrderedDict()
        #: The monotonic time since which the record of `ANYWHERE` is complete.
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
        """Record that a file is being sent or was sent; return whether the record must be saved by `keep`."""
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
        """Return the document to save, with times by the wall clock."""
        ago = time.time() - time.monotonic()
        kept = [(key, {tag: sent + ago for tag, sent in self._recent(key).items()}) for key in self._sent]
        sent = [[user, name, tags] for (address, user, name), tags in kept if address == ANYWHERE]
        return {"since": self._since + ago, "sent": sent}

    def keep(self, document: Mapping[str, Any]) -> None:
        """Save the document, in a thread; if that fails, remove the file, which would be incomplete."""
        try:
            files.replace_file(self._path, json.dumps(document).encode(), 0o600)
        except OSError as error:
            logger.error("%s cannot be written: %s", self._path, error.strerror or error)
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def may_resume(self, key: Key, status: os.stat_result) -> bool:
        """Return whether a client without If-Range can only have begun this file in the last hour."""
        recent = self._recent(key)
        if recent or key[0] != ANYWHERE:
            return set(recent) == {tag(status)}
        return time.monotonic() - self._since >= HOUR or time.time() - status.st_ctime >= HOUR

    def is_only(self, key: Key, status: os.stat_result, second: int) -> bool:
        """Return whether no other file with a Last-Modified of this second was sent."""
        others = set(self._recent(key)) - {tag(status)}
        return not any(_second(int(other.partition("-")[0], 16)) == second for other in others)

    def _recent(self, key: Key) -> dict[str, float]:
        sent = self._sent.get(key)
        now = time.monotonic()
        return {tag: last for tag, last in sent.tags.items() if now - last < HOUR} if sent else {}


@dataclass(frozen=True, slots=True)
class Resuming:
    """The record of sent files for one request's client and file.

    :param headers: those of the request.
    :param generated: whether each request creates a new file.
    """

    sent: SentFiles
    key: Key
    headers: Mapping[str, str]
    generated: bool

    def allowed(self, status: os.stat_result) -> bool:
        """Return whether the client may be sent a part of this file (RFC 9110, sections 13.1.5 and 14.2)."""
        if_range = self.headers.get("If-Range")
        if if_range is None:
            # The first part is not appended to anything.
            return self._is_beginning or self.sent.may_resume(self.key, status)
        if not names(if_range, status):
            return False
        # Two files may be created within one second, which is the precision of a date.
        return if_range.startswith('"') or (
            not self.generated and self.sent.is_only(self.key, status, _second(status.st_mtime_ns))
        )

    def wanted(self, status: os.stat_result) -> bool:
        """Return whether the client asks for the rest of this very file."""
        return byte_range(self.headers) is not None and not self._is_beginning and self.allowed(status)

    @property
    def _is_beginning(self) -> bool:
        found = byte_range(self.headers)
        return found is not None and found[0] == 0

    def note(self, status: os.stat_result) -> bool:
        """Record that the client is being sent this file or was; return whether the record must be saved."""
        return self.sent.note(self.key, tag(status))


def byte_range(headers: Mapping[str, str]) -> tuple[int | None, int | None] | None:
    """Return the first and last byte that a request asks for, with None for an open end.

    :return: None if the whole file is to be sent: for several ranges, other units and invalid ones (RFC 9110, section
        14.2).
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
    """Return whether a file of this size has any byte of a range."""
    first, last = found
    return first < size if first is not None else bool(last and size)


def names(if_range: str, status: os.stat_result) -> bool:
    """Return whether an If-Range matches this version of a file, by its ETag or the Last-Modified that was sent."""
    if if_range.startswith('"'):
        return if_range == f'"{tag(status)}"'
    try:
        return int(parsedate_to_datetime(if_range).timestamp()) == _second(status.st_mtime_ns)
    except (ValueError, OverflowError):
        return False


def _second(nanoseconds: int) -> int:
    """Return the second that aiohttp's Last-Modified shows, which is rounded up."""
    return math.ceil(nanoseconds / 1e9)
