"""The answers that are kept for `Idempotency-Key`, in a database that is bounded in number, bytes and age."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jidoteki.core.files import leftovers

if TYPE_CHECKING:
    import sqlite3

KEPT_FOR: Final = 24 * 3600.0
MAX_OF_A_CREDENTIAL: Final = 20_000
MAX_IN_ALL: Final = 50_000
MAX_BYTES_OF_A_CREDENTIAL: Final = 16 * 1024 * 1024
MAX_BYTES_IN_ALL: Final = 64 * 1024 * 1024
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS answers (
    id BLOB PRIMARY KEY, credential TEXT NOT NULL, begun REAL NOT NULL, fingerprint BLOB NOT NULL,
    size INTEGER NOT NULL, answer BLOB
);
CREATE INDEX IF NOT EXISTS answers_by_credential ON answers (credential, size);
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (begun);
"""


class TooManyAnswersError(Exception):
    """No more can be kept.

    :param own: whether it is this credential's fault.
    """

    def __init__(self, own: bool) -> None:
        super().__init__(f"{'This credential has' if own else 'There are'} too many keys of the last 24 hours")
        self.own = own


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a key.

    :param answer: None if it was never answered.
    """

    fingerprint: bytes
    answer: bytes | None


class KeptAnswers:
    """Answers by key; all methods block, wait for the disk, and raise OSError where that fails.

    :param path: the database, which is made when it is first needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def find(self, id: bytes) -> Kept | None:
        """What is known of a key; None where it was not used."""
        if self._database is None and not self._path.exists():
            return None
        with self._transaction() as database:
            return self._find(database, id)

    def begin(self, id: bytes, credential: str, fingerprint: bytes) -> bool:
        """Note that a request is carried out; False where its key was used before.

        :raises TooManyAnswersError: there are too many.
        """
        with self._transaction() as database:
            if self._find(database, id) is not None:
                return False
            self._make_room(database, credential)
            row = (id, credential, time.time(), fingerprint)
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, 0, NULL)", row)
            return True

    def finish(self, id: bytes, answer: bytes) -> None:
        """Keep the answer to a request that was begun."""
        with self._transaction() as database:
            database.execute("UPDATE answers SET answer = ?, size = ? WHERE id = ?", (answer, len(answer), id))

    def forget(self, id: bytes) -> None:
        """Forget a request for which nothing was done."""
        with self._transaction() as database:
            database.execute("DELETE FROM answers WHERE id = ?", (id,))

    def _find(self, database: sqlite3.Connection, id: bytes) -> Kept | None:
        query = "SELECT fingerprint, answer FROM answers WHERE id = ? AND begun > ?"
        row = database.execute(query, (id, time.time() - KEPT_FOR)).fetchone()
        return Kept(*row) if row else None

    def _make_room(self, database: sqlite3.Connection, credential: str) -> None:
        database.execute("DELETE FROM answers WHERE begun <= ?", (time.time() - KEPT_FOR,))
        sums = "SELECT count(*), coalesce(sum(size), 0) FROM answers"
        number, size = database.execute(f"{sums} WHERE credential = ?", (credential,)).fetchone()
        if number >= MAX_OF_A_CREDENTIAL or size >= MAX_BYTES_OF_A_CREDENTIAL:
            raise TooManyAnswersError(own=True)
        number, size = database.execute(sums).fetchone()
        if number >= MAX_IN_ALL or size >= MAX_BYTES_IN_ALL:
            raise TooManyAnswersError(own=False)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The database, for one change that is made as a whole.

        :raises OSError: it cannot be used.
        """
        # Imported late: most appliances never need it.
        try:
            import sqlite3
        except ImportError as error:
            raise OSError("this Python has no sqlite3") from error

        with self._lock:
            try:
                with self._open() as database:
                    yield database
            except sqlite3.Error as error:
                raise OSError(str(error)) from error

    def _open(self) -> sqlite3.Connection:
        """The database; one that is damaged is set aside for a new one."""
        import sqlite3

        if self._database is None:
            try:
                self._database = self._connect()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                leftovers.set_aside(self._path)
                self._database = self._connect()
        return self._database

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(self._path, flags, 0o600))  # what it makes beside it gets the same mode
        database = sqlite3.connect(self._path, check_same_thread=False)
        try:
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_TABLE)
            database.execute("SELECT size FROM answers LIMIT 1").fetchone()
        except BaseException:
            database.close()
            raise
        return database
