"""The headers of tus 1.0.0: https://tus.io/protocols/resumable-upload"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Final

from jidoteki.hookspecs import ApiError, Request
from jidoteki.plugins.uploads.store import MAX_METADATA, RESUMABLE, State

VERSION: Final = RESUMABLE["Tus-Resumable"]
MEDIA: Final = "application/offset+octet-stream"
EXTENSIONS: Final = "creation,checksum,expiration,termination"
ALGORITHMS: Final[Mapping[str, Any]] = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha512": hashlib.sha512}

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_METADATA = re.compile(r"(?:[!-+\--~]+(?: [A-Za-z0-9+/]*={0,2})?(?:, ?|$))*", re.ASCII)


def refusal(status: int, message: str, **headers: str) -> ApiError:
    """Return an error with the header that every response has."""
    return ApiError(status, message, headers={**RESUMABLE, **headers})


def configuration(longest: int) -> dict[str, str]:
    """Return the headers with the supported features.

    :param longest: maximum bytes of an upload.
    """
    return {
        **RESUMABLE,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(longest),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def check_version(request: Request, needed: bool = True) -> None:
    """Refuse other versions of the protocol.

    :param needed: whether the client must name one.
    :raises ApiError: 412.
    """
    named = request.headers.get("Tus-Resumable")
    if named != VERSION and (needed or named is not None):
        message = f"Send the header Tus-Resumable: {VERSION}; this is tus, a protocol of resumable uploads"
        raise refusal(412, message, **{"Tus-Version": VERSION})


def length_of(request: Request, longest: int) -> int:
    """Return the size of a new upload in bytes.

    :raises ApiError: 400 or 413.
    """
    length = _number(request, "Upload-Length")
    if length > longest:
        raise refusal(413, f"Upload-Length must not be more than {longest}")
    return length


def offset_of(request: Request) -> int:
    """Return the offset at which the request's part begins.

    :raises ApiError: 400.
    """
    return _number(request, "Upload-Offset")


def metadata_of(request: Request) -> str:
    """Return the client's metadata of a new upload, which are returned to it and not interpreted.

    :raises ApiError: 400.
    """
    metadata = request.headers.get("Upload-Metadata", "")
    if len(metadata) > MAX_METADATA or not _METADATA.fullmatch(metadata):
        raise refusal(400, f"Upload-Metadata must be pairs of a key and Base64, of at most {MAX_METADATA} bytes")
    return metadata


def checksum_of(request: Request) -> tuple[Any, bytes] | None:
    """Return a new hash for the request's part and the expected digest; None if the request has none.

    :raises ApiError: 400.
    """
    given = request.headers.get("Upload-Checksum")
    if given is None:
        return None
    name, _, encoded = given.partition(" ")
    try:
        hashed, wanted = ALGORITHMS[name](), base64.b64decode(encoded, validate=True)
    except (KeyError, ValueError):
        hashed, wanted = None, b""
    if hashed is None or len(wanted) != hashed.digest_size:
        allowed = ", ".join(ALGORITHMS)
        raise refusal(400, f"Upload-Checksum must be one of {allowed}, a space, and the checksum in Base64")
    return hashed, wanted


def told(state: State, expires: float) -> dict[str, str]:
    """Return the headers that describe an upload.

    :param expires: seconds since the epoch.
    """
    headers = {
        **RESUMABLE,
        "Upload-Offset": str(state.offset),
        "Upload-Length": str(state.partial.length),
        "Upload-Expires": formatdate(expires, usegmt=True),
    }
    return {**headers, "Upload-Metadata": state.partial.metadata} if state.partial.metadata else headers


def _number(request: Request, name: str) -> int:
    given = request.headers.get(name, "")
    if not _NUMBER.fullmatch(given):
        raise refusal(400, f"{name} must be there, and a number of bytes")
    return int(given)
