"""What root's programs of a package write and the service has to read, though their umask keeps it from that.

The umask of an `update.sh` is that of the original, 027, and what root makes under it is of root's group. A key that
such a program changes would verify updates, which root runs, and be unreadable for dry runs, debug bundles and checks,
and a plugin that it installs would not be there for the service.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jidoteki.core.endpoints.update import verifying_keys
from jidoteki.core.files import leftovers
from jidoteki.hookspecs import Appliance, privileges, rooted

KEYS: Final = ("updates.key", "updates.pub", verifying_keys.REVOKED, "backup.txt", verifying_keys.DIRECTORY)
OF_SYSTEM: Final = (
    "jidoteki-admin-api.json",
    "jidoteki-admin-api.schema.json",
    "allservices.txt",
    "build.json",
    "storage-options.json",
)
_READ: Final = 0o040
_READ_DIRECTORY: Final = 0o050
_OTHERS_READ: Final = 0o004
#: What the group of root had, and that of the service must not get.
_NOT_GIVEN: Final = stat.S_ISGID | stat.S_IWGRP


def give(appliance: Appliance, plugins: str | None) -> None:
    """Let the service's group read what a program of root's put where the service reads and root alone decides.

    :param plugins: the directory of one-file plugins, below the root.
    """
    if not privileges.are_kept():
        return
    with privileges.lowered():
        group = os.getegid()
    # Whatever becomes of it, the program has ended as it did.
    with leftovers.tolerated("Not all that the service reads could be opened to it"), privileges.raised():
        for path in _files(appliance, plugins):
            with contextlib.suppress(OSError):  # it is not there, or the disk became read-only; `jidoteki check` tells
                _give(path, group)


def _files(appliance: Appliance, plugins: str | None) -> Iterator[Path]:
    for directory, names in ((appliance.keys, KEYS), (appliance.system_etc, OF_SYSTEM)):
        yield from (directory / name for name in names)
    yield from appliance.bin.glob("*.sh")
    for pattern in ("*.pub", "*.pem"):
        yield from (appliance.keys / verifying_keys.DIRECTORY).glob(pattern)
    if plugins:
        directory = appliance.root / plugins.lstrip("/")
        yield from (directory, *directory.glob("*.py"))
    yield from _plugins(Path(sysconfig.get_path("purelib")))


def _plugins(packages: Path) -> Iterator[Path]:
    """Yield what was put into the service's environment that others cannot read, above others first."""
    for path in packages.iterdir():
        if not path.is_symlink() and not path.stat().st_mode & _OTHERS_READ:
            yield path
            yield from path.rglob("*")


def _give(path: Path, group: int) -> None:
    """Let a group read a file or directory, and do no more with it.

    :raises OSError: it is not there, a link, or somebody else than root decides about it.
    """
    rooted.require(path.parent)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid == 0 and not status.st_mode & _OTHERS_READ:
            more = _READ_DIRECTORY if stat.S_ISDIR(status.st_mode) else _READ
            mode = stat.S_IMODE(status.st_mode) & ~_NOT_GIVEN | more
            os.fchmod(descriptor, mode)  # before the group can use what it must not have
            os.fchown(descriptor, -1, group)
    finally:
        os.close(descriptor)
