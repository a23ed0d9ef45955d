"""Headers of a tar archive in the pax format (POSIX.1-2017, pax), with times in nanoseconds.

`tarfile` makes all but the most common ones: a backup may have millions of small files, and would spend most of its
time on their headers.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final

SIZE: Final = 3 * tarfile.BLOCKSIZE
"""The usual size of a member's headers in bytes."""

_BLOCK: Final = tarfile.BLOCKSIZE
_BYTES: Final = ("utf-8", "surrogateescape")
_NANOSECONDS: Final = 10**9
_TIME: Final = b"30 mtime=%d.%09d\n"
_SHORT_NAME: Final = 100
_KIND: Final = 0o176000
"""The mode bits with the file type, set-user-id and set-group-id."""
_SMALL_ID: Final = 8**7
_SMALL_SIZE: Final = 8**11

_TYPES: Final = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}


def describe(name: str, status: os.stat_result, link: str = "") -> tarfile.TarInfo:
    """Return the description of a member; that of a socket, which tar does not support, is a named pipe's.

    :param link: target of a symbolic link.
    """
    info = tarfile.TarInfo(name)
    info.type = _TYPES.get(stat.S_IFMT(status.st_mode), tarfile.FIFOTYPE)
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid = status.st_uid, status.st_gid
    info.size = status.st_size if info.type == tarfile.REGTYPE else 0
    info.linkname = link
    info.mtime = status.st_mtime_ns // _NANOSECONDS
    if status.st_mtime_ns % _NANOSECONDS:
        # A float would lose digits.
        info.pax_headers = {"mtime": str(Decimal(status.st_mtime_ns).scaleb(-9))}
    return info


def header(info: tarfile.TarInfo, more: Mapping[str, bytes] | None = None) -> bytes:
    """Return the headers of a member.

    :param more: further records for its extended header. `tarfile` accepts only text, and encodes bytes that are not
        UTF-8 in a way that GNU tar does not support.
    """
    own = info.tobuf(tarfile.PAX_FORMAT, *_BYTES)
    if not more:
        return own
    payload = b"".join([_payload(own), *(_record(keyword.encode(*_BYTES), value) for keyword, value in more.items())])
    return b"".join((_extended(len(payload)), payload, bytes(-len(payload) % _BLOCK), own[-_BLOCK:]))


def _payload(header: bytes) -> bytes:
    """Return the records of the extended header, if there is one."""
    size = tarfile.TarInfo.frombuf(header[:_BLOCK], *_BYTES).size if len(header) > _BLOCK else 0
    return header[_BLOCK : _BLOCK + size]


def _record(keyword: bytes, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (keyword, value)
    length = len(rest) + len(str(len(rest)))
    length = len(rest) + len(str(length))  # its own digits count, too
    return b"%d%b" % (length, rest)


def _extended(size: int) -> bytes:
    """Return the block before the records of an extended header."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def _template() -> tuple[bytes, bytes, int]:
    """Return the constant parts before and after the fields of a file, and the checksum of the latter."""
    rest = tarfile.TarInfo("file").tobuf(tarfile.USTAR_FORMAT)[156:]
    return _extended(len(_TIME % (_NANOSECONDS, 0))), rest, sum(rest) + 8 * ord(" ")


_TIMED, _REST, _REST_SUM = _template()
_FILLED: Final = [bytes(_SHORT_NAME - length) for length in range(_SHORT_NAME + 1)]
_TIME_FILLED: Final = bytes(_BLOCK - len(_TIME % (_NANOSECONDS, 0)))


@lru_cache(256)
def _access(mode: int, uid: int, gid: int) -> tuple[bytes, int]:
    """Return the fields that many files have in common, and the sum of their bytes."""
    fields = b"%07o\0%07o\0%07o\0" % (stat.S_IMODE(mode), uid, gid)
    return fields, sum(fields)


def plain(name: str, status: os.stat_result) -> bytes | None:
    """Return the headers of an ordinary regular file, at a tenth of the cost.

    For others None is returned: the file must be one that `can_restore` is certain to accept.

    :param name: relative, without `.`, `..` and empty components.
    """
    seconds, fraction = divmod(status.st_mtime_ns, _NANOSECONDS)
    mode, uid, gid, size = status.st_mode, status.st_uid, status.st_gid, status.st_size
    if (
        len(name) > _SHORT_NAME
        or not (name.isascii() and name.isprintable())
        or mode & _KIND != stat.S_IFREG
        or uid >= _SMALL_ID
        or gid >= _SMALL_ID
        or size >= _SMALL_SIZE
        or not _NANOSECONDS <= seconds < _SMALL_SIZE
    ):
        return None
    start = name.encode()
    access, access_sum = _access(mode, uid, gid)
    numbers = b"%011o\0%011o\0" % (size, seconds)
    total = b"%06o\0 " % (sum(start) + access_sum + sum(numbers) + _REST_SUM)
    own = (start, _FILLED[len(start)], access, numbers, total, _REST)
    if not fraction:
        return b"".join(own)
    return b"".join((_TIMED, _TIME % (seconds, fraction), _TIME_FILLED, *own))
