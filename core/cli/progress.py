"""How far something is, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

import click

#: Seconds between two lines where there is no terminal.
EACH = 5.0
MIB = 1024 * 1024


class Meter:
    """Shows how far something is; nothing until it is told for the first time.

    :param unit: `%`, or `bytes` to show MiB.
    """

    def __init__(self, label: str, unit: str) -> None:
        self._label = label
        self._unit = unit
        self._bar: Any = None
        self._done = 0
        # What is sent or fetched in no time needs no line.
        self._told = 0.0 if unit == "%" else time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def show(self, done: int, total: int | None) -> None:
        """Say that `done` of `total` are done; None where the total is not known."""
        if sys.stderr.isatty() and total:
            self._draw(done, total)
        elif time.monotonic() - self._told >= EACH or (self._unit == "%" and done == total):
            self._told = time.monotonic()
            click.echo(f"{self._label}: {self._words(done, total)}", err=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            self._done = 0
            self._bar = click.progressbar(length=total, label=self._label, file=sys.stderr)
        self._bar.update(done - self._done)
        self._done = done

    def _words(self, done: int, total: int | None) -> str:
        if self._unit == "%":
            return f"{done} %"
        shown = f"{done / MIB:.1f} MiB"
        return f"{shown} of {total / MIB:.1f} MiB" if total else shown
