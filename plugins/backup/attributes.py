"""Extended attributes and access control lists of packed files, as records of the extended header."""

from __future__ import annotations

import errno
import os

from jidoteki.hookspecs import file_attributes, posix_acl
from jidoteki.plugins.backup.selection import Note

_LISTS = {posix_acl.ACCESS: file_attributes.ACCESS, posix_acl.DEFAULT: file_attributes.DEFAULT}
_NONE_THERE = (errno.ENOTSUP, errno.ENODATA)


class Attributes:
    """A reader of attributes, which logs those that a backup does not keep."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._told: set[str] = set()

    def of(self, descriptor: int, name: str) -> dict[str, bytes]:
        """Return the records of an open file or directory, usually none.

        :param name: its name in the archive.
        """
        try:
            found = os.listxattr(descriptor)
        except OSError as error:
            if error.errno not in _NONE_THERE:
                self._note(f"{name}: its attributes are left out: {error.strerror}")
            return {}
        return self._records(descriptor, name, found) if found else {}

    def _records(self, descriptor: int, name: str, found: list[str]) -> dict[str, bytes]:
        lists, extended = {}, {}
        for attribute in found:
            try:
                if attribute in _LISTS:
                    acl = posix_acl.from_xattr(os.getxattr(descriptor, attribute))
                    lists[_LISTS[attribute]] = posix_acl.to_text(acl).encode()
                elif file_attributes.is_kept(attribute):
                    extended[file_attributes.keyword(attribute)] = os.getxattr(descriptor, attribute)
                else:
                    self._tell(name, attribute)
            except OSError as error:
                if error.errno not in _NONE_THERE:
                    self._note(f"{name}: its attribute {attribute} is left out: {error.strerror}")
        if sum(len(key) + len(value) for key, value in extended.items()) > file_attributes.MAX_SIZE:
            self._note(f"{name}: its attributes are left out: they take more than {file_attributes.MAX_SIZE} bytes")
            extended = {}
        return {**lists, **extended}

    def _tell(self, name: str, attribute: str) -> None:
        if attribute == file_attributes.CAPABILITY:
            self._note(f"{name} loses its capabilities")
        elif attribute not in self._told:  # the system may set one on every file
            self._told.add(attribute)
            self._note(f"{name}: its attribute {attribute} is left out, here and from now on")
