"""The rules for tar members that can be unpacked safely, shared by packing and unpacking."""

from __future__ import annotations

import os
import re
import tarfile
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Final

MAX_NAME: Final = 4096
MAX_COMPONENT: Final = 255
MAX_DEPTH: Final = 256

RESERVED: Final = ".jidoteki-"
"""The prefix of the names, at any depth, of the program's own files beside those of others."""

LEFT_OUT: Final = f"{RESERVED}left-out"
"""The only reserved name allowed in an archive, a regular file at its top: the list of what could not be packed."""

IMPLIED: Final = 0o4000
"""The mode bit that marks an unpacked directory which is not itself a member of the archive, but has one below it.
No member may have it."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE)
_OTHERS: Final = {
    tarfile.LNKTYPE: "is a hard link",
    tarfile.CHRTYPE: "is a character device",
    tarfile.BLKTYPE: "is a block device",
    tarfile.FIFOTYPE: "is a named pipe",
    tarfile.GNUTYPE_SPARSE: "is a sparse file",
}


def can_restore(name: str, info: tarfile.TarInfo, links_below: Path | None, *, own: bool = False) -> str | None:
    """Return why a member cannot be restored; None when it can.

    Regular files, directories and symbolic links can, as long as no name or link points outside the tree, nothing
    is set-user-id and no file is set-group-id. The reason continues the member's name: "is a hard link".

    :param name: the member's name in the archive.
    :param info: its type, mode, owner, time and link target.
    :param links_below: the directory that absolute symbolic links must point into; None to refuse them.
    :param own: whether this appliance made the archive: names in any encoding and with any character, times of any age
        and links to anywhere are then accepted.
    """
    reason = _path(name) or (None if own else _text(name, "name")) or _kind(name, info) or _numbers(info, own)
    if reason is None and info.issym():
        reason = _link(info.linkname) or (None if own else _reach(parts(name), info.linkname, links_below))
    return reason


def parts(name: str) -> list[str]:
    """Return the components of a member's name, without `.` and empty ones."""
    return [part for part in name.split("/") if part not in ("", ".")]


def is_reserved(component: str) -> bool:
    """Return whether a name is reserved for the program's own files, which no archive may contain.

    So is every name that a case-insensitive or Unicode-normalizing file system would treat as one.
    """
    if component.isascii():
        return component[: len(RESERVED)].lower() == RESERVED
    plain = unicodedata.normalize("NFKD", component).casefold()
    return "".join(filter(str.isascii, plain)).startswith(RESERVED)


def _path(name: str) -> str | None:
    components = parts(name)
    if name.startswith("/"):
        return "has an absolute name"
    if not name:
        return "has no name"
    if ".." in components:
        return "has '..' in its name"
    return _lengths(name, components)


def _text(text: str, what: str) -> str | None:
    if _CONTROL.search(text):
        return f"has a control character in its {what}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"has a {what} that is not UTF-8"
    return None


def _lengths(name: str, components: list[str]) -> str | None:
    if len(os.fsencode(name)) > MAX_NAME:
        return f"has a name longer than {MAX_NAME} bytes"
    if any(len(os.fsencode(part)) > MAX_COMPONENT for part in components):
        return f"has a name with a component longer than {MAX_COMPONENT} bytes"
    if len(components) > MAX_DEPTH:
        return f"lies more than {MAX_DEPTH} directories deep"
    return None


def _kind(name: str, info: tarfile.TarInfo) -> str | None:
    if info.type in _OTHERS:
        return _OTHERS[info.type]
    if info.issparse():
        return "is a sparse file"
    if info.type not in (*_REGULAR, tarfile.DIRTYPE, tarfile.SYMTYPE):
        return "is neither a file nor a directory nor a symbolic link"
    if not info.isdir() and (name.endswith("/") or not parts(name)):
        return "has a directory's name and is none"
    if info.issym():
        return None
    if info.mode & 0o4000:
        return "is set-user-id: no archive brings privileges, a script has to give them"
    if info.mode & 0o2000 and not info.isdir():
        return "is set-group-id: no archive brings privileges, a script has to give them"
    return None


def _numbers(info: tarfile.TarInfo, own: bool) -> str | None:
    if info.mode < 0:
        return "has an impossible mode"
    # The last of the 32-bit ids means "leave as it is" to chown.
    if not (0 <= info.uid < 2**32 - 1 and 0 <= info.gid < 2**32 - 1):
        return "has an impossible owner"
    if not own and not -(2**31) <= info.mtime < 2**34:
        return "has an impossible time"
    if info.size < 0 or (info.size and info.type not in _REGULAR):
        return "has an impossible size"
    return None


def _link(target: str) -> str | None:
    if not target:
        return "is a symbolic link to nothing"
    if len(os.fsencode(target)) > MAX_NAME:
        return f"is a symbolic link to a name longer than {MAX_NAME} bytes"
    return None


def _reach(name: list[str], target: str, links_below: Path | None) -> str | None:
    """Return why a link may point outside the archive; None when it does not."""
    wrong = _text(target, "link's target")
    if wrong:
        return wrong
    components = parts(target)
    if target.startswith("/"):
        if links_below is None:
            return "is a symbolic link to an absolute name"
        inside = PurePosixPath(target).is_relative_to(links_below)
        return None if inside and ".." not in components else f"is a symbolic link that leads out of {links_below}"
    ups = next((number for number, part in enumerate(components) if part != ".."), len(components))
    # `..` after a name would step up from wherever that name leads, should it be a link itself.
    if ups > len(name) - 1 or ".." in components[ups:]:
        return "is a symbolic link that leads out of the archive"
    return None
