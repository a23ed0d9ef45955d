"""`jidoteki.client` and `jidoteki call` against a server that is as particular about HTTP as the original."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jidoteki.client import ApiResponseError, Client, JobOutcomeError
from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.credentials import request_hash
from jidoteki.testing.fixtures import TOKEN
from jidoteki.testing.host import COMMAND

# One part of a form: Content-Disposition comes first, and nothing follows the name of a file.
PART = re.compile(rb'content-disposition: form-data; name="([^"]+)"(; filename="[^"]*")?\r\n([^\r]+\r\n)*\r\n', re.I)


class Original:
    """One request a connection, which it closes without saying so; lines end in LF here and there.

    It never answers `Expect: 100-continue`, and takes forms of no other shape than those that curl sends. The program
    that it starts for an update says nothing for a moment: until then GET /update tells of the update before.
    """

    def __init__(self, before: bytes = b'{"status":null}', ended: bytes = b'{"status":"success","log":"done"}') -> None:
        self.ended = ended
        self.form: dict[str, bytes] = {}
        self._update = before

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, url, _, head = re.split(rb"[ \r]", await reader.readuntil(b"\r\n\r\n"), maxsplit=3)
        path, _, shown = url.decode().partition("?hash=")
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.I)
        body = await reader.readexactly(int(length[1])) if length else b""
        limit = re.search(rb"\r\ncontent-type: multipart/form-data; boundary=([^\r]+)", head, re.I)
        if body and (limit is None or not self._read(body, b"--" + limit[1])):
            writer.close()
            return
        status, said = self._said(method.decode(), path, shown)
        writer.write(
            b"HTTP/1.1 %b\r\nServer: PicoLisp\r\nX-Frame-Options: deny\nContent-Length: %d\r\n"
            b"Content-Type: application/json\r\nLast-Modified: Wed, 25 Nov 2026 19:08:13 GMT\r\n\r\n%b"
            % (status, len(said), said)
        )
        writer.close()

    def _read(self, body: bytes, limit: bytes) -> bool:
        """Whether all of the form was understood."""
        first, *parts, last = body.split(limit)
        for part in parts:
            found = PART.match(part.removeprefix(b"\r\n"))
            if not found:
                return False
            self.form[found[1].decode()] = part.removeprefix(b"\r\n")[found.end() :].removesuffix(b"\r\n")
        return (first, last) == (b"", b"--\r\n")

    def _said(self, method: str, path: str, shown: str) -> tuple[bytes, bytes]:
        if shown != request_hash(method, path, TOKEN):
            return b"403 Forbidden\r\nError-Message: Authentication error", b'{"Status":"403 Forbidden"}'
        if method == "POST":
            asyncio.get_running_loop().create_task(self._run())
            return b"202 Accepted", b'{"Status":"202 Accepted","Location":"%b"}' % path.encode()
        return b"200 OK", self._update

    async def _run(self) -> None:
        for pause, status in ((0.2, b'{"status":"running","log":"..."}'), (0.6, self.ended)):
            await asyncio.sleep(pause)
            self._update = status


async def listen(original: Original) -> asyncio.Server:
    return await asyncio.start_server(original.answer, "127.0.0.1", 0)


def url_of(server: asyncio.Server) -> str:
    return "http://{}:{}".format(*server.sockets[0].getsockname())


@pytest.fixture
async def original() -> AsyncIterator[tuple[Original, str]]:
    served = Original()
    async with await listen(served) as server:
        yield served, url_of(server)


async def test_a_form_arrives_as_curl_would_send_it(original: tuple[Original, str], tmp_path: Path) -> None:
    served, url = original
    package = tmp_path / "software package ä.enc"
    package.write_bytes(bytes(range(256)) * 4096)

    async with Client(url, TOKEN, timeout=20) as api:
        accepted = await api.request("POST", "/update", {"action": "START"}, {"update": package})

    assert accepted.location == f"{PREFIX}/update"
    assert served.form == {"action": b"START", "update": package.read_bytes()}


async def test_requests_in_a_row_do_not_meet_a_connection_just_closed(
    original: tuple[Original, str],
) -> None:
    async with Client(original[1], TOKEN, timeout=20) as api:
        for _ in range(50):
            await api.get("/update")
            await api.post("/update", {"action": "START"})


async def test_an_error_is_told_in_its_words(original: tuple[Original, str]) -> None:
    async with Client(original[1], "wrong", timeout=20) as api:
        with pytest.raises(ApiResponseError, match="^Authentication error$"):
            await api.get("/version")


async def test_the_end_of_the_job_before_is_not_taken_for_that_of_this_one() -> None:
    before = b'{"status":"success","log":""}'
    failed = b'{"status":"failed","error-message":"Unable to decrypt","error-code":"51"}'
    async with await listen(Original(before, failed)) as server, Client(url_of(server), TOKEN) as api:
        await api.post("/update", {"action": "START"})
        with pytest.raises(JobOutcomeError, match="Unable to decrypt") as raised:
            await api.wait("/update")
    assert raised.value.code == "51"


async def test_call_follows_a_job(original: tuple[Original, str], tmp_path: Path) -> None:
    (tmp_path / "package.enc").write_bytes(b"x" * 300_000)
    arguments = ["call", "POST", "/update", "--wait", "--url", original[1], "-F", f"update=@{tmp_path}/package.enc"]
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env={"JIDOTEKI_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    output, _ = await process.communicate()

    assert output == b'{"status":"success","log":"done"}\n'
    assert process.returncode == 0
