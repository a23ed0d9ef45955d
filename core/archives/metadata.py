"""Owner, mode, time, attributes and access control lists of unpacked files, set through their descriptors.

A failure is reported and never gives more users access to a file: where an access control list cannot be set, the mode
is narrowed to what it allowed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jidoteki.hookspecs import file_attributes, posix_acl
from jidoteki.hookspecs.posix_acl import Acl

MAX_NOTES = 100

Tell = Callable[[str], None]
Owner = tuple[int, int]
"""A user and a group."""


class Notes:
    """Messages about members, limited in number, as there may be millions."""

    def __init__(self, note: Tell) -> None:
        self._note = note
        self._count = 0

    def add(self, name: str, text: str) -> None:
        """Report a message about a member."""
        self._count += 1
        if self._count <= MAX_NOTES:
            self._note(f"{name}: {text}")

    def end(self) -> None:
        """Report how many messages were left out."""
        if self._count > MAX_NOTES:
            self._note(f"{self._count - MAX_NOTES} more lines like these are left out")


@dataclass(frozen=True, slots=True)
class Attributes:
    """The extended attributes and access control lists of a member."""

    extended: Mapping[str, bytes] = field(default_factory=dict)
    access: Acl = ()
    default: Acl = ()
    left_out: tuple[str, ...] = ()
    """Names of attributes that are not restored."""

    @property
    def size(self) -> int:
        """The approximate size of the extended attributes in bytes."""
        return sum(len(name) + len(value) for name, value in self.extended.items())


NONE = Attributes()


def relevant(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a member's extended headers that `attributes` reads."""
    lists = (file_attributes.ACCESS, file_attributes.DEFAULT)
    return {key: text for key, text in headers.items() if key in lists or file_attributes.name_of(key) is not None}


def attributes(headers: Mapping[str, str]) -> Attributes:
    """Return the attributes in the extended headers of a member.

    :raises ValueError: they are refused; the message continues the member's name.
    """
    if not headers:
        return NONE
    found = {name: _bytes(text) for key, text in headers.items() if (name := file_attributes.name_of(key)) is not None}
    if file_attributes.CAPABILITY in found:
        raise ValueError("is given capabilities")
    lists = {}
    for kind, key in ((posix_acl.ACCESS, file_attributes.ACCESS), (posix_acl.DEFAULT, file_attributes.DEFAULT)):
        raw = found.pop(kind, None)
        try:
            # The kernel's format has numeric users and groups, as owners are restored.
            lists[kind] = posix_acl.from_text(headers.get(key, "")) if raw is None else posix_acl.from_xattr(raw)
        except ValueError as error:
            raise ValueError("has an access control list that makes no sense") from error
    return Attributes(
        {name: value for name, value in found.items() if file_attributes.is_kept(name)},
        lists[posix_acl.ACCESS],
        lists[posix_acl.DEFAULT],
        tuple(name for name in found if not file_attributes.is_kept(name)),
    )


def of(descriptor: int) -> Attributes:
    """Return what a file has."""
    try:
        found = {name: os.getxattr(descriptor, name) for name in os.listxattr(descriptor)}
    except OSError:  # not every file system has any
        return NONE
    access = found.get(posix_acl.ACCESS)
    kept = {name: value for name, value in found.items() if file_attributes.is_kept(name)}
    return Attributes(kept, posix_acl.from_xattr(access) if access else ())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def give(
    descriptor: int,
    mode: int,
    owner: Owner | None,
    time: int,
    more: Attributes,
    tell: Tell,
    lost: Callable[[Owner, str], None],
) -> None:
    """Set the metadata of a file or directory.

    :param owner: None to leave it as it is.
    :param time: modification time, in nanoseconds since the epoch.
    :param tell: called with a message for each attribute and list that cannot be set.
    :param lost: called with an owner that cannot be set, and the reason.
    """
    for name in more.left_out:
        tell(f"its attribute {name} is left out")
    for name, value in more.extended.items():
        _set(descriptor, name, value, f"its attribute {name} cannot be restored", tell)
    if owner and (reason := file_attributes.give_owner(descriptor, *owner)):
        lost(owner, reason)
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
    os.fchmod(descriptor, mode)
    if more.access and not _set_list(descriptor, posix_acl.ACCESS, more.access, tell):
        os.fchmod(descriptor, posix_acl.narrowed(mode, more.access))
    if more.default:
        _set_list(descriptor, posix_acl.DEFAULT, more.default, tell)
    os.utime(descriptor, ns=(time, time))


def _set_list(descriptor: int, kind: str, acl: Acl, tell: Tell) -> bool:
    narrower = ", and nobody gets more than it allowed" if kind == posix_acl.ACCESS else ""
    failure = f"its {kind.rpartition('_')[2]} control list cannot be restored{narrower}"
    try:
        value = posix_acl.to_xattr(acl)
    except LookupError as error:
        tell(f"{failure}: {error}")
        return False
    return _set(descriptor, kind, value, failure, tell)


def _set(descriptor: int, name: str, value: bytes, failure: str, tell: Tell) -> bool:
    try:
        os.setxattr(descriptor, name, value)
    except OSError as error:
        tell(f"{failure}: {error.strerror}")
        return False
    return True
