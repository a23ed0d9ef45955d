"""The stored responses for `Idempotency-Key`: a database limited in number, bytes and age."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jidoteki.core.files import leftovers
from jidoteki.hookspecs import paths
from jidoteki.hookspecs.boots import boot_id

if TYPE_CHECKING:
    import sqlite3

KEPT_FOR: Final = 24 * 3600.0
MAX_OF_A_CREDENTIAL: Final = 20_000
MAX_IN_ALL: Final = 50_000
MAX_BYTES_OF_A_CREDENTIAL: Final = 16 * 1024 * 1024
MAX_BYTES_IN_ALL: Final = 64 * 1024 * 1024
#: Seconds for which a request waits for the requests before it, and for another process that has locked the database;
#: and those for the latter when it has been executed, so that its response is not lost.
TURN: Final = 2.0
LOCKED: Final = 0.5
LOCKED_AFTERWARDS: Final = 5.0
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS answers (
    id BLOB PRIMARY KEY, credential TEXT NOT NULL, boot TEXT NOT NULL, ran REAL NOT NULL, begun REAL NOT NULL,
    fingerprint BLOB NOT NULL, size INTEGER NOT NULL, answer BLOB
);
CREATE INDEX IF NOT EXISTS answers_by_credential ON answers (credential, size);
CREATE INDEX IF NOT EXISTS answers_by_boot ON answers (boot, ran);
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (begun);
"""
#: Within a boot it is the time since boot that counts, as the clock may be set; a later boot has only the clock.
_EXPIRE: Final = (
    "DELETE FROM answers WHERE boot = :boot AND ran <= :ran - :kept",
    "DELETE FROM answers WHERE boot <> :boot AND (begun <= :now - :kept OR begun >= :now + :kept)",
)
_FIND: Final = """
SELECT CAST(fingerprint AS BLOB), CAST(answer AS BLOB) FROM answers WHERE id = :id AND (
    boot = :boot AND ran > :ran - :kept OR boot <> :boot AND begun > :now - :kept AND begun < :now + :kept
)
"""
_BEGIN: Final = "INSERT OR REPLACE INTO answers VALUES (:id, :credential, :boot, :ran, :now, :fingerprint, 0, NULL)"
_T = TypeVar("_T")


class TooManyAnswersError(Exception):
    """The limit of stored responses is reached.

    :param own: whether it is that of one credential.
    """

    def __init__(self, own: bool) -> None:
        super().__init__(f"{'This credential has' if own else 'There are'} too many keys of the last 24 hours")
        self.own = own


@dataclass(frozen=True, slots=True)
class Kept:
    """The stored record of a key.

    :param answer: None if there was no response.
    """

    fingerprint: bytes
    answer: bytes | None


class KeptAnswers:
    """The stored responses by key; all methods block on disk access, and raise OSError if it fails.

    :param path: the database, created on first use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def find(self, id: bytes) -> Kept | None:
        """Return the record of a key, or None."""
        if self._database is None and not self._path.exists():
            return None
        return self._run(lambda database: _find(database, id))

    def begin(self, id: bytes, credential: str, fingerprint: bytes) -> bool:
        """Record that a request is being executed; return False if its key was used before.

        :raises TooManyAnswersError: there are too many.
        """
        row = {"id": id, "credential": credential, "fingerprint": fingerprint}

        def begin(database: sqlite3.Connection) -> bool:
            if _find(database, id) is not None:
                return False
            _make_room(database, credential)
            database.execute(_BEGIN, row | _now())
            return True

        return self._run(begin)

    def finish(self, id: bytes, answer: bytes) -> None:
        """Store the response to a request."""
        change = "UPDATE answers SET answer = ?, size = ? WHERE id = ?"
        self._run(lambda database: database.execute(change, (answer, len(answer), id)), LOCKED_AFTERWARDS)

    def forget(self, id: bytes) -> None:
        """Remove a request that did nothing."""
        self._run(lambda database: database.execute("DELETE FROM answers WHERE id = ?", (id,)), LOCKED_AFTERWARDS)

    def _run(self, work: Callable[[sqlite3.Connection], _T], locked: float = LOCKED) -> _T:
        """Call a function in a transaction; a database that proves damaged is set aside for a new one.

        :param locked: seconds to wait for another process.
        :raises OSError: the database cannot be used.
        """
        # Imported late: most appliances never need it.
        try:
            import sqlite3
        except ImportError as error:
            raise OSError("this Python has no sqlite3") from error

        if not self._lock.acquire(timeout=max(TURN, locked)):
            raise OSError("database is in use")
        try:
            try:
                return self._attempt(work, locked)
            except sqlite3.Error as error:
                self._close()
                code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
                if _is_damage(code):
                    leftovers.set_aside(self._path)
                elif code != sqlite3.SQLITE_READONLY_DBMOVED:
                    raise
                return self._attempt(work, locked)
        except sqlite3.Error as error:
            self._close()
            raise OSError(str(error)) from error
        finally:
            self._lock.release()

    def _attempt(self, work: Callable[[sqlite3.Connection], _T], locked: float) -> _T:
        if self._database is None:
            self._database = self._connect()
        self._database.execute(f"PRAGMA busy_timeout = {int(locked * 1000)}")
        with self._database as database:
            return work(database)

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        with suppress(FileNotFoundError):
            status = self._path.lstat()
            if not stat.S_ISREG(status.st_mode) or not paths.is_own(status):
                leftovers.set_aside(self._path)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(self._path, flags, 0o600))  # the journal gets the same mode
        database = sqlite3.connect(self._path, timeout=LOCKED, check_same_thread=False)
        try:
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_TABLE)
        except BaseException:
            database.close()
            raise
        return database


def _now() -> dict[str, Any]:
    """Return the parameters of a statement that tell the time."""
    ran = time.clock_gettime(time.CLOCK_BOOTTIME)
    return {"boot": boot_id(), "ran": ran, "now": time.time(), "kept": KEPT_FOR}


def _find(database: sqlite3.Connection, id: bytes) -> Kept | None:
    row = database.execute(_FIND, {"id": id} | _now()).fetchone()
    return Kept(*row) if row else None


def _make_room(database: sqlite3.Connection, credential: str) -> None:
    for each in _EXPIRE:
        database.execute(each, _now())
    sums = "SELECT count(*), coalesce(sum(size), 0) FROM answers"
    number, size = database.execute(f"{sums} WHERE credential = ?", (credential,)).fetchone()
    if number >= MAX_OF_A_CREDENTIAL or size >= MAX_BYTES_OF_A_CREDENTIAL:
        raise TooManyAnswersError(own=True)
    number, size = database.execute(sums).fetchone()
    if number >= MAX_IN_ALL or size >= MAX_BYTES_IN_ALL:
        raise TooManyAnswersError(own=False)


def _is_damage(code: int) -> bool:
    """Return whether an error of SQLite (https://www.sqlite.org/rescode.html) stays until the database is replaced.

    An unknown column or table (SQLITE_ERROR) is another schema, or damage of the schema.
    """
    import sqlite3

    lasting = (
        sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_NOTADB,
    )  # fmt: skip
    return code & 0xFF in lasting or code == sqlite3.SQLITE_IOERR_READ
