"""The SHA-256 of the backups that this appliance made, whose content came from its own data.

Such an archive may contain what others may not: links that point outside the data, and any names and times. Restoring
it gives nobody more than was there before.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import Appliance
from jidoteki.hookspecs.paths import open_regular, read_own

MAX_KNOWN: Final = 1000
_FILE: Final = "backups-made.json"
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_CHUNK: Final = 1024 * 1024


def remember(appliance: Appliance, sha256: str) -> None:
    """Store the hash of a new backup; only the latest are kept.

    :raises OSError: it cannot be stored.
    """
    known = [*(each for each in _known(appliance) if each != sha256), sha256]
    appliance.replace_file(appliance.jobs / _FILE, json.dumps(known[-MAX_KNOWN:]), mode=0o600)


class Origin:
    """The origin of an archive, determined on the first request.

    :param checkpoint: called often while the archive is read; an exception that it raises ends that.
    """

    def __init__(self, appliance: Appliance, archive: Path, checkpoint: Callable[[], None]) -> None:
        self._appliance = appliance
        self._archive = archive
        self._checkpoint = checkpoint
        self._own: bool | None = None

    def is_own(self) -> bool:
        """Return whether this appliance made the archive; reads all of it.

        :raises OSError: it cannot be read.
        """
        if self._own is None:
            known = _known(self._appliance)
            self._own = bool(known) and self._sha256() in known
        return self._own

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        with open(open_regular(self._archive), "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                self._checkpoint()
                digest.update(chunk)
        return digest.hexdigest()


def _known(appliance: Appliance) -> list[str]:
    try:
        listed: Any = json.loads(read_own(appliance.jobs / _FILE))
    except (OSError, ValueError, RecursionError):
        return []
    found = listed if isinstance(listed, list) else []
    return [each for each in found if isinstance(each, str) and _HASH.fullmatch(each)]
