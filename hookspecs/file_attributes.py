"""Extended attributes and access control lists of files in tar archives: the pax keywords of GNU tar and star.

`SCHILY.xattr.NAME` holds the bytes of an attribute, `SCHILY.acl.access` and `SCHILY.acl.default` a list as text. In
names `%` and `=` are encoded as `%25` and `%3D`.
"""

from __future__ import annotations

import errno
import os
from typing import Final

ACCESS: Final = "SCHILY.acl.access"
DEFAULT: Final = "SCHILY.acl.default"

CAPABILITY: Final = "security.capability"
"""The attribute that grants privileges to a program, as set-user-id does (capabilities(7))."""

MAX_SIZE: Final = 256 * 1024
"""The most bytes of one file's attributes in an archive, names included."""

_NO_SUCH_OWNER: Final = (errno.EINVAL, errno.EPERM)
_XATTR: Final = "SCHILY.xattr."
_KEPT: Final = ("user.", "trusted.")
_LABEL: Final = "security.selinux"
_OF_THE_FILE_SYSTEM: Final = ("user.overlay.", "trusted.overlay.", "trusted.SGI_")


def give_owner(file: int | str, uid: int, gid: int, directory: int | None = None) -> str | None:
    """Change the owner of a file; return why not where the system does not allow it.

    Even root may not where a user namespace lacks the owner, and on NFS with root squashing (user_namespaces(7),
    exports(5)).

    :param file: its descriptor, or its name; a symbolic link is not followed.
    :param directory: descriptor of the directory that the name is in.
    :raises OSError: it failed for another reason.
    """
    try:
        if isinstance(file, int):
            os.fchown(file, uid, gid)
        else:
            os.chown(file, uid, gid, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_SUCH_OWNER:
            raise
        return os.strerror(error.errno)
    return None


def is_kept(name: str) -> bool:
    """Return whether a backup keeps an attribute and a restore sets it.

    Kept are those of users and of the administrator, and the SELinux label; not kept are those that grant privileges,
    belong to one file alone (capabilities, IMA hashes) or are internal to a file system.
    """
    return name == _LABEL or (name.startswith(_KEPT) and not name.startswith(_OF_THE_FILE_SYSTEM) and "\0" not in name)


def keyword(name: str) -> str:
    """Return the pax keyword of an attribute."""
    return _XATTR + name.replace("%", "%25").replace("=", "%3D")


def name_of(keyword: str) -> str | None:
    """Return the attribute that a pax keyword holds; None for any other keyword."""
    if not keyword.startswith(_XATTR):
        return None
    return keyword.removeprefix(_XATTR).replace("%3D", "=").replace("%25", "%")
