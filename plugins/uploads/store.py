"""Uploads on disk: `SPOOL/uploads/ID` contains the received bytes, `ID.json` the description.

The offset is the length of the file, which survives a kill. After a power cut only the synced bytes count, and none of
a part that was being received and had to be verified as a whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import ApiError, Appliance, paths
from jidoteki.hookspecs.boots import boot_id

DIRECTORY: Final = "uploads"
#: The header of every response, including errors.
RESUMABLE: Final = {"Tus-Resumable": "1.0.0"}
MAX_OF_A_CREDENTIAL: Final = 4
MAX_METADATA: Final = 1024
#: Seconds without a byte after which an upload is removed for a new one if there are too many.
IDLE_TIMEOUT: Final = 3600.0
MAX_INFORMATION: Final = 8192
_ID = re.compile(r"[0-9a-f]{32}")
_MAKING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Partial:
    """An upload, finished or not.

    :param owner: the credential that it belongs to.
    :param metadata: the client's description, unchanged.
    :param boot: the boot of the last write, after which only `synced` counts.
    :param synced: bytes that survive a power cut.
    :param judged: bytes that count while a part is received that counts only as a whole.
    :param signed: whether all of it came in signed requests.
    """

    id: str
    length: int
    owner: str
    metadata: str
    boot: str
    synced: int = 0
    judged: int | None = None
    signed: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """The state of an upload.

    :param touched: when the last byte arrived, in seconds since the epoch.
    """

    partial: Partial
    offset: int
    touched: float

    @property
    def complete(self) -> bool:
        """Whether it is finished."""
        return self.offset == self.partial.length


class Store:
    """The uploads of one appliance; all methods block.

    :param keep: seconds after the last byte until removal.
    :param most: maximum number of uploads.
    """

    def __init__(self, appliance: Appliance, keep: float, most: int) -> None:
        self._appliance = appliance
        self._directory = appliance.spool / DIRECTORY
        self._keep = keep
        self._most = most

    def create(self, length: int, owner: str, metadata: str, signed: bool, reserve: int) -> State:
        """Create an upload.

        :param reserve: bytes that must stay free on the file system.
        :raises ApiError: 400, there is not enough space; 429 or 503, there are too many.
        :raises OSError: it cannot be stored.
        """
        with _MAKING:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            there = self.clear()
            own = [each for each in there if each.partial.owner == owner]
            if len(own) >= MAX_OF_A_CREDENTIAL and not self._remove_idlest(own):
                message = f"There are {MAX_OF_A_CREDENTIAL} uploads of yours already: use or delete one"
                raise ApiError(429, message, headers={**RESUMABLE, "Retry-After": "60"})
            if len(there) >= self._most and not self._remove_idlest(there):
                message = "Too many uploads are there already: try again later"
                raise ApiError(503, message, headers={**RESUMABLE, "Retry-After": "600"})
            there = self.clear()
            free = shutil.disk_usage(self._directory).free - reserve
            free -= sum(each.partial.length - each.offset for each in there)
            if length > free:
                message = f"The upload has {length} bytes, but there is room for only {max(0, free)}"
                raise ApiError(400, message, headers=RESUMABLE)
            partial = Partial(secrets.token_hex(16), length, owner, metadata, boot_id(), signed=signed)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(self.path(partial.id), flags, 0o600))
            self.save(partial)
            return State(partial, 0, time.time())

    def find(self, id: str, owner: str) -> State:
        """Return the upload with this id.

        :raises ApiError: 404, there is none, it is another credential's, or it has expired.
        """
        state = self._load(id) if _ID.fullmatch(id) else None
        if state is None or state.partial.owner != owner or self._is_over(state):
            raise ApiError(404, "There is no such upload, or none any more", headers=RESUMABLE)
        return state

    def of(self, owner: str) -> list[State]:
        """Return the uploads of a credential."""
        return [each for each in self._all() if each.partial.owner == owner and not self._is_over(each)]

    def save(self, partial: Partial) -> None:
        """Save the description of an upload durably."""
        content = json.dumps(dataclasses.asdict(partial))
        self._appliance.replace_file(self._information(partial.id), content, 0o600)

    def remove(self, id: str) -> None:
        self.path(id).unlink(missing_ok=True)
        self._information(id).unlink(missing_ok=True)

    def expires(self, state: State) -> float:
        """Return when an upload expires if nothing more is received, in seconds since the epoch."""
        return state.touched + self._keep

    def clear(self, leftovers: bool = False) -> list[State]:
        """Remove expired uploads, and return the others.

        :param leftovers: whether to remove files of no upload, too; only while nothing is being received.
        """
        left = []
        for each in self._all():
            if self._is_over(each):
                self.remove(each.partial.id)
            else:
                left.append(each)
        if leftovers:
            names = {name for each in left for name in (each.partial.id, self._information(each.partial.id).name)}
            for path in self._directory.iterdir() if self._directory.is_dir() else ():
                if path.name not in names:
                    with contextlib.suppress(OSError):
                        path.unlink()
        return left

    def path(self, id: str) -> Path:
        """Return the path of an upload's content."""
        return self._directory / id

    def _information(self, id: str) -> Path:
        return self._directory / f"{id}.json"

    def _is_over(self, state: State) -> bool:
        # A clock that jumps back must not keep uploads for ever.
        return not -self._keep < time.time() - state.touched < self._keep

    def _remove_idlest(self, there: list[State]) -> bool:
        """Remove the upload to which nothing came for longest, unless all are in use; return whether there was one."""
        idlest = min(there, key=lambda each: each.touched)
        if time.time() - idlest.touched < IDLE_TIMEOUT:
            return False
        self.remove(idlest.partial.id)
        return True

    def _all(self) -> list[State]:
        if not self._directory.is_dir():
            return []
        names = [path.stem for path in self._directory.glob("*.json") if _ID.fullmatch(path.stem)]
        return [state for name in names if (state := self._load(name))]

    def _load(self, id: str) -> State | None:
        try:
            known = json.loads(paths.read_regular(self._information(id), MAX_INFORMATION))
            status = self.path(id).lstat()
        except (OSError, ValueError, RecursionError):
            return None
        partial = _parsed(id, known)
        if partial is None:
            return None
        sizes = [status.st_size, partial.length]
        if partial.judged is not None:
            sizes.append(partial.judged)
        if partial.boot != boot_id():
            sizes.append(partial.synced)
        return State(partial, min(sizes), status.st_mtime)


def _parsed(id: str, known: Any) -> Partial | None:
    try:
        partial = Partial(**known)
    except TypeError:
        return None
    numbers = (partial.length, partial.synced, 0 if partial.judged is None else partial.judged)
    sound = all(type(each) is int and each >= 0 for each in numbers)
    texts = all(isinstance(each, str) for each in (partial.owner, partial.metadata, partial.boot))
    return partial if sound and texts and partial.id == id else None
