"""A client that talks to an appliance that means harm: it signs nothing that was not asked for, and nothing fills."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pty
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from jidoteki.client import ApiResponseError, Client, ClientError, JobOutcomeError, UnreachableError, answers, downloads
from jidoteki.hookspecs import PREFIX
from jidoteki.testing.fixtures import TOKEN
from jidoteki.testing.host import COMMAND

MIB = 1024 * 1024
ESCAPES = "\x1b]0;owned\x07\x1b[2Jgone\r\x9b31m\u202etxt\n\x00end"


class Hostile:
    """Answers everything with one handler, and notes what was asked for."""

    def __init__(self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        self.handler = handler
        self.asked: list[str] = []
        self.cookies: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        self.cookies.append(request.headers.get("Cookie"))
        return await self.handler(request)


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[tuple[str, Hostile]]:
    hostile = Hostile(handler)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hostile.answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/"), hostile


@asynccontextmanager
async def speaking(pieces: Callable[[], Iterator[bytes]]) -> AsyncIterator[str]:
    """A server that sends bytes as they are, whatever HTTP says, for as long as anybody takes them."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces():
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def call(url: str, *arguments: str | Path, out: int = subprocess.PIPE) -> tuple[int, str, str]:
    """`jidoteki call`: its exit status and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "call", *arguments, "--url", url, "--timeout", "5", stdin=subprocess.DEVNULL, stdout=out,
        stderr=subprocess.PIPE, env={**os.environ, "JIDOTEKI_TOKEN": TOKEN},
    )  # fmt: skip
    told, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, (told or b"").decode(), errors.decode()


@contextmanager
def bounded_memory(limit: int) -> Iterator[None]:
    """What is done meanwhile takes no more bytes than that at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


PLACES = [
    f"{PREFIX}/reboot",
    f"{PREFIX}/tokens",
    f"{PREFIX}/backup/download",
    f"{PREFIX}/update/log",
    f"{PREFIX}/update?token=x",
    f"{PREFIX}/update#",
    f"{PREFIX}/update/../reboot",
    f"{PREFIX}/updat%65",
    "/reboot",
    "reboot",
    "update",
    "/",
    "//127.0.0.2/api/v1/admin/update",
    "http://127.0.0.2/api/v1/admin/update",
    "https://evil.example/api/v1/admin/update",
    "/api/v1/admin/update\x1b[2J",
    "file:///etc/passwd",
    "x" * 8000,
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("where", ["header", "body", "both"])
async def test_no_location_but_that_of_the_request_is_followed(place: str, where: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        headers = {"Location": place} if where != "body" and place.isprintable() else {}
        said = f"{PREFIX}/update" if where == "header" else place
        return web.json_response(
            {"Status": "202 Accepted", "Location": said, "status": "success"}, status=202, headers=headers
        )

    async with serving(answer) as (url, hostile), Client(url, TOKEN) as api:
        started = await api.request("POST", "/update", {"a": "1"})
        if where == "body" or place.isprintable():
            with pytest.raises(ClientError, match="which is not what was asked for"):
                assert started.location is None
            with pytest.raises(ClientError):
                await api.wait(place, interval=0.01)

    assert hostile.asked == [f"POST {PREFIX}/update"]


async def test_the_command_does_not_follow_where_it_was_not_sent() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"Location": f"{PREFIX}/reboot\x1b[2J"}, status=202)

    async with serving(answer) as (url, hostile):
        status, told, errors = await call(url, "POST", "/update", "-F", "a=1", "--wait")

    assert (status, told) == (1, "")
    assert "/reboot" in errors and "not what was asked for" in errors and "\x1b" not in errors
    assert hostile.asked == [f"GET {PREFIX}/events", f"POST {PREFIX}/update"]


async def test_the_location_of_the_request_and_a_place_that_was_named_by_hand_are_followed() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"status": "success", "at": request.path})
        return web.json_response({"Location": request.path}, status=202, headers={"Location": request.path})

    async with serving(answer) as (url, hostile):
        _, first, _ = await call(url, "POST", "/update?dry-run=1", "--wait")
        _, second, _ = await call(url, "POST", "/own/start", "--wait", "--status", "/own")

    assert [json.loads(each)["at"] for each in (first, second)] == [f"{PREFIX}/update", f"{PREFIX}/own"]
    assert [each for each in hostile.asked if not each.endswith("/events")] == [
        f"POST {PREFIX}/update", f"GET {PREFIX}/update", f"POST {PREFIX}/own/start", f"GET {PREFIX}/own",
    ]  # fmt: skip


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_redirect_is_followed(status: int, method: str, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": f"{PREFIX}/reboot"})

    async with serving(answer) as (url, hostile), Client(url, TOKEN) as api:
        with pytest.raises(ApiResponseError):
            await api.request(method, "/update")
        with pytest.raises(ApiResponseError):
            await api.download("/logs", tmp_path / "logs")
        with pytest.raises(ApiResponseError):
            await api.wait("/update", interval=0.01)

    assert hostile.asked == [f"{method} {PREFIX}/update", f"GET {PREFIX}/logs", f"GET {PREFIX}/update"]


async def test_no_cookie_is_kept() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, headers={"Set-Cookie": f"a{len(request.path)}={'x' * 4000}; Max-Age=9999999"})

    async with serving(answer) as (url, hostile), Client(url, TOKEN) as api:
        for _ in range(3):
            await api.get("/version")

    assert hostile.cookies == [None, None, None]


async def test_a_retry_after_of_a_year_is_not_waited_for(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "31536000"})

    began = time.monotonic()
    async with serving(answer) as (url, _), Client(url, TOKEN) as api:
        with pytest.raises(ApiResponseError):
            await api.get("/version")
        with pytest.raises(ApiResponseError):
            await api.download("/logs", tmp_path / "logs")
        with pytest.raises(JobOutcomeError, match="did not end within 1 seconds"):
            await api.wait("/update", seconds=1, interval=0.1)

    assert time.monotonic() - began < 10
    assert list(tmp_path.iterdir()) == []


def body_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    yield from itertools.repeat(b'"' + b"x" * MIB)


def error_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 500 Oh\r\n\r\n"
    yield from itertools.repeat(b"x" * MIB)


def headers_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    yield from (b"X-%d: %b\r\n" % (number, b"y" * 4000) for number in itertools.count())


def header_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    yield from itertools.repeat(b"y" * MIB)


def status_line_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 "
    yield from itertools.repeat(b"O" * MIB)


def interim_answers_without_end() -> Iterator[bytes]:
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def chunk_extension_without_end() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x="
    yield from itertools.repeat(b"y" * MIB)


def deep_json() -> Iterator[bytes]:
    body = b"[" * (4 * MIB)
    yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def many_lists() -> Iterator[bytes]:
    body = b"[" + b"[]," * (20 * MIB) + b"0]"
    yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


ENDLESS = [
    body_without_end,
    error_without_end,
    headers_without_end,
    header_without_end,
    status_line_without_end,
    interim_answers_without_end,
    chunk_extension_without_end,
    deep_json,
    many_lists,
]


@pytest.mark.parametrize("pieces", ENDLESS)
async def test_whatever_comes_is_bounded_in_memory_and_time(pieces: Callable[[], Iterator[bytes]]) -> None:
    began = time.monotonic()

    with bounded_memory(300 * MIB):
        async with speaking(pieces) as url, Client(url, TOKEN, timeout=3) as api:
            for ask in (api.get("/version"), api.wait("/update", interval=0.01, seconds=0.5)):
                told = (await asyncio.gather(ask, return_exceptions=True))[0]
                assert isinstance(told, ClientError | str)
                assert isinstance(told, str) or (str(told).isprintable() and len(str(told)) < 1200)

    assert time.monotonic() - began < 25


async def test_a_download_without_end_is_ended_and_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(downloads, "MAX_UNTOLD", 20 * MIB)
    async with speaking(body_without_end) as url, Client(url, TOKEN, timeout=3) as api:
        with pytest.raises(ClientError, match=f"has more than {20 * MIB} bytes"):
            await api.download("/logs", tmp_path / "logs")

    assert list(tmp_path.iterdir()) == []


async def test_a_download_longer_than_was_allowed_is_refused(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1000)

    async with serving(answer) as (url, hostile), Client(url, TOKEN) as api:
        with pytest.raises(ClientError, match="has more than 999 bytes"):
            await api.download("/logs", tmp_path / "logs", max_size=999)
        await api.download("/logs", tmp_path / "logs", max_size=1000)

    assert (tmp_path / "logs").stat().st_size == 1000
    assert len(hostile.asked) == 2


async def test_a_download_never_takes_the_last_of_the_disk(tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    declared = room.f_bavail * room.f_frsize - downloads.RESERVE + 64 * MIB

    def pieces() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % declared
        yield from itertools.repeat(b"x" * MIB)

    async with speaking(pieces) as url, Client(url, TOKEN, timeout=3) as api:
        with pytest.raises(ClientError, match="too little room"):
            await api.download("/logs", tmp_path / "logs")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "range_", ["bytes 0-9/10", "bytes 5-9/" + "9" * 5000, "bytes 99-99/100", "bytes x", "bytes ٥-9/10", "bytes 5-5/6"]
)
async def test_a_part_that_is_not_the_rest_never_goes_round_for_ever(tmp_path: Path, range_: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=206, body=b"x" * 20, headers={"Content-Range": range_, "ETag": '"one"'})

    (tmp_path / "logs.part").write_bytes(b"01234")
    (tmp_path / "logs.part.tag").write_text('"one"')
    async with serving(answer) as (url, hostile), Client(url, TOKEN) as api:
        with pytest.raises(ClientError):
            await asyncio.wait_for(api.download("/logs", tmp_path / "logs"), 60)

    assert len(hostile.asked) <= 10
    assert not (tmp_path / "logs").exists()


async def test_another_file_at_each_try_is_given_up(tmp_path: Path) -> None:
    tries = itertools.count(1)

    async def answer(request: web.Request) -> web.StreamResponse:
        number = next(tries)
        response = web.StreamResponse(headers={"Content-Length": "1000000", "ETag": f'"{number}"'})
        await response.prepare(request)
        await response.write(b"x" * 1000 * number)
        assert request.transport
        request.transport.close()
        return response

    async with serving(answer) as (url, hostile), Client(url, TOKEN) as api:
        with pytest.raises(ClientError):
            await asyncio.wait_for(api.download("/logs", tmp_path / "logs"), 60)

    assert len(hostile.asked) <= 10


async def test_a_download_that_trickles_is_given_up(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)

    async with serving(answer) as (url, _), Client(url, TOKEN, timeout=0.5) as api:
        with pytest.raises(ClientError, match="more slowly than 16 KiB a second"):
            await asyncio.wait_for(api.download("/logs", tmp_path / "logs"), 30)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "..", "evil\x00", "~/.ssh/authorized_keys", "a" * 3000])
async def test_the_name_that_an_appliance_gives_a_file_means_nothing(tmp_path: Path, name: str) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Disposition: attachment; filename="%b"\r\n' % (
            name.replace("\x00", "").encode()
        )
        yield b'ETag: "../../evil"\r\nLast-Modified: ../evil\r\n\r\nhi'

    directory = tmp_path / "in"
    directory.mkdir()
    async with speaking(pieces) as url, Client(url, TOKEN) as api:
        await api.download("/logs", directory / "logs")

    assert [path.name for path in directory.iterdir()] == ["logs"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def error_of(told: dict[str, Any]) -> Callable[[], Iterator[bytes]]:
    body = json.dumps(told, ensure_ascii=False).encode()
    return lambda: iter([b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(body), body])


@pytest.mark.parametrize(
    "pieces",
    [
        error_of({"Error-Message": ESCAPES, "error-code": ESCAPES}),
        error_of({"Error-Message": "x" * 200_000, "error-code": "y" * 9_000}),
        error_of({"Status": [ESCAPES]}),
        lambda: iter([b"HTTP/1.1 500 \x1b[2J\r\nContent-Length: 0\r\n\r\n"]),
        lambda: iter([b"\x1b[2J\x9b31m nonsense\r\n\r\n"]),
        lambda: iter([b"HTTP/1.1 200 OK\r\n\x1b[2J: x\r\nContent-Length: \x9b\r\n\r\n"]),
        lambda: iter([b"HTTP/1.1 403 No\r\nError-Message: \xc2\x9b31m\xe2\x80\xae\r\nContent-Length: 0\r\n\r\n"]),
    ],
)
async def test_no_message_reaches_a_terminal_with_anything_that_it_obeys(pieces: Callable[[], Iterator[bytes]]) -> None:
    async with speaking(pieces) as url:
        status, told, errors = await call(url, "GET", "/version")

    assert (status, told) == (1, "")
    assert errors.startswith("jidoteki: ") and errors.endswith("\n")
    assert errors[:-1].isprintable() and len(errors) < 1500
    assert TOKEN not in errors and "hash=" not in errors


async def test_the_credential_is_in_no_message() -> None:
    async with speaking(lambda: iter([b"nonsense\r\n\r\n"])) as url, Client(url, TOKEN, scheme="token") as api:
        with pytest.raises(UnreachableError) as raised:
            await api.get("/version")

    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("wait", [True, False])
async def test_an_answer_reaches_a_terminal_without_anything_that_it_obeys(wait: bool) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            return web.json_response({"Location": request.path}, status=202)
        said = json.dumps({"status": "success", "percentage": 10**400, "log": ESCAPES}, ensure_ascii=False)
        # What holds a NUL is no text, and a terminal gets nothing of it.
        return web.Response(text=said + ("" if wait else ESCAPES.replace("\0", "")), content_type="application/json")

    terminal, other_end = pty.openpty()
    async with serving(answer) as (url, _):
        arguments = ("POST", "/update", "--wait") if wait else ("GET", "/changelog")
        status, _, errors = await call(url, *arguments, out=other_end)
    os.close(other_end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)

    assert status == 0
    assert "gone" in shown and "\\u001b[2J" in shown
    assert all(character.isprintable() or character in "\r\n" for character in shown)
    assert len(errors) < 1000


async def test_a_pipe_gets_every_byte_as_it_came() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=ESCAPES.encode())

    async with serving(answer) as (url, _):
        process = await asyncio.create_subprocess_exec(
            sys.executable, *COMMAND[1:], "call", "GET", "/changelog", "--url", url,
            stdout=subprocess.PIPE, env={**os.environ, "JIDOTEKI_TOKEN": TOKEN},
        )  # fmt: skip
        told, _ = await process.communicate()

    assert told == ESCAPES.encode()


def test_an_answer_of_much_json_is_text() -> None:
    assert answers.Answer(200, {}, b"[" + b" " * answers.MAX_JSON + b"]").data.startswith("[")
