"""The SHA-256 of the backups that this appliance made, whose content came from its own data.

Such an archive may contain what others may not: links that point outside the data, and any names and times. Restoring
it gives nobody more than was there before.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import Appliance, JobError, privileges
from jidoteki.hookspecs.paths import open_regular, read_own

MAX_KNOWN: Final = 1000
_FILE: Final = "backups-made.json"
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_MAX_VERSION: Final = 256
_CHUNK: Final = 1024 * 1024


def remember(appliance: Appliance, sha256: str) -> None:
    """Store the hash of a new backup; only the latest are kept.

    :raises OSError: it cannot be stored.
    """
    version = (appliance.read_text(appliance.etc / "version.txt") or "").partition("\n")[0].strip()[:_MAX_VERSION]
    known = {key: each for key, each in _known(appliance).items() if key != sha256}
    known[sha256] = Made(int(time.time()), version or None)
    listed = [{"sha256": key, "time": each.time, "version": each.version} for key, each in known.items()]
    with privileges.raised():
        appliance.replace_file(appliance.guarded / _FILE, json.dumps(listed[-MAX_KNOWN:]), mode=0o600)


@dataclass(frozen=True, slots=True)
class Made:
    """When this appliance made a backup, in seconds since the epoch, and in which version; None where nobody knows."""

    time: int | None = None
    version: str | None = None


class Origin:
    """The origin of an archive, determined on the first request.

    :param checkpoint: called often while the archive is read; an exception that it raises ends that.
    """

    def __init__(self, appliance: Appliance, archive: Path, checkpoint: Callable[[], None]) -> None:
        self._appliance = appliance
        self._archive = archive
        self._checkpoint = checkpoint
        self._found: Made | None = None
        self._digest: str | None = None
        self._restored = hashlib.sha256()

    def is_own(self) -> bool:
        """Return whether this appliance made the archive; reads all of it.

        :raises OSError: it cannot be read.
        """
        return self._look() is not None

    def made(self) -> Made:
        """When it made the archive, and in which version, as far as that is known.

        :raises OSError: it cannot be read.
        """
        return self._look() or Made()

    def saw(self, chunk: bytes) -> None:
        """Note what is restored of it."""
        self._restored.update(chunk)

    def check_restored(self) -> None:
        """Check that what was restored is what was judged, once all of it was seen.

        :raises JobError: somebody has changed the archive meanwhile.
        """
        if self._found and self._restored.hexdigest() != self._digest:
            raise JobError("The archive was changed while it was restored")

    def _look(self) -> Made | None:
        if self._digest is None:
            known = _known(self._appliance)
            self._digest = self._sha256() if known else ""
            self._found = known.get(self._digest)
        return self._found

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        with privileges.lowered():  # it lies where he may have put anything
            descriptor = open_regular(self._archive)
        with open(descriptor, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                self._checkpoint()
                digest.update(chunk)
        return digest.hexdigest()


def _known(appliance: Appliance) -> dict[str, Made]:
    try:
        with privileges.raised():
            listed: Any = json.loads(read_own(appliance.guarded / _FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = (_entry(each) for each in (listed if isinstance(listed, list) else []))
    return {each[0]: each[1] for each in entries if each}


def _entry(value: Any) -> tuple[str, Made] | None:
    """One of the list; version 2.0 wrote the hash alone."""
    sha256, when, version = value, None, None
    if isinstance(value, dict):
        sha256, when, version = value.get("sha256"), value.get("time"), value.get("version")
    if not isinstance(sha256, str) or not _HASH.fullmatch(sha256):
        return None
    known = version if isinstance(version, str) and len(version) <= _MAX_VERSION and version.isprintable() else None
    return sha256, Made(when if type(when) is int and 0 <= when < 10**11 else None, known)
