"""Responses of an appliance, with limits, as the appliance is not trusted."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from jidoteki.client.errors import ClientError, sentence

#: The longest response that is kept in memory; `download` is for longer ones.
MAX_ANSWER = 64 * 1024 * 1024
#: JSON takes up to thirty times its length in memory.
MAX_JSON = 8 * 1024 * 1024
#: Bytes per second: a response that is slower on average is abandoned.
SLOWEST = 16 * 1024
CHUNK = 256 * 1024
#: Only such a value of an appliance may become a part of a path.
_JOB = re.compile(r"[0-9]{1,9}-[a-z][a-z0-9-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response of the appliance.

    :param status: the HTTP status, 200 to 299.
    :param headers: by name, in any case.
    :param body: as it came.
    :param asked: the full path that was asked for, without the query.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    asked: str = ""

    @property
    def data(self) -> Any:
        """The JSON value of the body, or its text if it is not JSON or longer than 8 MiB."""
        text = self.body.decode("utf-8", "replace")
        try:
            return json.loads(text) if len(self.body) <= MAX_JSON else text
        except (ValueError, RecursionError):
            return text

    @property
    def location(self) -> str | None:
        """The path of the status of the job that the request started; None if it started none.

        :raises ClientError: the appliance names a path other than the requested one, which is not trusted.
        """
        named = self.named()
        for each in named:
            if each.rstrip("/") != self.asked.rstrip("/"):
                raise ClientError(
                    f"The appliance says that the job's status is at {sentence(each, 200)}, which is not what was "
                    f"asked for: name it yourself if your appliance's manual says so"
                )
        return named[0] if named else None

    @property
    def is_dry_run(self) -> bool:
        """Whether the appliance only checked the request, so that no job runs."""
        data = self.data
        return isinstance(data, dict) and data.get("dry-run") is True

    @property
    def job(self) -> str | None:
        """The id of the job that the request started, for `/jobs/ID`; None if it is not in the response."""
        id = self.headers.get("Job-Id", "") if self.status == 202 else ""
        return id if _JOB.fullmatch(id) else None

    def named(self) -> list[str]:
        """Return the paths of the job's status that the appliance names in the header and in the body."""
        data = self.data
        told = data.get("Location") if isinstance(data, dict) else None
        return [str(each) for each in (self.headers.get("Location"), told) if each]


class Pace:
    """The transfer rate of a response; one that is too slow is abandoned.

    :param patience: seconds that it may take, in addition to one for each 16 KiB.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._began = time.monotonic()
        self._received = 0

    def count(self, size: int) -> None:
        """Count received bytes.

        :raises ClientError: the response is too slow.
        """
        self._received += size
        if time.monotonic() - self._began > self._patience + self._received / SLOWEST:
            raise ClientError(f"The answer came more slowly than {SLOWEST // 1024} KiB a second on the whole")


async def chunks(response: aiohttp.ClientResponse, pace: Pace) -> AsyncIterator[bytes]:
    """Yield the body in chunks.

    :raises ClientError: the response is too slow.
    """
    async for chunk in response.content.iter_chunked(CHUNK):
        pace.count(len(chunk))
        yield chunk


async def read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Return the body; None when it is longer than `limit`."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


def reason(error: Exception, base: str) -> str:
    """Return why the response is missing or incomplete, in a sentence without the token or a hash."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"The certificate of {base} is not trusted: name the one to trust, or allow any"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{base} cannot be reached: {error.os_error.strerror or error.os_error}"
    if isinstance(error, TimeoutError):
        return f"{base} did not answer in time"
    # The text of such an error contains the whole URL, including the credential.
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"The connection to {base} was lost: {sentence(said, 200) or type(error).__name__}"
