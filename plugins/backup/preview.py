"""The preview of an archive that would be restored, which a dry run returns."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable
from typing import Any, Final

from jidoteki.hookspecs import Appliance, differences
from jidoteki.plugins.backup.own_backups import Origin

PROPERTIES: Final[dict[str, Any]] = {
    "files": {"type": "integer", "description": "In a dry run: how many there are, directories not counted"},
    "bytes": {"type": "integer", "description": "In a dry run: how many they have"},
    "free-space": {"type": "integer", "description": "In a dry run: bytes that are free where the data lie"},
    "made": {
        "type": ["integer", "null"],
        "description": "In a dry run: when this appliance made the archive; null for one from elsewhere",
    },
    "version": {"type": ["string", "null"], "description": "In a dry run: the version that was in force then"},
}


def preview(
    appliance: Appliance, trees: Iterable[int], origin: Origin, checkpoint: Callable[[], None]
) -> dict[str, Any]:
    """Return the preview.

    :param trees: descriptors of the directories with the unpacked files.
    :param checkpoint: called often; an exception that it raises ends the preview.
    """
    files = size = unpacked = 0
    links: set[int] = set()
    for tree in trees:
        for _, _, names, directory in os.fwalk(".", dir_fd=tree, follow_symlinks=False):
            checkpoint()
            for name in names:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                files += 1
                if stat.S_ISREG(status.st_mode) and status.st_ino not in links:
                    if status.st_nlink > 1:
                        links.add(status.st_ino)
                    size += status.st_size
                    unpacked += status.st_blocks * 512
    free = shutil.disk_usage(appliance.data).free + unpacked  # the unpacked files will be removed
    made = origin.made()
    new = {"files": files, "bytes": size, "made": made.time, "version": made.version}
    return {**new, "free-space": free, "changes": [differences.change("data", None, new)]}
