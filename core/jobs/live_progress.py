"""What a running job does, told as live events while anybody listens: its percentage, and what it writes to its log."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from jidoteki.core.jobs import listing
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.plugin_manager.live import Live
from jidoteki.hookspecs import JobRecord, LiveEvent, paths

logger = logging.getLogger(__name__)

#: Seconds between two looks: a job is told of four times a second at most.
EACH = 0.25
#: Bytes of the log in one event, and in one look: of a job that writes more, the last of it are told.
MAX_TEXT = 8 * 1024
MAX_LOOK = 4 * MAX_TEXT
#: Where the records of jobs are shown.
JOBS = "/jobs"


def job_event(record: JobRecord) -> LiveEvent:
    """The event that tells how a run goes, as `GET /jobs/ID` does."""
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
    return LiveEvent("job", told, JOBS)


class Following:
    """Follows one run, from now to its end.

    :param launcher: returns the one in force.
    """

    def __init__(self, record: JobRecord, launcher: Callable[[], Launcher], live: Live) -> None:
        self._id, self._percentage = record.id, record.percentage
        self._launcher, self._live = launcher, live
        self._offset = 0
        self._ended = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Tell the rest of its log."""
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
                    await asyncio.to_thread(self._look, self._ended.is_set())
                except Exception as error:  # what is told of a job must not be in its way
                    logger.warning("%s cannot be followed: %s", self._id, error)

    def _look(self, ended: bool) -> None:
        for offset, end, text in self._new_text(ended):
            told = {"job": self._id, "offset": offset, "end": end, "text": text}
            self._live.publish(LiveEvent("log", told, JOBS))
        record = None if ended else listing.one(self._launcher(), self._id)
        if record is not None and record.status == "running" and record.percentage != self._percentage:
            self._percentage = record.percentage
            self._live.publish(job_event(record))

    def _new_text(self, ended: bool) -> list[tuple[int, int, str]]:
        """What the run wrote since the last look, in whole lines until it has ended, each piece with its place."""
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


def _lines(content: bytes, ended: bool) -> bytes:
    """The whole lines at the beginning of a text, as many as an event holds; a longer line is cut."""
    piece = content[:MAX_TEXT]
    end = piece.rfind(b"\n") + 1
    if end:
        return piece if ended and len(piece) == len(content) else piece[:end]
    return piece if ended or len(piece) == MAX_TEXT else b""
