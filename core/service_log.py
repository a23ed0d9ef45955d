"""The service's own log: written in a thread, rotated, without credentials."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

MAX_SIZE = 4 * 1024 * 1024
KEEP = 3
MAX_PENDING = 10_000
MAX_FIELD = 256

_access = logging.getLogger("jidoteki.access")


class _Queue(logging.handlers.QueueHandler):
    """Loses lines rather than make a request wait."""

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            pass


class _OneLine(logging.Formatter):
    """Control characters in messages can forge no line; tracebacks keep theirs."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = "".join(c if c.isprintable() else repr(c)[1:-1] for c in record.message)
        return super().formatMessage(record)


def start(path: Path, debug: bool = False) -> logging.handlers.QueueListener:
    """Send all logging to `path`, warnings to standard error too; stop the listener at the end."""
    format = _OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setLevel(logging.DEBUG if debug else logging.WARNING)
    try:
        handlers.append(logging.handlers.RotatingFileHandler(path, maxBytes=MAX_SIZE, backupCount=KEEP))
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
    return listener


class AccessLogger(AbstractAccessLogger):
    """One line for each request: never the query, which may hold a token."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line."""
        _access.info(
            "%s %s %s %d %d %.1fms",
            request.remote, request.method[:MAX_FIELD], request.path[:MAX_FIELD], response.status,
            response.body_length, time * 1000,
        )  # fmt: skip

    @property
    def enabled(self) -> bool:
        """Whether anybody reads it."""
        return _access.isEnabledFor(logging.INFO)
