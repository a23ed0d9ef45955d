"""The client and `jidoteki call` over a line that is cut: big files go on, and nothing is done twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cutting_proxy import cutting

from jidoteki.client import Client, UnreachableError, uploads
from jidoteki.core.endpoints.update.build import build_package
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, MakeHost
from jidoteki.testing.fixtures import TOKEN
from jidoteki.testing.host import COMMAND

MIB = 1024 * 1024
NETWORK = json.dumps({"network": {"interface": "eth7", "hostname": "test.host"}})


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=("uploads", "settings", "tokens"), authentication={"named-tokens": True})


@pytest.fixture
def package(host: Host, tmp_path: Path) -> Path:
    """A signed update package of version 2.0.0, of 20 MiB."""
    source, vendor = tmp_path / "source", host.appliance.root / "vendor"
    source.mkdir()
    (source / "update.sh").write_text("#!/bin/sh\ntrue\n")
    (source / "filling").write_bytes(os.urandom(20 * MIB))
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", tmp_path / "package.enc")
    return tmp_path / "package.enc"


def client(host: Host, url: str, token: str = TOKEN) -> Client:
    return Client(url, token, cafile=host.certificate, timeout=20)


def requests(host: Host, action: str = "request.done") -> list[str]:
    return [line[5].removeprefix("POST ") for line in host.audit() if line[4] == action and line[5].startswith("POST ")]


async def test_a_big_file_goes_on_where_the_line_was_cut(host: Host, package: Path) -> None:
    sent: list[int] = []
    with cutting(host.url, 4 * MIB, 4) as proxy:
        async with client(host, proxy.url) as api:
            await api.post("/update", files={"update": package}, on_sent=sent.append)
            assert (await api.wait("/update"))["status"] == "success"
        assert proxy.cuts == 0

    assert max(sent) == package.stat().st_size
    assert host.get("/version").json["version"] == "2.0.0"
    assert len([each for each in requests(host) if f"{PREFIX}/update" in each]) == 1


async def test_a_later_call_goes_on_with_what_an_earlier_one_began(host: Host, package: Path) -> None:
    def stop(sent: int) -> None:
        if sent > 4 * MIB:
            sending.cancel()

    async with client(host, host.url) as api:
        sending = asyncio.create_task(uploads.send(api, package, stop))
        with pytest.raises(asyncio.CancelledError):
            await sending
    begun = host.get("/uploads").json["uploads"]
    assert len(begun) == 1

    async with client(host, host.url) as api:
        tried = await api.request("POST", "/update?dry-run=1", files={"update": package})
        again: list[int] = []
        await api.post("/update", files={"update": package}, on_sent=again.append)
        await api.wait("/update")

    assert tried.is_dry_run
    assert again == [package.stat().st_size]
    assert len([each for each in requests(host) if f"{PREFIX}/uploads" in each]) == 1
    assert host.get("/uploads").json["uploads"] == []


async def test_what_is_refused_leaves_no_upload(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(9 * MIB))
    async with client(host, host.url) as api:
        with pytest.raises(Exception, match="cannot be decrypted"):
            await api.post("/update?dry-run=1", files={"update": tmp_path / "file"})

    assert host.get("/uploads").json["uploads"] == []


async def test_the_scopes_of_the_request_and_of_uploads_are_enough_to_go_on(host: Host, package: Path) -> None:
    token = host.post("/tokens", "-F", "name=some", "-F", "scopes=/update,/uploads").json["token"]

    async with client(host, host.url, token) as api:
        await api.request("POST", "/update?dry-run=1", files={"update": package})

    assert any(each.startswith(f"{PREFIX}/uploads 201") for each in requests(host))


async def test_who_may_not_upload_sends_the_form(host: Host, package: Path) -> None:
    token = host.post("/tokens", "-F", "name=some", "-F", "scopes=/update").json["token"]

    async with client(host, host.url, token) as api:
        await api.post("/update", files={"update": package})
        await api.wait("/update")

    assert host.get("/version").json["version"] == "2.0.0"


class LosingAnswers:
    """A line that loses answers: the request arrives, and the connection breaks.

    :param url: of the host behind it, without TLS, so that it can be seen what comes.
    :param lost: how many answers.
    """

    def __init__(self, url: str, lost: int) -> None:
        self.left = lost
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 0))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                for arguments in ((near, far), (far, near)):
                    threading.Thread(target=self._hand_on, args=arguments, daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.left and data.startswith(b"HTTP/1.1 200") and b'"token"' in data:
                    self.left -= 1
                    break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def losing(host: Host) -> LosingAnswers:
    host.stop()
    host.start("--http-port", "0")
    return LosingAnswers(host.plain_url, 2)


async def test_a_request_whose_answer_was_lost_is_made_again_and_done_once(host: Host, losing: LosingAnswers) -> None:
    async with client(host, losing.url) as api:
        answer = await api.request("POST", "/tokens", {"name": "some", "scopes": "read"})

    assert losing.left == 0
    assert answer.data["name"] == "some"
    assert [each for each in requests(host) if "/tokens" in each] == [f"{PREFIX}/tokens 200"]
    assert requests(host, "request.repeated")


def test_the_command_does_so_too(host: Host, losing: LosingAnswers) -> None:
    argv = [*COMMAND, "call", "post", "/tokens", "-F", "name=some", "-F", "scopes=read"]
    environment = {**os.environ, "JIDOTEKI_TOKEN": TOKEN, "JIDOTEKI_URL": losing.url}

    done = subprocess.run([*argv, "--cacert", str(host.certificate)], env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "some"
    assert [each for each in requests(host) if "/tokens" in each] == [f"{PREFIX}/tokens 200"]
    assert requests(host, "request.repeated")


async def test_what_does_not_know_keys_gets_the_request_once() -> None:
    """As the original: nobody can say whether it was carried out."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        if b"GET" in received[-1]:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        async with Client(f"http://127.0.0.1:{port}", TOKEN, timeout=10) as api:
            with pytest.raises(UnreachableError):
                await api.post("/reboot")

    assert [each.split()[0] for each in received] == [b"POST", b"GET"]
