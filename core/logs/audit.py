"""The audit log: who did what, from where, with which outcome. What cannot be written there is not done.

What anybody can cause without limit, such as failed guesses, is summed up: it must not push out what was changed.

Lines are CSV as in the original: `seconds.nanoseconds,id,location,user,action,"target"`.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from jidoteki.core.addresses import network_of
from jidoteki.core.files import leftovers
from jidoteki.core.logs.audit_sums import STRANGER, Line, Often
from jidoteki.hookspecs import Event
from jidoteki.hookspecs.audit_log import KEEP

logger = logging.getLogger(__name__)

#: Location and user of each line of the original.
ORIGINAL = ("web", "admin")
MAX_SIZE = 8 * 1024 * 1024


class AuditUnavailable(Exception):
    """The audit log cannot be written, so nothing may be changed."""


class AuditLog:
    """Appends lines to one file, and turns it over at 8 MiB, keeping four older ones.

    :param notify: told of each line after it was written.
    :param group: says which group may read a new file.
    """

    def __init__(
        self,
        path: Path,
        notify: Callable[[Event], None] | None = None,
        group: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.path = path
        self._group = group
        self._notify = notify
        self._lock = threading.Lock()
        self._often = Often()

    def write(
        self, id: str, client: str, user: str, action: str, target: str, durable: bool = False, count: int = 1
    ) -> None:
        """Append one line; call it in a thread.

        :param durable: whether the line must survive a power cut.
        :param count: how often it happened; plugins are not told of a line with 0, which says the same once more.
        :raises AuditUnavailable: nothing, or part of a line, was written.
        """
        now = time.time_ns()
        fields = (f"{now // 10**9}.{now % 10**9:09d}", *map(_plain, (id, client, user, action)), _quoted(target))
        with self._lock:
            try:
                self._append((",".join(fields) + "\n").encode(), durable)
            except OSError as error:
                logger.error("The audit log %s cannot be written: %s", self.path, error)
                raise AuditUnavailable(str(error)) from error
        if self._notify and count:
            self._notify(Event("audit", now / 1e9, action, target, client, user, id, count))

    def note(self, client: str, user: str, action: str, target: str, original: tuple[str, str] | None = None) -> None:
        """Write what anybody can make happen as often as they like: once, and how often more at the end of the minute.

        Call it in a thread.

        :param original: what the original API says of it, written as often as this.
        :raises AuditUnavailable: it is not written.
        """
        told = (original[0] if original else "") if user == STRANGER else target
        lines = self._often.note(action, (network_of(client), user, told), client, target)
        self._write_all(lines)
        if original and any(line.client == client for line in lines):
            self.write_original(*original)

    def write_original(self, action: str, target: str) -> None:
        """Write a line as the original API does, which names neither clients nor users.

        :raises AuditUnavailable: it is not written.
        """
        self.write(secrets.token_hex(8), *ORIGINAL, action, target, count=0)

    def tell(self, at_once: bool = False) -> None:
        """Write how often the noted things happened in minutes that are over; call it in a thread, now and then.

        :param at_once: in this minute too, for the service ends.
        :raises AuditUnavailable: they are not written.
        """
        self._write_all(self._often.tell(at_once))

    def _write_all(self, lines: list[Line]) -> None:
        for each in lines:
            self.write("-", each.client, each.user, each.action, each.target, count=each.count)

    def _append(self, line: bytes, durable: bool) -> None:
        self._turn_over(len(line))
        descriptor = leftovers.append_own(self.path, group=self._group())
        try:
            size = os.fstat(descriptor).st_size
            written = os.write(descriptor, line)
            if written != len(line):
                os.ftruncate(descriptor, size)
                raise OSError("the disk is full")
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _turn_over(self, more: int) -> None:
        try:
            if self.path.lstat().st_size + more <= MAX_SIZE:
                return
        except FileNotFoundError:
            return
        for number in range(KEEP, 0, -1):
            newer = self.path if number == 1 else self.path.with_name(f"{self.path.name}.{number - 1}")
            try:
                newer.replace(self.path.with_name(f"{self.path.name}.{number}"))
            except FileNotFoundError:
                continue
            except OSError as error:  # what lies in the way of an old log must not keep this one from being written
                logger.error("%s cannot be turned over: %s", newer, error.strerror or error)


def _escaped(text: str) -> str:
    return "".join(c if 32 <= ord(c) < 127 else c.encode("unicode_escape").decode() for c in text[:1024])


def _plain(text: str) -> str:
    return _escaped(text).replace(",", ";").replace('"', "'")


def _quoted(text: str) -> str:
    return '"' + _escaped(text).replace('"', '""') + '"'
