"""One request over HTTP: its address with the credential, its body, and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from jidoteki.client import answers
from jidoteki.client.answers import CHUNK, SLOWEST
from jidoteki.client.errors import (
    ClientError,
    ConnectionLostError,
    UnreachableError,
    UntrustedError,
    response_error,
)
from jidoteki.client.forms import Form, Sent
from jidoteki.client.trust import trust
from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.credentials import request_hash

CONNECT_TIMEOUT = 15.0
MAX_URL = 8 * 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request that is to be made.

    :param accept: statuses of errors that the caller handles itself.
    :param bounded: whether the whole response to a GET must arrive within the timeout.
    :param content: a body in place of a form, of `size` bytes.
    """

    method: str
    path: str
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path | str] = field(default_factory=dict)
    on_sent: Sent | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    accept: tuple[int, ...] = ()
    bounded: bool = False
    content: AsyncIterator[bytes] | None = None
    size: int = 0


class Transport:
    """The connections to one appliance, at most eight at a time; the parameters are those of `Client`."""

    def __init__(
        self,
        url: str,
        token: str | None,
        cafile: Path | str | None,
        verify: bool,
        scheme: Literal["hash", "bearer", "token"],
        timeout: float,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ClientError(f"{url} is not an address such as https://HOST:8443")
        self.timeout = timeout
        self._base = url.partition("?")[0].rstrip("/").removesuffix(PREFIX)
        self._token = token
        self._scheme = scheme
        self._ssl = trust(cafile) if verify else False
        self._session: aiohttp.ClientSession | None = None

    def begin(self) -> None:
        """Make connections possible."""
        # A connection for each request: the original closes its own after the response without notice, and a POST
        # on a closed one cannot be repeated.
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=8, force_close=True)
        # Neither cookies nor compression are part of the API, and with both the appliance could exhaust memory.
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def end(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()
            self._session = None

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("A Client works within 'async with' alone")
        return self._session

    async def public(self, path: str) -> bytes:
        """Return what is at a path outside of the API, without a credential; nothing if it is not served, or too long.

        :raises UnreachableError: there was no whole answer.
        """
        timeout = aiohttp.ClientTimeout(total=self.timeout, sock_connect=CONNECT_TIMEOUT)
        try:
            async with self._open_session.get(
                URL(f"{self._base}{path}"),
                headers={"Accept-Encoding": "identity"},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                body = await answers.read(response, answers.MAX_JSON) if response.status == 200 else b""
                return body or b""
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(answers.reason(error, self._base)) from error

    @asynccontextmanager
    async def open(self, outgoing: Outgoing) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make a request once.

        :raises ClientError: as `Client.request` does.
        """
        method = outgoing.method
        with Form(outgoing.fields, outgoing.files, outgoing.on_sent) as form:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=self.timeout)
            data = form.data() if outgoing.fields or outgoing.files else outgoing.content
            try:
                async with (
                    asyncio.timeout(self.timeout + (form.size + outgoing.size) / SLOWEST) as patience,
                    self._open_session.request(
                        method, self._url(method, outgoing.path), data=data,
                        headers={**self._credential(), **outgoing.headers}, timeout=timeout, allow_redirects=False,
                    ) as response,
                ):  # fmt: skip
                    if not 200 <= response.status < 300 and response.status not in outgoing.accept:
                        body = await answers.read(response, CHUNK) or b""
                        raise response_error(response.status, response.headers, body)
                    if method == "GET" and not outgoing.bounded:
                        patience.reschedule(None)
                    yield response
            except (aiohttp.ClientError, TimeoutError) as error:
                raise _kind(error)(answers.reason(error, self._base)) from error

    def _url(self, method: str, path: str) -> URL:
        if not path.isascii() or not path.isprintable() or " " in path:
            raise ClientError(f"{path!r} is not a path: other characters than ASCII must be percent-encoded")
        if len(path) > MAX_URL:
            raise ClientError(f"The path is longer than {MAX_URL} characters")
        path, _, query = path.partition("?")
        path = full_path(path)
        shown = ""
        if self._token is not None and self._scheme == "hash":
            shown = f"hash={request_hash(method, path, self._token)}"
        elif self._token is not None and self._scheme == "token":
            shown = str(URL.build(query={"token": self._token})).removeprefix("?")
        asked = "&".join(each for each in (shown, query) if each)
        # Unchanged: the hash was made for exactly this spelling of the path.
        return URL(f"{self._base}{path}{'?' if asked else ''}{asked}", encoded=True)

    def _credential(self) -> dict[str, str]:
        if self._token is not None and self._scheme == "bearer":
            return {"Authorization": f"Bearer {self._token}"}
        return {}


def _kind(error: Exception) -> type[UnreachableError]:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return UntrustedError
    return UnreachableError if isinstance(error, TimeoutError | aiohttp.ClientConnectorError) else ConnectionLostError


def full_path(path: str) -> str:
    """Return a path with the prefix."""
    path = "/" + path.lstrip("/")
    return path if path.startswith(PREFIX + "/") else PREFIX + path
