"""The service's own log: written in a thread, rotated, without credentials."""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import sys
import threading
from collections import deque
from functools import lru_cache
from io import TextIOWrapper
from pathlib import Path
from time import localtime, strftime
from time import time as now
from typing import ClassVar

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from jidoteki.core.files import leftovers

MAX_SIZE = 4 * 1024 * 1024
KEEP = 3
MAX_PENDING = 10_000
MAX_FIELD = 256

FLUSH_EACH = 1.0

#: The client address of a request, if it is not the peer of its connection.
CLIENT: web.RequestKey[str] = web.RequestKey("client", str)


class _Queue(logging.handlers.QueueHandler):
    """A queue that drops lines rather than block a request."""

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            pass


class _OneLine(logging.Formatter):
    """A formatter that escapes control characters, also those of tracebacks, so that no line can be forged."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = "".join(c if c.isprintable() else repr(c)[1:-1] for c in record.message)
        return super().formatMessage(record)


class _File(logging.handlers.RotatingFileHandler):
    """A rotated log file; links and pipes that others put in its place are neither followed nor waited for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_SIZE, backupCount=KEEP, delay=True)

    def _open(self) -> TextIOWrapper:
        return open(leftovers.append_own(Path(self.baseFilename)), "a", encoding="utf-8", errors="backslashreplace")

    def doRollover(self) -> None:
        """Rotate the file; truncate it if that fails."""
        try:
            super().doRollover()
        except OSError:
            self.stream = self._open()
            self.stream.truncate(0)


def start(path: Path, debug: bool = False) -> ServiceLog:
    """Log to `path`, warnings also to standard error, and requests to `jidoteki-access.log` beside it."""
    format = _OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setLevel(logging.DEBUG if debug else logging.WARNING)
    try:
        os.close(leftovers.append_own(path))
        handlers.append(_File(path))
    except OSError as error:
        sys.stderr.write(f"{path} cannot be written: {error}\n")
    for handler in handlers:
        handler.setFormatter(format)
    pending: queue.Queue[logging.LogRecord] = queue.Queue(MAX_PENDING)
    root = logging.getLogger()
    root.handlers = [_Queue(pending)]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.raiseExceptions = False
    listener = logging.handlers.QueueListener(pending, *handlers, respect_handler_level=True)
    listener.start()
    beside = path.with_name("jidoteki-access.log")
    try:
        os.close(leftovers.append_own(beside))
        access = _AccessFile(beside)
    except OSError as error:
        logging.getLogger(__name__).error("The access log cannot be written: %s", error)
        access = None
    return ServiceLog(listener, access)


class AccessLogger(AbstractAccessLogger):
    """The access log: one line for each request, without the query, which may contain a token.

    Lines are collected and written once a second: one log record per request would cost two thirds of the throughput,
    and a thread that formats thousands of lines delays requests.
    """

    pending: ClassVar[deque[str]] = deque(maxlen=MAX_PENDING)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log a request."""
        path = _plain(request.rel_url.raw_path)
        client = str(request.get(CLIENT, request.remote) if len(request) else request.remote)
        self.note(client, _plain(request.method), path, response.status, response.body_length, time)

    @classmethod
    def note(cls, address: str, method: str, path: str, status: int, length: int, time: float) -> None:
        """Log a response.

        :param length: bytes of its body.
        :param time: seconds that it took.
        """
        cls.pending.append(f"{_stamp(int(now()))} {address} {method} {path} {status} {length} {time * 1000:.1f}ms")

    @property
    def enabled(self) -> bool:
        """Always True."""
        return True


class _AccessFile:
    """A thread that writes the collected lines to the access log."""

    def __init__(self, path: Path) -> None:
        self._handler = _File(path)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write the remaining lines and stop."""
        self._ended.set()
        self._thread.join(5)
        self._handler.close()

    def _run(self) -> None:
        while not self._ended.wait(FLUSH_EACH):
            self._write()
        self._write()

    def _write(self) -> None:
        lines = [AccessLogger.pending.popleft() for _ in range(len(AccessLogger.pending))]
        if lines:
            text = "\n".join(lines)
            self._handler.emit(logging.LogRecord("access", logging.INFO, "", 0, text, None, None))


@lru_cache(maxsize=2)
def _stamp(second: int) -> str:
    return strftime("%Y-%m-%d %H:%M:%S", localtime(second))


def _plain(text: str) -> str:
    if len(text) <= MAX_FIELD and text.isprintable() and " " not in text:
        return text
    return "".join(c if c.isprintable() and c != " " else repr(c)[1:-1] for c in text[:MAX_FIELD])


class ServiceLog:
    """The logs of a running service."""

    def __init__(self, listener: logging.handlers.QueueListener, access: _AccessFile | None) -> None:
        self._listener, self._access = listener, access

    def stop(self) -> None:
        """Write the pending lines and stop logging."""
        if self._access:
            self._access.stop()
        self._listener.stop()
