"""POSIX access control lists in the kernel's format (acl(5), linux/posix_acl_xattr.h) and in that of archives.

Archives have the text form of acl_to_text(3), one entry per line or separated by commas, in the pax keywords
`SCHILY.acl.access` and `SCHILY.acl.default` of GNU tar and star.
"""

from __future__ import annotations

import grp
import pwd
import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

ACCESS: Final = "system.posix_acl_access"
DEFAULT: Final = "system.posix_acl_default"

MAX_ENTRIES: Final = 8192

_VERSION: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_NOBODY: Final = 0xFFFFFFFF
_OWNER, _USER, _OWNING_GROUP, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NAMED: Final = (_USER, _GROUP)
_ONCE: Final = (_OWNER, _OWNING_GROUP, _OTHER)
_TAGS: Final = {"user": (_OWNER, _USER), "group": (_OWNING_GROUP, _GROUP), "mask": (_MASK, 0), "other": (_OTHER, 0)}
_WORDS: Final = {tag: word for word, tags in _TAGS.items() for tag in tags if tag}
_LINE: Final = re.compile(r"(user|group|mask|other|[ugmo]):([^:]*):([r-][w-][x-])(?::([0-9]{1,10}))?")


class Entry(NamedTuple):
    """An entry of an access control list."""

    tag: int
    permissions: int
    """The sum of 4 for read, 2 for write and 1 for execute."""
    id: int | None
    """The user or group id; None for a name that this machine does not know."""


Acl = Sequence[Entry]


def from_xattr(value: bytes) -> Acl:
    """Parse the value of the attribute `system.posix_acl_access` or `system.posix_acl_default`.

    :raises ValueError: it is not a valid list.
    """
    if len(value) < _VERSION.size or _VERSION.unpack_from(value)[0] != 2 or (len(value) - 4) % _ENTRY.size:
        raise ValueError("no access control list")
    entries = _ENTRY.iter_unpack(value[_VERSION.size :])
    return _checked([Entry(tag, bits, id if tag in _NAMED else _NOBODY) for tag, bits, id in entries])


def to_xattr(acl: Acl) -> bytes:
    """Return a list in the kernel's format.

    :raises LookupError: it names a user or group that this machine does not know.
    """
    content = [_VERSION.pack(2)]
    for tag, permissions, id in sorted(acl, key=lambda entry: (entry.tag, entry.id or 0)):
        if id is None:
            raise LookupError("it names a user or group that is not known here")
        content.append(_ENTRY.pack(tag, permissions, id))
    return b"".join(content)


def from_text(text: str) -> Acl:
    """Parse the text form of a list; a number takes precedence over the name of a user or group.

    :raises ValueError: it is not a valid list.
    """
    lines = [line.partition("#")[0].strip() for line in re.split("[,\n]", text)]
    return _checked([_parse(line) for line in lines if line])


def to_text(acl: Acl) -> str:
    """Return a list as text, with numeric users and groups."""
    return "".join(
        f"{_WORDS[tag]}:{id if tag in _NAMED else ''}:{_letters(permissions)}\n" for tag, permissions, id in acl
    )


def narrowed(mode: int, acl: Acl) -> int:
    """Return a mode that grants nobody more than the list does, for where the list cannot be kept.

    Users and groups named in the list fall back to the owning group or others, which lose what those did not have.
    """
    mask = next((entry.permissions for entry in acl if entry.tag == _MASK), 0o7)
    owner = group = other = 0o7
    for tag, permissions, _ in acl:
        if tag == _OWNER:
            owner = permissions
        if tag in (_OWNING_GROUP, _USER):
            group &= permissions & mask
        if tag in _NAMED:
            other &= permissions & mask
        if tag == _OTHER:
            other &= permissions
    return mode & ~0o777 | mode & (owner << 6 | group << 3 | other)


def _checked(acl: list[Entry]) -> Acl:
    """Return a list, possibly empty, that the kernel accepts (fs/posix_acl.c, posix_acl_valid)."""
    tags = [entry.tag for entry in acl]
    if (
        len(acl) > MAX_ENTRIES
        or any(tag not in _WORDS or permissions > 0o7 for tag, permissions, _ in acl)
        or (acl and any(tags.count(tag) != 1 for tag in _ONCE))
        or tags.count(_MASK) != any(tag in (*_NAMED, _MASK) for tag in tags)
        or any(tag in _NAMED and id == _NOBODY for tag, _, id in acl)
    ):
        raise ValueError("no access control list")
    return acl


def _parse(line: str) -> Entry:
    match = _LINE.fullmatch(line)
    if not match:
        raise ValueError("no access control list")
    word = next(each for each in _TAGS if each.startswith(match[1]))
    tag = _TAGS[word][bool(match[2])]
    permissions = sum(bit for bit, letter in zip((4, 2, 1), match[3], strict=True) if letter != "-")
    return Entry(tag, permissions, _id(word, match[2], match[4]) if match[2] else _NOBODY)


def _id(word: str, name: str, number: str | None) -> int | None:
    digits = number or (name if name.isascii() and name.isdigit() else "")
    if digits:
        if len(digits) > len(str(_NOBODY)) or int(digits) >= _NOBODY:
            raise ValueError("no access control list")
        return int(digits)
    try:
        return pwd.getpwnam(name).pw_uid if word == "user" else grp.getgrnam(name).gr_gid
    except (LookupError, ValueError):
        return None


def _letters(permissions: int) -> str:
    return "".join(letter if permissions & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
