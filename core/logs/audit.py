"""The audit log: who did what, from where, with which outcome. A change that cannot be audited is refused.

Events that anybody can cause without limit, such as failed guesses, are counted: they must not displace changes.

Lines are CSV as in the original: `seconds.nanoseconds,id,location,user,action,"target"`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from jidoteki.core.addresses import network_of
from jidoteki.core.files import leftovers
from jidoteki.core.logs.audit_sums import STRANGER, Line, Often
from jidoteki.hookspecs import Event
from jidoteki.hookspecs.audit_log import KEEP
from jidoteki.hookspecs.free_space import FULL

logger = logging.getLogger(__name__)

#: Location and user of each line of the original.
ORIGINAL = ("web", "admin")
MAX_SIZE = 8 * 1024 * 1024


class AuditUnavailableError(Exception):
    """A failure to write the audit log, so nothing may be changed."""


class AuditLog:
    """An audit log file, which is rotated at 8 MiB, keeping four older ones.

    :param notify: called with each line after it was written.
    :param group: returns the group that may read a new file.
    :param make_room: called if the disk is too full for the line before a change; returns whether to try again.
    """

    def __init__(
        self,
        path: Path,
        notify: Callable[[Event], None] | None = None,
        group: Callable[[], int | None] = lambda: None,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self.path = path
        self._make_room = make_room
        self._group = group
        self._notify = notify
        self._lock = threading.Lock()
        self._often = Often()

    def write(
        self, id: str, client: str, user: str, action: str, target: str, durable: bool = False, count: int = 1
    ) -> None:
        """Append one line; call it in a thread.

        :param durable: whether the line must survive a power cut.
        :param count: how often it happened; plugins do not receive a line with 0, which duplicates another one.
        :raises AuditUnavailableError: the line was not written.
        """
        now = time.time_ns()
        fields = (f"{now // 10**9}.{now % 10**9:09d}", *map(_plain, (id, client, user, action)), _quoted(target))
        with self._lock:
            try:
                self._append_or_make_room((",".join(fields) + "\n").encode(), durable)
            except OSError as error:
                logger.error("The audit log %s cannot be written: %s", self.path, error)
                raise AuditUnavailableError(str(error)) from error
        if self._notify and count:
            self._notify(Event("audit", now / 1e9, action, target, client, user, id, count))

    @asynccontextmanager
    async def change(self, id: str, client: str, user: str, target: str) -> AsyncIterator[list[str]]:
        """Write a line before a change that is made in a `with` block, and one after it, with what the block adds.

        :raises AuditUnavailableError: the first one was not written, so nothing may be done.
        """
        await asyncio.to_thread(self.write, id, client, user, "request.begun", target, True)
        outcome: list[str] = []
        try:
            yield outcome
        finally:
            with suppress(AuditUnavailableError):
                await asyncio.to_thread(self.write, id, client, user, "request.done", " ".join([target, *outcome]))

    def note(self, client: str, user: str, action: str, target: str, original: tuple[str, str] | None = None) -> None:
        """Audit an event that anybody can cause at will: the first at once, the number of others after a minute.

        Call it in a thread.

        :param original: action and target of the original API's line, written as often as this one.
        :raises AuditUnavailableError: it is not written.
        """
        told = (original[0] if original else "") if user == STRANGER else target
        lines = self._often.note(action, (network_of(client), user, told), client, target)
        self._write_all(lines)
        if original and any(line.client == client for line in lines):
            self.write_original(*original)

    def write_original(self, action: str, target: str) -> None:
        """Append a line in the style of the original API, which names neither clients nor users.

        :raises AuditUnavailableError: it is not written.
        """
        self.write(secrets.token_hex(8), *ORIGINAL, action, target, count=0)

    def tell(self, at_once: bool = False) -> None:
        """Write the counts of minutes that are over; call it in a thread, periodically.

        :param at_once: include the current minute, as the service ends.
        :raises AuditUnavailableError: they are not written.
        """
        self._write_all(self._often.tell(at_once))

    def _write_all(self, lines: list[Line]) -> None:
        for each in lines:
            self.write("-", each.client, each.user, each.action, each.target, count=each.count)

    def _append_or_make_room(self, line: bytes, durable: bool) -> None:
        try:
            self._append(line, durable)
        except OSError as error:
            if not durable or error.errno not in FULL or not self._make_room():
                raise
            self._append(line, durable)

    def _append(self, line: bytes, durable: bool) -> None:
        self._rotate(len(line))
        descriptor = leftovers.append_own(self.path, group=self._group())
        try:
            size = os.fstat(descriptor).st_size
            written = os.write(descriptor, line)
            if written != len(line):
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, "the disk is full")
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _rotate(self, more: int) -> None:
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
            except OSError as error:  # an obstacle to rotation must not keep the log from being written
                logger.error("%s cannot be turned over: %s", newer, error.strerror or error)


def _escaped(text: str) -> str:
    return "".join(c if 32 <= ord(c) < 127 else c.encode("unicode_escape").decode() for c in text[:1024])


def _plain(text: str) -> str:
    return _escaped(text).replace(",", ";").replace('"', "'")


def _quoted(text: str) -> str:
    return '"' + _escaped(text).replace('"', '""') + '"'
