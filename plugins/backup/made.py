"""Which backups this appliance made, by their SHA-256: what is in those came from its own data.

Such an archive may hold what one from elsewhere may not: links that lead out of the data, and names and times of any
kind. Restoring it gives nobody anything that was not there before.
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
    """Take note of a new one; of many, the latest are known.

    :raises OSError: it cannot be stored.
    """
    known = [*(each for each in _known(appliance) if each != sha256), sha256]
    appliance.replace_file(appliance.jobs / _FILE, json.dumps(known[-MAX_KNOWN:]), mode=0o600)


class Origin:
    """Finds out, when it is asked for the first time, whether an archive is one of them.

    :param checkpoint: called often meanwhile; what it raises ends it.
    """

    def __init__(self, appliance: Appliance, archive: Path, checkpoint: Callable[[], None]) -> None:
        self._appliance = appliance
        self._archive = archive
        self._checkpoint = checkpoint
        self._own: bool | None = None

    def is_own(self) -> bool:
        """Whether this appliance made the archive; reads all of it.

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
