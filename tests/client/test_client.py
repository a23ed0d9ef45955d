"""`jidoteki.client` against the real service, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from servers import serving

from jidoteki.client import ApiResponseError, Client, ClientError, JobOutcomeError, UnreachableError
from jidoteki.core.endpoints.update.build import build_package
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost

MIB = 1024 * 1024


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


def client_of(host: Host, url: str | None = None, token: str = TOKEN) -> Client:
    return Client(url or host.url, token, cafile=host.appliance.system_etc / "pki/tls/certs/enterprise.crt", timeout=60)


def package(host: Host, work: Path, script: str) -> Path:
    """Return a signed update package of version 2.0.0."""
    source, vendor = work / "source", host.appliance.root / "vendor"
    source.mkdir()
    (source / "update.sh").write_text(f"#!/bin/sh\n{script}\n")
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", work / "package.enc")
    return work / "package.enc"


@asynccontextmanager
async def cutting(url: str, limit: int, passes: int) -> AsyncIterator[tuple[str, list[int]]]:
    """A way to a server whose first `passes` connections are cut after `limit` bytes of answers."""
    parts = urlsplit(url)
    connections: list[int] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int) -> None:
        while budget > 0 and (chunk := await reader.read(min(budget, 65536))):
            budget -= len(chunk)
            writer.write(chunk)
            await writer.drain()
        writer.transport.abort()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        budget = limit if len(connections) <= passes else 1 << 40
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(
            relay(reader, far_writer, 1 << 40), relay(far_reader, writer, budget), return_exceptions=True
        )

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()


async def test_answers_come_as_json_or_text_over_a_certificate_that_was_named(host: Host) -> None:
    async with client_of(host) as api:
        version = await api.get("/version")
        same = await api.get(f"{PREFIX}/version")
        changelog = await api.get("/changelog")

    assert version == same == {"version": "1.0.0"}
    assert changelog.startswith("# Changelog")


async def test_an_update_is_uploaded_and_followed_to_its_end(host: Host, tmp_path: Path) -> None:
    sent: list[int] = []
    seen: list[Any] = []
    update = package(host, tmp_path, "echo from the script; sleep 1")

    async with client_of(host) as api:
        started = await api.post("/update", files={"update": update}, on_sent=sent.append)
        ended = await api.wait(started["Location"], lambda status: seen.append(status["percentage"]), interval=0.05)
        version = await api.get("/version")

    assert sent[-1] == update.stat().st_size
    assert ended["status"] == "success"
    assert "from the script" in ended["log"]
    assert seen == sorted(seen) and seen[-1] == 100 and len(set(seen)) > 1
    assert version == {"version": "2.0.0"}


async def test_what_update_sh_says_of_its_progress_is_what_everybody_is_told(host: Host, tmp_path: Path) -> None:
    says = """for each in 21 '"52"' 83.5; do
        echo "{\\"status\\":\\"running\\",\\"percentage\\":$each}" >"$JIDO_ADMIN_PATH/etc/status_update.json"; sleep 3
    done"""
    seen: list[Any] = []
    host.configure(plugins={"dashboard": {"enabled": False}})  # with it come events; here the status is asked for
    host.reload()

    async with client_of(host) as api:
        await api.post("/update", files={"update": package(host, tmp_path, says)})
        await api.wait("/update", lambda status: seen.append(status["percentage"]), interval=0.2)

    assert [each for each in seen if each in (21, 52, 83)] == [21, 52, 83]
    assert seen[-1] == 100


async def test_waiting_after_a_stop_tells_of_the_deletion_and_not_of_the_backup_before(host: Host) -> None:
    async with client_of(host) as api:
        await api.post("/backup", {"action": "START"})
        made = await api.wait("/backup")
        await api.post("/backup", {"action": "STOP"})
        deleted = await api.wait("/backup")

    assert (made["type"], deleted["type"], deleted["status"]) == ("backup", "backup-delete", "success")


async def test_a_file_may_be_named_by_a_string(host: Host, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"app":{}}')

    async with client_of(host) as api:
        answer = await api.post("/settings?dry-run=1", files={"settings": str(tmp_path / "settings.json")})

    assert answer["dry-run"] is True


async def test_a_dry_run_has_no_job_to_wait_for(host: Host) -> None:
    async with client_of(host) as api:
        answer = await api.request("POST", "/backup?dry-run=1", {"action": "START"})

        assert (await api.wait_for(answer))["dry-run"] is True


async def test_a_job_is_followed_by_its_id_and_elsewhere_where_that_is_not_shown() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path.removeprefix(PREFIX)}")
        if request.method == "POST":
            headers = {"Job-Id": "000001-probe", "Location": request.path}
            return web.json_response({"Status": "202 Accepted", "Location": request.path}, status=202, headers=headers)
        if "/jobs/" in request.path:
            return web.json_response({"status": "success"}, status=404 if "old" in asked[0] else 200)
        return web.json_response({"status": "success", "log": "old"})

    for path, places in (("/new", ["/jobs/000001-probe"]), ("/old", ["/jobs/000001-probe", "/old"])):
        asked.clear()
        async with serving(answer) as url, Client(url, TOKEN) as api:
            await api.post(path)
            await api.wait(path, interval=0.01)
        assert asked == [f"POST {path}", *(f"GET {each}" for each in places)]


@pytest.mark.parametrize("id", ["../../reboot", "000001-probe?x=1", "reboot", "1-a/../..", "٣-probe"])
async def test_an_id_that_is_none_becomes_no_part_of_a_path(id: str) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.method == "POST":
            return web.json_response({"Status": "202 Accepted"}, status=202, headers={"Job-Id": id})
        return web.json_response({"status": "success"})

    async with serving(answer) as url, Client(url, TOKEN) as api:
        answered = await api.request("POST", "/probe")
        await api.wait("/probe", interval=0.01)

    assert answered.job is None
    assert asked == [f"{PREFIX}/probe"] * 2


async def test_a_job_that_fails_is_an_error_with_its_code(host: Host, tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk" * 100)

    async with client_of(host) as api:
        await api.post("/update", files={"update": tmp_path / "junk"})
        with pytest.raises(JobOutcomeError) as raised:
            await api.wait("/update", interval=0.05)

    assert raised.value.code == "E1005"
    assert raised.value.status["status"] == "failed"
    assert "cannot be decrypted" in str(raised.value)


async def test_waiting_survives_a_restart_of_the_service(host: Host, tmp_path: Path) -> None:
    update = package(host, tmp_path, "sleep 3")
    port = str(urlsplit(host.url).port)

    async with client_of(host) as api:
        await api.post("/update", files={"update": update})
        waiting = asyncio.create_task(api.wait("/update", interval=0.1))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(host.stop)
        await asyncio.sleep(0.5)
        still_waiting = not waiting.done()
        await asyncio.to_thread(host.start, "--port", port)
        ended = await waiting

    assert still_waiting
    assert ended["status"] == "success"


async def test_errors_of_the_api_carry_status_and_message(host: Host) -> None:
    async with client_of(host) as api:
        with pytest.raises(ApiResponseError) as missing:
            await api.post("/setup", {"nonsense": "1"})
        with pytest.raises(ApiResponseError) as unknown:
            await api.get("/nothing")

    assert (missing.value.status, unknown.value.status) == (400, 404)
    assert "newtoken" in missing.value.message or "nonsense" in missing.value.message
    assert str(unknown.value) == "Nothing is served here: /docs shows what is"


async def test_a_wrong_token_is_told_before_a_long_upload_is_over(host: Host, tmp_path: Path) -> None:
    long = tmp_path / "long"
    with long.open("wb") as file:
        file.truncate(512 * MIB)
    sent = [0]

    async with client_of(host, token="wrong") as api:
        with pytest.raises(ApiResponseError) as raised:
            await api.post("/update", files={"update": long}, on_sent=sent.append)

    assert (raised.value.status, raised.value.message) == (403, "Authentication error")
    assert sent[-1] < 64 * MIB


async def test_a_download_that_is_cut_off_goes_on_where_it_stopped(host: Host, tmp_path: Path) -> None:
    (host.appliance.data / "big").write_bytes(os.urandom(6 * MIB))
    host.appliance.replace_file(host.appliance.etc / "backup.txt", "big\n")
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")
    progress: list[tuple[int, int | None]] = []

    async with cutting(host.url, 2 * MIB, passes=2) as (url, connections):
        async with client_of(host, url) as api:
            await api.download(
                "/backup/download", tmp_path / "backup.tar", lambda done, total: progress.append((done, total))
            )

    whole = (host.appliance.uploads / "backup.tar").read_bytes()
    assert (tmp_path / "backup.tar").read_bytes() == whole
    assert len(connections) == 3
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    assert progress[-1] == (len(whole), len(whole))
    assert [path.name for path in tmp_path.glob("backup*")] == ["backup.tar"]


async def test_a_later_call_goes_on_too_unless_the_appliance_has_another_file(tmp_path: Path) -> None:
    asked: list[tuple[str | None, str | None]] = []
    tag = '"one"'

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.headers.get("Range"), request.headers.get("If-Range")))
        if request.headers.get("If-Range") == tag:
            return web.Response(status=206, body=b"56789", headers={"ETag": tag, "Content-Range": "bytes 5-9/10"})
        return web.Response(body=b"abcdefghij", headers={"ETag": tag})

    for name, known in (("same", '"one"'), ("other", '"gone"')):
        (tmp_path / f"{name}.part").write_bytes(b"01234")
        (tmp_path / f"{name}.part.tag").write_text(known)
    async with serving(answer) as url, Client(url, TOKEN) as api:
        await api.download("/logs", tmp_path / "same")
        await api.download("/logs", tmp_path / "other")

    assert (tmp_path / "same").read_bytes() == b"0123456789"
    assert (tmp_path / "other").read_bytes() == b"abcdefghij"
    assert asked == [("bytes=5-", '"one"'), ("bytes=5-", '"gone"')]


async def test_a_download_that_never_gets_anywhere_is_given_up(tmp_path: Path) -> None:
    attempts: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        attempts.append(1)
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        assert request.transport
        request.transport.abort()
        return response

    async with serving(answer) as url, Client(url, TOKEN) as api:
        with pytest.raises(UnreachableError):
            await api.download("/logs", tmp_path / "logs")

    assert len(attempts) == 5
    assert list(tmp_path.iterdir()) == []


async def test_two_downloads_to_one_file_do_not_mix(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        begun.set()
        await go_on.wait()
        return web.Response(body=b"whole")

    async with serving(answer) as url, Client(url, TOKEN) as api:
        first = asyncio.create_task(api.download("/logs", tmp_path / "logs"))
        await begun.wait()
        with pytest.raises(ClientError, match="being downloaded already"):
            await api.download("/logs", tmp_path / "logs")
        go_on.set()
        await first

    assert (tmp_path / "logs").read_bytes() == b"whole"


async def test_an_answer_that_trickles_for_ever_is_given_up() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await asyncio.sleep(0.1)
        return response

    async with serving(answer) as url, Client(url, TOKEN, timeout=0.6) as api:
        with pytest.raises(UnreachableError, match="did not answer in time"):
            await api.get("/version")


async def test_what_is_no_status_of_a_job_cannot_be_waited_for() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"version": "1"})

    async with serving(answer) as url, Client(url, TOKEN) as api:
        with pytest.raises(JobOutcomeError, match="does not say how a job goes"):
            await api.wait("/version")


@pytest.mark.parametrize(
    ("scheme", "authorization", "query"),
    [
        ("bearer", f"Bearer {TOKEN}", ""),
        ("token", None, f"token={TOKEN}"),
        ("hash", None, "hash=" + "x" * 64),
    ],
)
async def test_the_token_is_shown_in_the_way_that_was_chosen(scheme: Any, authorization: str, query: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response([request.headers.get("Authorization"), request.query_string])

    async with serving(answer) as url, Client(url, TOKEN, scheme=scheme) as api:
        shown = await api.get("/version")

    assert shown[0] == authorization
    assert len(shown[1]) == len(query) and shown[1].partition("=")[0] == query.partition("=")[0]
    assert (TOKEN in shown[1]) == (scheme == "token")


async def test_credentials_are_not_carried_along_to_where_a_redirect_leads() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with serving(answer) as url, Client(url, TOKEN, scheme="token") as api:
        with pytest.raises(ApiResponseError) as raised:
            await api.get("/version")

    assert raised.value.status == 302
    assert asked == [f"{PREFIX}/version"]


async def test_a_certificate_that_nobody_named_is_not_trusted(host: Host) -> None:
    async with Client(host.url, TOKEN) as api:
        with pytest.raises(UnreachableError, match="is not trusted"):
            await api.get("/version")
    async with Client(host.url, TOKEN, verify=False) as api:
        assert await api.get("/version") == {"version": "1.0.0"}


async def test_a_server_that_never_answers_is_given_up() -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with serving(answer) as url, Client(url, TOKEN, timeout=0.5) as api:
        with pytest.raises(UnreachableError, match="did not answer in time"):
            await api.get("/version")


async def test_where_nothing_listens_is_told(unused_tcp_port: int) -> None:
    async with Client(f"https://127.0.0.1:{unused_tcp_port}", TOKEN) as api:
        with pytest.raises(UnreachableError, match="cannot be reached"):
            await api.get("/version")
