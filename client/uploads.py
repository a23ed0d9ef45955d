"""Big files, sent so that a broken line costs what was under way alone: tus 1.0.0, where an appliance serves it.

A file is found again by what its sender called it, so that a later call goes on with what an earlier one began.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol

import aiohttp

from jidoteki.client.answers import Answer
from jidoteki.client.errors import ApiResponseError, ClientError, UnreachableError
from jidoteki.client.forms import Sent

#: Smaller files are sent in the form: that is one request.
BIG: Final = 8 * 1024 * 1024
#: Bytes of one request.
PIECE: Final = 64 * 1024 * 1024
CHUNK: Final = 256 * 1024
#: Tries in a row that bring nothing.
TRIES: Final = 8
LONGEST_PAUSE: Final = 8.0
PATH: Final = "/uploads"
TUS: Final = {"Tus-Resumable": "1.0.0"}
_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
#: What an appliance answers that does not take an upload, but may take a form.
_NOT_HERE: Final = (400, 403, 404, 405, 412, 429, 503)


class Api(Protocol):
    """The part of a Client that an upload needs."""

    def open(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: AsyncIterator[bytes] | None = None,
        size: int = 0,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Make a request."""

    async def fetch(self, method: str, path: str, *, headers: Mapping[str, str]) -> Answer:
        """Make a request and read its answer."""


async def serves(api: Api) -> bool:
    """Whether an appliance takes uploads of this credential, which may have no scope for `/endpoints`."""
    try:
        told = (await api.fetch("GET", PATH, headers=TUS)).data
    except ClientError:
        return False
    return isinstance(told, dict) and isinstance(told.get("uploads"), list)


async def send(api: Api, file: Path, on_sent: Sent | None) -> str | None:
    """Send a file, or the rest of it, and return what names it in a form; None where that is not possible here.

    :raises UnreachableError: the appliance was not to be reached for a while.
    :raises OSError: the file cannot be read.
    """
    length, metadata = await asyncio.to_thread(_described, file)
    try:
        id = await _begun(api, length, metadata) or await _begin(api, length, metadata)
        if id is None:
            return None
        await _send(api, id, file, length, on_sent)
    except ApiResponseError as error:
        if error.status in _NOT_HERE:
            return None
        raise
    return f"upload:{id}"


async def forget(api: Api, named: str) -> None:
    """Delete an upload that is of no use."""
    with suppress(ClientError):
        await api.fetch("DELETE", f"{PATH}/{named.removeprefix('upload:')}", headers=TUS)


def _described(file: Path) -> tuple[int, str]:
    """The length of a file, and what it is called."""
    status = file.stat()
    identity = f"{file.absolute()} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    fingerprint = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    named = {"filename": file.name.encode("utf-8", "surrogateescape")[:200], "fingerprint": fingerprint.encode()}
    return status.st_size, ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in named.items())


async def _begun(api: Api, length: int, metadata: str) -> str | None:
    """The upload of the same file that an earlier call began."""
    told = (await api.fetch("GET", PATH, headers=TUS)).data
    for each in told.get("uploads", ()) if isinstance(told, dict) else ():
        if isinstance(each, dict) and (each.get("metadata"), each.get("length")) == (metadata, length):
            return _id(each.get("id"))
    return None


async def _begin(api: Api, length: int, metadata: str) -> str | None:
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata}
    answer = await api.fetch("POST", PATH, headers=headers)
    return _id(answer.headers.get("Location", "").rpartition("/")[2])


def _id(told: Any) -> str | None:
    """Nothing else that an appliance sends becomes a part of a path."""
    return told if isinstance(told, str) and _ID.fullmatch(told) else None


async def _send(api: Api, id: str, path: Path, length: int, on_sent: Sent | None) -> None:
    tries, furthest = 0, -1
    with await asyncio.to_thread(path.open, "rb") as file:
        while True:
            lost: ClientError = UnreachableError("The appliance has less of the file each time")
            try:
                offset = await _offset(api, id, length)
                if on_sent:
                    on_sent(offset)
                if offset == length:
                    return
                tries, furthest = (0, offset) if offset > furthest else (tries + 1, furthest)
                await _piece(api, id, file, offset, min(PIECE, length - offset), on_sent)
                continue
            except UnreachableError as error:
                lost = error
            except ApiResponseError as error:
                if error.status not in (408, 409, 503):
                    raise
                lost = error
            tries += 1
            if tries >= TRIES:
                raise lost
            await asyncio.sleep(min(LONGEST_PAUSE, 0.25 * 2**tries))


async def _offset(api: Api, id: str, length: int) -> int:
    told = (await api.fetch("GET", f"{PATH}/{id}", headers=TUS)).headers.get("Upload-Offset", "")
    if not _NUMBER.fullmatch(told) or int(told) > length:
        raise ClientError("The appliance does not say how much of the file it has")
    return int(told)


async def _piece(api: Api, id: str, file: IO[bytes], offset: int, size: int, on_sent: Sent | None) -> None:
    headers = {
        **TUS,
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(size),
    }
    content = _content(file, offset, size, on_sent)
    async with api.open("PATCH", f"{PATH}/{id}", headers=headers, content=content, size=size):
        pass


async def _content(file: IO[bytes], offset: int, size: int, on_sent: Sent | None) -> AsyncIterator[bytes]:
    await asyncio.to_thread(file.seek, offset)
    end = offset + size
    while offset < end:
        chunk = await asyncio.to_thread(file.read, min(CHUNK, end - offset))
        if not chunk:
            raise ClientError("The file became shorter while it was sent")
        yield chunk
        offset += len(chunk)
        if on_sent:
            on_sent(offset)
