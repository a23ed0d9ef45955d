"""What an appliance answered, as much of it as a client keeps: the appliance may be anybody's."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from jidoteki.client.problems import ClientProblem, sentence

#: An answer that is kept in memory; longer ones are for `download`.
MAX_ANSWER = 64 * 1024 * 1024
#: JSON takes up to thirty times its length in memory.
MAX_JSON = 8 * 1024 * 1024
#: Bytes a second: what is slower on the whole is given up.
SLOWEST = 16 * 1024
CHUNK = 256 * 1024
#: Nothing else that an appliance sends becomes a part of a path.
_JOB = re.compile(r"[0-9]{1,9}-[a-z][a-z0-9-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the appliance answered, errors aside.

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
        """The JSON value of the body, or its text where it is no JSON or longer than 8 MiB."""
        text = self.body.decode("utf-8", "replace")
        try:
            return json.loads(text) if len(self.body) <= MAX_JSON else text
        except (ValueError, RecursionError):
            return text

    @property
    def location(self) -> str | None:
        """Where to look how the job goes that the request started; None where it started none.

        :raises ClientProblem: the appliance names another path than was asked for, and is not followed.
        """
        named = self.named()
        for each in named:
            if each.rstrip("/") != self.asked.rstrip("/"):
                raise ClientProblem(
                    f"The appliance says that the job's status is at {sentence(each, 200)}, which is not what was "
                    f"asked for: name it yourself if your appliance's manual says so"
                )
        return named[0] if named else None

    @property
    def is_dry_run(self) -> bool:
        """Whether the appliance says that it only judged the request, so that no job runs."""
        data = self.data
        return isinstance(data, dict) and data.get("dry-run") is True

    @property
    def job(self) -> str | None:
        """The id of the job that the request started, which leads to `/jobs/ID`; None where it is not told."""
        id = self.headers.get("Job-Id", "") if self.status == 202 else ""
        return id if _JOB.fullmatch(id) else None

    def named(self) -> list[str]:
        """What the appliance says where to look, in the header and in the body."""
        data = self.data
        told = data.get("Location") if isinstance(data, dict) else None
        return [str(each) for each in (self.headers.get("Location"), told) if each]


class Pace:
    """How fast an answer comes; what trickles for ever is given up.

    :param patience: seconds that it may take, beside one for each 16 KiB.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._began = time.monotonic()
        self._received = 0

    def count(self, size: int) -> None:
        """Note that so many bytes came.

        :raises ClientProblem: they come too slowly.
        """
        self._received += size
        if time.monotonic() - self._began > self._patience + self._received / SLOWEST:
            raise ClientProblem(f"The answer came more slowly than {SLOWEST // 1024} KiB a second on the whole")


async def chunks(response: aiohttp.ClientResponse, pace: Pace) -> AsyncIterator[bytes]:
    """The body as it comes.

    :raises ClientProblem: it comes too slowly.
    """
    async for chunk in response.content.iter_chunked(CHUNK):
        pace.count(len(chunk))
        yield chunk


async def read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The body, None when it is longer than `limit`."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


def reason(error: Exception, base: str) -> str:
    """Why there was no whole answer, in a sentence that shows neither the token nor a hash."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"The certificate of {base} is not trusted: name the one to trust, or allow any"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{base} cannot be reached: {error.os_error.strerror or error.os_error}"
    if isinstance(error, TimeoutError):
        return f"{base} did not answer in time"
    # In words of its own such an error has the whole address, and with it what authenticates the request.
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"The connection to {base} was lost: {sentence(said, 200) or type(error).__name__}"
