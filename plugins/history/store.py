"""The points on disk: an SQLite database whose rows are overwritten, so that it does not grow.

Transactions are atomic, even in a power cut (https://www.sqlite.org/atomiccommit.html).
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs.paths import is_own
from jidoteki.plugins.history.series import COLUMNS, FINEST, SERIES, Series, Values

logger = logging.getLogger(__name__)

VERSION: Final = 1
MAX_PAGES: Final = 150
"""Of 4 KiB each; a third is used."""

_NAMES: Final = ", ".join(COLUMNS)
_TABLE: Final = (
    f"CREATE TABLE IF NOT EXISTS points (step INTEGER, slot INTEGER, time INTEGER, samples INTEGER, {_NAMES}, "
    "PRIMARY KEY (step, slot)) WITHOUT ROWID"
)
_WRITE: Final = f"INSERT OR REPLACE INTO points VALUES (?, ?, ?, 1, {', '.join('?' * len(COLUMNS))})"  # noqa: S608  # constants
#: Means, weighted by the number of measurements.
_MEANS: Final = ", ".join(f"sum({each} * samples) / sum(({each} IS NOT NULL) * samples)" for each in COLUMNS)
_SUM_UP: Final = (
    f"INSERT OR REPLACE INTO points SELECT ?, ?, ?, sum(samples), {_MEANS} "  # noqa: S608  # constants
    "FROM points WHERE step = ? AND time >= ? AND time < ? HAVING count(*) > 0"
)
_READ: Final = f"SELECT time, {_NAMES} FROM points WHERE step = ? AND time BETWEEN ? AND ?"  # noqa: S608  # constants
_FORGET: Final = "DELETE FROM points WHERE time > ?"


class Store:
    """The points of one appliance.

    :param path: the database, in a directory closed to other users.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, points: Mapping[int, Values], forget_after: float | None = None) -> None:
        """Write points of the finest series and aggregate them in the others, in one transaction.

        :param points: by their start.
        :param forget_after: delete points that start later, as the clock was wrong.
        :raises OSError: nothing was written.
        """
        with self._transaction() as database:
            if forget_after is not None:
                database.execute(_FORGET, (forget_after,))
            for time, values in points.items():
                database.execute(_WRITE, (*_slot(FINEST, time), *values))
            for finer, series in pairwise(SERIES.values()):
                for begin in sorted({series.bucket(time) for time in points}):
                    end = begin + series.step
                    database.execute(_SUM_UP, (*_slot(series, begin), finer.step, begin, end))

    def read(self, series: Series, begin: int, end: int) -> dict[int, Values]:
        """Return the points of a series within a time range, by their start.

        :raises OSError: they cannot be read.
        """
        if not os.path.lexists(self._path):
            return {}
        with self._open() as database:
            if _version(database) == 0:
                return {}
            rows = database.execute(_READ, (series.step, begin, end)).fetchall()
        sound = (row for row in rows if type(row[0]) is int and row[0] % series.step == 0)
        return {row[0]: tuple(map(_number, row[1:])) for row in sound}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the database; a damaged one is replaced by a new one.

        :raises OSError: it cannot be used.
        """
        try:
            self._make()
            with closing(sqlite3.connect(self._path, timeout=5, isolation_level=None)) as database:
                database.execute(f"PRAGMA max_page_count = {MAX_PAGES}")
                if _version(database) not in (0, VERSION):
                    raise sqlite3.DatabaseError("it is of another version")
                yield database
        except sqlite3.OperationalError as error:
            raise OSError(f"{self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            logger.error("%s is damaged, and begins anew: %s", self._path, error)
            self._remove()
            raise OSError(f"{self._path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the database with its table, for one transaction."""
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            if _version(database) == 0:
                database.execute(_TABLE)
                database.execute(f"PRAGMA user_version = {VERSION}")
            yield database
            database.execute("COMMIT")

    def _make(self) -> None:
        """Create the file, readable by nobody else; one of another user is removed."""
        try:
            status = self._path.lstat()
            if stat.S_ISREG(status.st_mode) and is_own(status):
                return
            self._remove()
        except FileNotFoundError:
            pass
        os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    def _remove(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _version(database: sqlite3.Connection) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def _slot(series: Series, time: int) -> tuple[int, int, int]:
    return series.step, time // series.step % series.slots, time


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
