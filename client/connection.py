"""The client: authenticated requests, at most eight at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from jidoteki.client import answers, downloads, events, jobs, repeating, uploads
from jidoteki.client.answers import CHUNK, MAX_ANSWER, SLOWEST, Answer
from jidoteki.client.errors import (
    ApiResponseError,
    ClientError,
    ConnectionLostError,
    UnreachableError,
    UntrustedError,
    response_error,
)
from jidoteki.client.events import Event, JobEvents
from jidoteki.client.forms import Form, Sent
from jidoteki.client.trust import trust
from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.credentials import request_hash

CONNECT_TIMEOUT = 15.0
DAY = 24 * 3600.0
#: Bytes of a job's status, its log included.
MAX_STATUS = 4 * 1024 * 1024
MAX_URL = 8 * 1024
#: Where an appliance describes itself.
DOCUMENT = "/docs/openapi.json"
#: The code of a request that may be made again once a job has ended.
BUSY = "E1004"


class Client:
    """A client of one appliance, to be used with `async with`.

    :param url: `https://HOST:PORT`, with or without `/api/v1/admin` after it.
    :param token: the API token; None for requests that need none, such as the first setup.
    :param cafile: a PEM file of trusted certificates, as curl's `--cacert`; by default those of the system.
    :param verify: False trusts any certificate, as curl's `--insecure`.
    :param scheme: how to authenticate: `hash` sends a hash of the token, `bearer` and `token` the token itself.
    :param timeout: seconds to wait for a response once the request is sent; some, such as to a restore, take long.
    :raises ClientError: the URL is invalid, or the file contains no certificates.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        cafile: Path | str | None = None,
        verify: bool = True,
        scheme: Literal["hash", "bearer", "token"] = "hash",
        timeout: float = 600.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ClientError(f"{url} is not an address such as https://HOST:8443")
        self._base = url.partition("?")[0].rstrip("/").removesuffix(PREFIX)
        self._token = token
        self._scheme = scheme
        self._timeout = timeout
        self._ssl = trust(cafile) if verify else False
        self._session: aiohttp.ClientSession | None = None
        #: What is known of the appliance once it was asked.
        self._serves_uploads: bool | None = None
        #: Paths that an appliance named as a job's status without being asked for them: not to be followed.
        self._foreign: deque[str] = deque(maxlen=64)
        #: The last jobs that this client's requests started, and their paths.
        self._started: deque[tuple[str, str]] = deque(maxlen=64)
        #: The events that began before the request whose job is waited for next.
        self._listening: JobEvents | None = None

    async def __aenter__(self) -> Self:
        # A connection for each request: the original closes its own after the response without notice, and a POST
        # on a closed one cannot be repeated.
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=8, force_close=True)
        # Neither cookies nor compression are part of the API, and with both the appliance could exhaust memory.
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._listening:
            await self._listening.end()
        if self._session:
            await self._session.close()
            self._session = None

    async def get(self, path: str) -> Any:
        """Return the response to `GET PATH`: the JSON value, or the text if it is not JSON.

        :param path: such as `/version`, with a query or without.
        :raises ClientError: as `request` does.
        """
        return (await self.request("GET", path)).data

    async def post(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        files: Mapping[str, Path | str] | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> Any:
        """Return the response to `POST PATH`, as `get` does; files are streamed from disk.

        :param fields: texts by name.
        :param files: paths of files by name.
        :param on_sent: told how many bytes of the files are sent so far.
        :raises ClientError: as `request` does.
        """
        return (await self.request("POST", path, fields, files, on_sent)).data

    async def request(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        files: Mapping[str, Path | str] | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> Answer:
        """Make a request and return its response of at most 64 MiB.

        :param path: with or without the prefix, with a query or without.
        :param fields: texts by name.
        :param files: paths of files by name.
        :param on_sent: told how many bytes of the files are sent so far.
        :raises ApiResponseError: the answer is an error.
        :raises UnreachableError: there was no whole answer.
        :raises ClientError: the answer is too long.
        :raises OSError: a file cannot be read.
        """
        answer = await self._fetch(method, path, fields, files, on_sent)
        if answer.status == 202:
            self._foreign.extend(each for each in answer.named() if each.rstrip("/") != answer.asked.rstrip("/"))
            if answer.job:
                self._started.appendleft((answer.asked.rstrip("/"), answer.job))
        return answer

    async def _fetch(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        files: Mapping[str, Path | str] | None = None,
        on_sent: Callable[[int], None] | None = None,
        limit: int = MAX_ANSWER,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        async with self.open(method, path, fields, files, on_sent, headers, bounded=True) as response:
            body = await answers.read(response, limit)
            if body is None:
                raise ClientError(f"The answer is longer than {limit} bytes: download it to a file")
            return Answer(response.status, response.headers, body, full_path(path.partition("?")[0]))

    async def fetch(self, method: str, path: str, *, headers: Mapping[str, str]) -> Answer:
        """Make a request with further headers and return its answer, as `request` does."""
        return await self._fetch(method, path, headers=headers, limit=MAX_STATUS)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        files: Mapping[str, Path | str] | None = None,
        on_sent: Callable[[int], None] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
        bounded: bool = False,
        content: AsyncIterator[bytes] | None = None,
        size: int = 0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make a request whose answer is read chunk by chunk within `async with api.open(…) as response`.

        A POST whose connection is lost is made again, where the appliance does not do again what it did; big files are
        sent beforehand where it can go on with those that were broken off.

        :param content: a body in place of a form, of `size` bytes.
        :param accept: statuses of errors that the caller handles itself.
        :param bounded: whether the whole response to a GET must arrive within the timeout; else only its beginning, and
            the caller reads the rest with `chunks`.
        :raises ClientError: as `request` does.
        """
        if method != "POST":
            async with self._open(
                method, path, fields, files, on_sent, headers, accept, bounded, content, size
            ) as response:
                yield response
            return
        fields, files, sent = await self._sent_before(fields or {}, files or {}, on_sent)

        def attempt(more: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
            return self._open(method, path, fields, files, on_sent, {**(headers or {}), **more}, accept, bounded)

        async with AsyncExitStack() as stack:
            try:
                response = await repeating.enter(stack, attempt, self._knows_keys, self._timeout)
            except ApiResponseError as error:
                if error.code != BUSY:
                    for each in sent:
                        await uploads.forget(self, each)
                raise
            yield response

    async def _sent_before(
        self, fields: Mapping[str, str], files: Mapping[str, Path | str], on_sent: Sent | None
    ) -> tuple[Mapping[str, str], Mapping[str, Path | str], list[str]]:
        """The fields and the files of a form once its big files were sent, and what names those."""
        named: dict[str, str] = {}
        for name, path in ((name, Path(path)) for name, path in files.items()):
            if (await asyncio.to_thread(path.stat)).st_size < uploads.BIG:
                continue
            if self._serves_uploads is None:
                self._serves_uploads = await uploads.serves(self)
            if self._serves_uploads and (upload := await uploads.send(self, path, on_sent)):
                named[name] = upload
        left = {name: path for name, path in files.items() if name not in named}
        return {**fields, **named}, left, list(named.values())

    async def _knows_keys(self) -> bool:
        """Whether the appliance says in its own description that it knows what an `Idempotency-Key` is."""
        if self._session is None:
            return False
        timeout = aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_TIMEOUT)
        try:
            async with self._session.get(
                URL(f"{self._base}{DOCUMENT}"), timeout=timeout, allow_redirects=False
            ) as response:
                body = await answers.read(response, answers.MAX_JSON) if response.status == 200 else b""
                return repeating.HEADER.encode() in (body or b"")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnreachableError(answers.reason(error, self._base)) from error

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None,
        files: Mapping[str, Path | str] | None,
        on_sent: Sent | None,
        headers: Mapping[str, str] | None,
        accept: tuple[int, ...],
        bounded: bool,
        content: AsyncIterator[bytes] | None = None,
        size: int = 0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("A Client works within 'async with' alone")
        with Form(fields or {}, files or {}, on_sent) as form:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=self._timeout)
            data = form.data() if fields or files else content
            try:
                async with (
                    asyncio.timeout(self._timeout + (form.size + size) / SLOWEST) as patience,
                    self._session.request(
                        method, self._url(method, path), data=data,
                        headers={**self._credential(), **(headers or {})}, timeout=timeout, allow_redirects=False,
                    ) as response,
                ):  # fmt: skip
                    if not 200 <= response.status < 300 and response.status not in accept:
                        body = await answers.read(response, CHUNK) or b""
                        raise response_error(response.status, response.headers, body)
                    if method == "GET" and not bounded:
                        patience.reschedule(None)
                    yield response
            except (aiohttp.ClientError, TimeoutError) as error:
                raise _kind(error)(answers.reason(error, self._base)) from error

    def chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Return the body of an answer of `open` as it comes; one that trickles for ever is given up.

        :raises ClientError: the response is too slow.
        """
        return answers.chunks(response, answers.Pace(self._timeout))

    async def wait(
        self,
        path: str,
        on_progress: Callable[[Mapping[str, Any]], None] | None = None,
        *,
        seconds: float = DAY,
        interval: float = 0.5,
    ) -> Mapping[str, Any]:
        """Follow a job to its end and return its last status.

        The service may be restarted at the same time: lost connections are retried for two minutes.

        :param path: the path of the request, such as `/update`: the job that this client's last request there started
            is followed at `/jobs/ID`, if that is served, else at the path itself. A `Location` in a response is
            followed only if it is the path of the request.
        :param on_progress: called with each status that differs from the one before.
        :param seconds: how long to wait at most; by default a day.
        :param interval: seconds before each look.
        :raises JobOutcomeError: it did not end with success, or not in time, or nothing is told of it.
        :raises ClientError: as `request` does, or the path is one to which the appliance alone would lead.
        """
        if path in self._foreign:
            raise ClientError("The appliance names a path that was not asked for: its job is not followed there")
        asked = full_path(path).rstrip("/")
        job = next((id for started, id in self._started if started == asked), None)
        told = self._told(job)
        return await jobs.follow(jobs.looking(self._shown, job, path), on_progress, seconds, interval, told)

    async def wait_for(
        self, answer: Answer, on_progress: Callable[[Mapping[str, Any]], None] | None = None
    ) -> Mapping[str, Any]:
        """Follow the job that a request started to its end, as `wait` does; a dry run has ended already.

        :raises JobOutcomeError: as `wait` does, or the appliance does not show the job's status.
        """
        if answer.is_dry_run:
            return dict(answer.data)
        place = answer.location if answer.job is None else next(iter(answer.named()), None)
        if place is not None and place in self._foreign:
            place = None
        told = self._told(answer.job)
        return await jobs.follow(jobs.looking(self._shown, answer.job, place), on_progress, DAY, 0.5, told)

    async def listen(self) -> None:
        """Follow the events before a request whose job is waited for, where they are served.

        So the end of a job is known that replaces the certificate of the appliance by one that is not trusted here.
        """
        self._listening = JobEvents(self)
        await self._listening.begun()

    def _told(self, job: str | None) -> JobEvents | None:
        """The events of a job, those that began before its request if there are such."""
        told, self._listening = self._listening, None
        if job is None:
            return told
        told = told or JobEvents(self)
        told.tell_of(job)
        return told

    def events(self, last: str = "", on_lost: Callable[[], None] | None = None) -> AsyncGenerator[Event]:
        """Return what happens on the appliance, event by event, without end.

        A connection that is lost is made again for two minutes, and the appliance goes on where it was; it says `reset`
        and what its state is where it does not know that any more.

        :param last: the id of the last event that is known already.
        :param on_lost: called each time that the connection is lost, or could not be made again.
        :raises ApiResponseError: 404, the appliance serves no events; or as `request` does.
        :raises ClientError: as `request` does, or what it sends are no events.
        """
        return events.follow(self, last, on_lost)

    async def _shown(self, path: str) -> Any:
        return (await self._fetch("GET", path, limit=MAX_STATUS)).data

    async def download(
        self,
        path: str,
        target: Path | str,
        on_progress: Callable[[int, int | None], None] | None = None,
        *,
        max_size: int | None = None,
    ) -> Path:
        """Download to a file, which is there only once it is whole, and return its path.

        After a lost connection the download is resumed from `TARGET.part`, in this or a later call, as long as the
        appliance still has the same file.

        :param on_progress: called with the bytes received and the total, None if that is unknown.
        :param max_size: largest size in bytes; by default as much as leaves 256 MiB free, or 1 GiB if the appliance
            does not send the size in advance.
        :raises ClientError: as `request` does, or it is too long or too slow.
        :raises OSError: the file cannot be written.
        """
        limits = downloads.Limits(self._timeout, max_size)
        return await downloads.download(self, path, Path(target), on_progress, limits)

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
