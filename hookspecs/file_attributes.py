"""Extended attributes and access control lists of files in tar archives: the pax keywords of GNU tar and star.

`SCHILY.xattr.NAME` holds the bytes of an attribute, `SCHILY.acl.access` and `SCHILY.acl.default` a list as text. In
names `%` and `=` are written `%25` and `%3D`.
"""

from __future__ import annotations

import errno
from typing import Final

ACCESS: Final = "SCHILY.acl.access"
DEFAULT: Final = "SCHILY.acl.default"

CAPABILITY: Final = "security.capability"
"""The attribute by which a program gets privileges, as by set-user-id (capabilities(7))."""

MAX_SIZE: Final = 256 * 1024
"""The most bytes that all attributes of one file may take in an archive, their names included."""

NO_SUCH_OWNER: Final = (errno.EINVAL, errno.EPERM)
"""Why root may not give a file to somebody: a user namespace does not have him, or the file system is NFS whose server
takes root for nobody (user_namespaces(7), exports(5))."""

_XATTR: Final = "SCHILY.xattr."
_KEPT: Final = ("user.", "trusted.")
_LABEL: Final = "security.selinux"
_OF_THE_FILE_SYSTEM: Final = ("user.overlay.", "trusted.overlay.", "trusted.SGI_")


def is_kept(name: str) -> bool:
    """Whether a backup keeps an attribute, and a restore sets it.

    Users' and the administrator's own are kept, and the label of SELinux. What gives privileges or belongs to the one
    file that it lies on (capabilities, hashes of IMA), and what file systems keep there for themselves, is not.
    """
    return name == _LABEL or (name.startswith(_KEPT) and not name.startswith(_OF_THE_FILE_SYSTEM) and "\0" not in name)


def keyword(name: str) -> str:
    """Return the pax keyword of an attribute."""
    return _XATTR + name.replace("%", "%25").replace("=", "%3D")


def name_of(keyword: str) -> str | None:
    """Return the attribute that a pax keyword means; None for any other keyword."""
    if not keyword.startswith(_XATTR):
        return None
    return keyword.removeprefix(_XATTR).replace("%3D", "=").replace("%25", "%")
