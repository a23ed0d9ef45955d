"""Which part of a file a client may be sent that has the beginning already: never one of another file.

`curl -C -` and `wget -c` ask for the rest by Range alone, without If-Range, and do not look whether it is of the file
that they began. So the service remembers for an hour what it sent to whom; if that was more than one, none counts.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

HOUR = 3600.0
MOST = 256
"""Clients and files that are remembered."""
MOST_TAGS = 8

#: The last no bytes of a file are no part of it.
_ONE_RANGE = re.compile(r"bytes=\s*(?:[0-9]+-[0-9]*|-0*[1-9][0-9]*)", re.IGNORECASE | re.ASCII)

Key = tuple[str, str, str]
"""Address, user and name of the file."""


def tag(status: os.stat_result) -> str:
    """The strong entity tag of a file, without its quotes, as aiohttp makes it."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


@dataclass(slots=True)
class _Sent:
    last: float
    tags: set[str] = field(default_factory=set)


class SentFiles:
    """What was sent to whom in the last hour."""

    def __init__(self) -> None:
        self._sent: OrderedDict[Key, _Sent] = OrderedDict()
        self._since = time.time()

    def note(self, key: Key, tag: str) -> None:
        """Take note that somebody is sent a file, or was."""
        sent = self._known(key) or _Sent(0)
        sent.last = time.monotonic()
        if len(sent.tags) < MOST_TAGS:
            sent.tags.add(tag)
        self._sent[key] = sent
        self._sent.move_to_end(key)
        while len(self._sent) > MOST:
            self._sent.popitem(last=False)

    def may_resume(self, key: Key, status: os.stat_result, *, anew: bool) -> bool:
        """Whether somebody who does not say which file he began can only have begun this one.

        Who is not known, after a restart or at another address, may have begun what was there before this file.

        :param anew: whether each request makes another file.
        """
        sent = self._known(key)
        if sent:
            return sent.tags == {tag(status)}
        made = max(status.st_mtime, status.st_ctime)
        return not anew and (made < self._since or time.time() - made > HOUR)

    def _known(self, key: Key) -> _Sent | None:
        sent = self._sent.get(key)
        return sent if sent and time.monotonic() - sent.last < HOUR else None


@dataclass(frozen=True, slots=True)
class Resuming:
    """What is known of one request's client and file.

    :param headers: of the request.
    """

    sent: SentFiles
    key: Key
    headers: Mapping[str, str]
    anew: bool

    def allowed(self, status: os.stat_result) -> bool:
        """Whether the client may be sent a part of this file (RFC 9110, 13.1.5 and 14.2).

        A range in another unit than bytes, and more than one of them, count for nothing.
        """
        if not _ONE_RANGE.fullmatch(self.headers.get("Range", "").strip()):
            return False
        if_range = self.headers.get("If-Range")
        if if_range is None and self._is_beginning:
            return True  # nothing is appended to it
        if if_range is None:
            return self.sent.may_resume(self.key, status, anew=self.anew)
        if if_range.startswith('"'):
            return if_range == f'"{tag(status)}"'
        # Two files may be made within the second that a date is exact to. As Last-Modified, it is rounded up.
        return not self.anew and _seconds(if_range) == math.ceil(status.st_mtime)

    def wanted(self, status: os.stat_result) -> bool:
        """Whether the client asks for the rest of this very file."""
        return "Range" in self.headers and not self._is_beginning and self.allowed(status)

    @property
    def _is_beginning(self) -> bool:
        return self.headers.get("Range", "").startswith("bytes=0-")

    def note(self, status: os.stat_result) -> None:
        """Take note that the client is sent this file, or was."""
        self.sent.note(self.key, tag(status))


def _seconds(date: str) -> int | None:
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return None
