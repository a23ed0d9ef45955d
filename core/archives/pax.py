"""Extended headers of tar archives (POSIX.1-2017, pax), strictly parsed and applied to the members they describe."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping

from jidoteki.hookspecs import sparse_files

MAX_DIGITS = 20

_DIGITS = re.compile(rb"[0-9]*")
_TIME = re.compile(r"-?[0-9]{1,20}(\.[0-9]{0,30})?")
_NUMBER = re.compile(r"-?[0-9]{1,20}")


class PaxError(Exception):
    """An invalid extended header, or one that makes its member invalid."""


def parse(payload: bytes) -> dict[str, str]:
    """Parse the records of an extended header; bytes that are not UTF-8 become surrogates (PEP 383).

    :raises PaxError: it is malformed; "a header that …".
    """
    records = {}
    position = 0
    while position < len(payload):
        digits = _DIGITS.match(payload, position)
        if digits is None or not digits[0]:
            raise PaxError("a header that makes no sense")
        if len(digits[0]) > MAX_DIGITS:
            raise PaxError("a header with an endless number")
        end = position + int(digits[0])
        record = payload[digits.end() : end]
        key, equals, value = record[1:-1].partition(b"=")
        if end > len(payload) or record[:1] != b" " or record[-1:] != b"\n" or not (key and equals):
            raise PaxError("a header that makes no sense")
        records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        position = end
    return records


def apply(records: Mapping[str, str], info: tarfile.TarInfo, *, sparse: bool = False) -> None:
    """Apply its extended headers to a member.

    :param sparse: whether it may be a sparse file (`info.issparse()`), whose content begins with the map.
    :raises PaxError: a value is invalid; "has an impossible …".
    """
    info.pax_headers = dict(records)
    info.name = records.get("path", info.name)
    info.linkname = records.get("linkpath", info.linkname)
    if any(key.startswith(sparse_files.RECORDS) for key in records):
        _apply_sparse(records, info, sparse)
    info.uid = _number(records, "uid", info.uid, "owner")
    info.gid = _number(records, "gid", info.gid, "owner")
    info.size = _number(records, "size", info.size, "size")
    for key in ("mtime", "atime", "ctime"):
        if not _TIME.fullmatch(records.get(key, "0")):
            raise PaxError("has an impossible time")
    if "mtime" in records:
        info.mtime = float(records["mtime"])


def _apply_sparse(records: Mapping[str, str], info: tarfile.TarInfo, allowed: bool) -> None:
    is_known = sparse_files.SIZE in records and sparse_files.FORMAT.items() <= records.items()
    if not (allowed and is_known and info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        raise PaxError("is a sparse file")
    info.name = records.get(sparse_files.NAME, info.name)
    if not 0 <= _number(records, sparse_files.SIZE, -1, "size") < 1 << 63:
        raise PaxError("has an impossible size")
    info.sparse = b""  # marks a sparse file, whose map is still to be read


def _number(records: Mapping[str, str], key: str, otherwise: int, what: str) -> int:
    text = records.get(key)
    if text is None:
        return otherwise
    if not _NUMBER.fullmatch(text):
        raise PaxError(f"has an impossible {what}")
    return int(text)
