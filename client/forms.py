"""The form of a request, whose files are read from disk while they are sent."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.hdrs import CONTENT_TYPE
from aiohttp.payload import Payload, get_payload

Sent = Callable[[int], None]


class _Counted(io.BufferedReader):
    """A file that reports how much of it was read."""

    def __init__(self, raw: io.FileIO, tell: Sent) -> None:
        super().__init__(raw)
        self._tell_sent = tell

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        if chunk:
            self._tell_sent(len(chunk))
        return chunk


class Form:
    """A form with fields and files, which are open within `with`.

    :param files: paths by name.
    :param on_sent: told how many bytes of the files are sent so far.
    :raises OSError: a file cannot be read.
    """

    def __init__(self, fields: Mapping[str, str], files: Mapping[str, Path | str], on_sent: Sent | None = None) -> None:
        self._fields = fields
        self._files = {name: Path(path) for name, path in files.items()}
        self._on_sent = on_sent
        self._sent = 0
        self._open: dict[str, _Counted] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for name, path in self._files.items():
                self._open[name] = stack.enter_context(_Counted(io.FileIO(path), self._count))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def size(self) -> int:
        """The total size of the files in bytes."""
        return sum(os.fstat(file.fileno()).st_size for file in self._open.values())

    def data(self) -> aiohttp.MultipartWriter:
        """Return the body of the request, which has a known length."""
        form = aiohttp.MultipartWriter("form-data")
        for name, value in self._fields.items():
            form.append_payload(_part(value, "text/plain; charset=utf-8", name))
        for name, file in self._open.items():
            form.append_payload(_part(file, "application/octet-stream", name, filename=self._files[name].name))
        return form

    def _count(self, size: int) -> None:
        self._sent += size
        if self._on_sent:
            self._on_sent(self._sent)


def _part(value: Any, kind: str, name: str, **more: str) -> Payload:
    """Return a part whose first header is Content-Disposition, which the original expects there."""
    part = get_payload(value, content_type=kind)
    part.headers.clear()
    part.set_content_disposition("form-data", True, name=name, **more)
    part.headers[CONTENT_TYPE] = kind
    return part
