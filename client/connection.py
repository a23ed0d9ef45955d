"""The client: authenticated requests, at most eight at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp

from jidoteki.client import answers, confirming, downloads, events, jobs, repeating, uploads
from jidoteki.client.answers import MAX_ANSWER, Answer
from jidoteki.client.errors import ApiResponseError, ClientError
from jidoteki.client.events import Event
from jidoteki.client.transport import Outgoing, Transport, full_path

DAY = 24 * 3600.0
#: Bytes of a job's status, its log included.
MAX_STATUS = 4 * 1024 * 1024
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
        self._transport = Transport(url, token, cafile, verify, scheme, timeout)
        self._at = partial(Client, token=token, cafile=cafile, verify=verify, scheme=scheme, timeout=timeout)
        #: What is known of the appliance once it was asked.
        self._serves_uploads: bool | None = None
        self._jobs = jobs.Started(self)

    async def __aenter__(self) -> Self:
        self._transport.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._jobs.end()
        await self._transport.end()

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
        self._jobs.note(answer)
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
        outgoing = Outgoing(
            method, path, fields or {}, files or {}, on_sent, headers or {}, accept, bounded, content, size
        )
        async with self._repeated(outgoing) if method == "POST" else self._transport.open(outgoing) as response:
            yield response

    @asynccontextmanager
    async def _repeated(self, outgoing: Outgoing) -> AsyncIterator[aiohttp.ClientResponse]:
        """A POST, made again where its connection is lost."""
        ready, sent = await self._sent_before(outgoing)

        def attempt(more: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
            return self._transport.open(replace(ready, headers={**ready.headers, **more}))

        async with AsyncExitStack() as stack:
            try:
                response = await repeating.enter(stack, attempt, self._knows_keys, self._transport.timeout)
            except ApiResponseError as error:
                if error.code != BUSY:
                    for each in sent:
                        await uploads.forget(self, each)
                raise
            yield response

    async def _sent_before(self, outgoing: Outgoing) -> tuple[Outgoing, list[str]]:
        """A request once its big files were sent, and what names those in its form."""
        named: dict[str, str] = {}
        for name, path in ((name, Path(path)) for name, path in outgoing.files.items()):
            if (await asyncio.to_thread(path.stat)).st_size < uploads.BIG:
                continue
            if self._serves_uploads is None:
                self._serves_uploads = await uploads.serves(self)
            if self._serves_uploads and (upload := await uploads.send(self, path, outgoing.on_sent)):
                named[name] = upload
        left = {name: path for name, path in outgoing.files.items() if name not in named}
        return replace(outgoing, fields={**outgoing.fields, **named}, files=left), list(named.values())

    async def _knows_keys(self) -> bool:
        """Whether the appliance says in its own description that it knows what an `Idempotency-Key` is."""
        return repeating.HEADER.encode() in await self._transport.public(DOCUMENT)

    def chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Return the body of an answer of `open` as it comes; one that trickles for ever is given up.

        :raises ClientError: the response is too slow.
        """
        return answers.chunks(response, answers.Pace(self._transport.timeout))

    async def wait(
        self,
        path: str,
        on_progress: Callable[[Mapping[str, Any]], None] | None = None,
        *,
        seconds: float = DAY,
        interval: float = 0.5,
    ) -> Mapping[str, Any]:
        """Follow a job to its end and return its last status.

        The service may be restarted at the same time: lost connections are retried for two minutes, and for half an
        hour after the job said that the appliance restarts.

        :param path: the path of the request, such as `/update`: the job that this client's last request there started
            is followed at `/jobs/ID`, if that is served, else at the path itself. A `Location` in a response is
            followed only if it is the path of the request.
        :param on_progress: called with each status that differs from the one before.
        :param seconds: how long to wait at most; by default a day.
        :param interval: seconds before each look.
        :raises JobOutcomeError: it did not end with success, or not in time, or nothing is told of it.
        :raises ClientError: as `request` does, or the path is one to which the appliance alone would lead.
        """
        if self._jobs.is_foreign(path):
            raise ClientError("The appliance names a path that was not asked for: its job is not followed there")
        job = self._jobs.last_of(full_path(path))
        told = self._jobs.events_of(job)
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
        if place is not None and self._jobs.is_foreign(place):
            place = None
        told = self._jobs.events_of(answer.job)
        return await jobs.follow(jobs.looking(self._shown, answer.job, place), on_progress, DAY, 0.5, told)

    async def confirm(self, path: str, *, seconds: float | None = None, interval: float = 1.0) -> Answer:
        """Confirm a change that was made with `confirm=N` in the query, as soon as it is complete.

        :param path: of the request that made the change, such as `/settings?confirm=90`.
        :param seconds: how long to try at most, also where the appliance cannot be reached; by default a minute
            longer than the path's `confirm=N`, or than an hour without it, since the change was last being made.
        :raises ApiResponseError: nothing waits for a confirmation, or not any more.
        :raises ClientError: as `request` does.
        """
        return await confirming.confirm(self, path, seconds, interval)

    def at(self, url: str) -> Client:
        """Return a client of the same appliance at another address, with the same credential."""
        return self._at(url)

    async def listen(self) -> None:
        """Follow the events before a request whose job is waited for, where they are served.

        So the end of a job is known that replaces the certificate of the appliance by one that is not trusted here.
        """
        await self._jobs.listen()

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
        limits = downloads.Limits(self._transport.timeout, max_size)
        return await downloads.download(self, path, Path(target), on_progress, limits)
