"""Live events about a running job, while there are subscribers: its percentage and the lines of its log."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from jidoteki.core.jobs import listing
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.jobs.records import Record
from jidoteki.core.plugin_manager.live import Live
from jidoteki.hookspecs import Event, JobRecord, LiveEvent, paths

logger = logging.getLogger(__name__)

#: Seconds between two polls: at most four events a second report the percentage.
EACH = 0.25
#: Maximum bytes of the log in one event, and in one poll, which skips to the last of them.
MAX_TEXT = 8 * 1024
MAX_LOOK = 4 * MAX_TEXT
#: The path of the API that shows the records of jobs.
JOBS = "/jobs"


def job_event(record: JobRecord) -> LiveEvent:
    """Return the event that describes a run like `GET /jobs/ID`."""
    told = {
        "id": record.id,
        "type": record.type,
        "status": record.status,
        "percentage": record.percentage,
        "started": int(record.started),
        "finished": None if record.ended is None else int(record.ended),
        "user": record.user,
        "client": record.client,
        "cancellable": record.cancellable,
    }
    if record.status == "failed":
        told |= {"error-message": record.error_message, "error-code": record.error_code}
    if record.restarting:
        told["restarting"] = record.restarting
    return LiveEvent("job", told, JOBS)


def plugin_event(action: str, record: Record) -> Event:
    """The event that tells plugins of the start or the end of a run."""
    outcome = record.status if record.error_code is None else f"{record.status} {record.error_code}"
    return Event(
        "job", record.ended or record.started, action, f"{record.type} {outcome}", record.client, record.user,
        record.id, outcome=record.status, code=record.error_code,
        message=record.error_message,
        duration=None if record.ended is None else max(0.0, record.ended - record.started),
    )  # fmt: skip


class Following:
    """A task that follows one run until it ends.

    :param launcher: returns the current one.
    """

    def __init__(self, record: JobRecord, launcher: Callable[[], Launcher], live: Live) -> None:
        self._id = record.id
        self._told = _changing(record)
        self._launcher, self._live = launcher, live
        self._offset = 0
        self._ended = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Publish the rest of the log and stop."""
        self._ended.set()
        await self._task

    async def _run(self) -> None:
        while not self._ended.is_set():
            try:
                await asyncio.wait_for(self._ended.wait(), EACH)
            except TimeoutError:
                pass
            if self._live.is_heard:
                try:
                    await asyncio.to_thread(self._poll, self._ended.is_set())
                except Exception as error:  # a failure here must not affect the job
                    logger.warning("%s cannot be followed: %s", self._id, error)

    def _poll(self, ended: bool) -> None:
        for offset, end, text in self._new_text(ended):
            told = {"job": self._id, "offset": offset, "end": end, "text": text}
            self._live.publish(LiveEvent("log", told, JOBS))
        record = None if ended else listing.one(self._launcher(), self._id)
        if record is not None and record.status == "running" and _changing(record) != self._told:
            self._told = _changing(record)
            self._live.publish(job_event(record))

    def _new_text(self, ended: bool) -> list[tuple[int, int, str]]:
        """Return the output since the last poll in chunks with offsets, in whole lines until the run has ended."""
        try:
            descriptor = paths.open_regular(self._launcher().records.log(self._id))
        except OSError:
            return []
        try:
            size = os.fstat(descriptor).st_size
            if size > self._offset + MAX_LOOK:
                start = size - MAX_LOOK
                self._offset = start + os.pread(descriptor, MAX_TEXT, start).find(b"\n") + 1
            content = os.pread(descriptor, min(size - self._offset, MAX_LOOK), self._offset) if size else b""
        finally:
            os.close(descriptor)
        found = []
        while content:
            piece = _lines(content, ended)
            if not piece:
                break
            end = self._offset + len(piece)
            found.append((self._offset, end, piece.decode("utf-8", "replace")))
            self._offset = end
            content = content[len(piece) :]
        return found


def _changing(record: JobRecord) -> tuple[int, str | None]:
    """Return what changes of a run while it goes on."""
    return record.percentage, record.restarting


def _lines(content: bytes, ended: bool) -> bytes:
    """Return the complete lines at the beginning of a text that fit into one event; a longer line is split."""
    piece = content[:MAX_TEXT]
    end = piece.rfind(b"\n") + 1
    if end:
        return piece if ended and len(piece) == len(content) else piece[:end]
    return piece if ended or len(piece) == MAX_TEXT else b""
