"""Uploads that are interrupted and resumed, with third-party clients of the protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import aiotus.core
import aiotus.creation
import pytest
import signed_curl
import yarl
from cutting_proxy import cutting
from places import ROOT
from tusclient.client import TusClient

from jidoteki.core.endpoints.update.build import build_package
from jidoteki.hookspecs import PREFIX, ApiError
from jidoteki.plugins.uploads import Handlers, receiving
from jidoteki.testing import Answer, Host, MakeAppliance, MakeHost, wait_until
from jidoteki.testing.fixtures import TOKEN

MIB = 1024 * 1024
UPLOADS = f"{PREFIX}/uploads"
TUS = ("-H", "Tus-Resumable: 1.0.0")
PART = ("-H", "Content-Type: application/offset+octet-stream")
#: The long version sends as much as a real package has.
SIZE = 1024 * MIB if os.environ.get("JIDOTEKI_FAULTS") == "long" else 30 * MIB
CUTS = 10


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=("uploads", "backup", "tokens"), authentication={"named-tokens": True})


def begin(host: Host, length: int, *arguments: str, token: str = TOKEN) -> str:
    """Create an upload and return its id."""
    answer = post(host, "/uploads", *TUS, "-H", f"Upload-Length: {length}", *arguments, token=token)
    assert answer.status == 201, answer
    assert answer.headers["Location"].startswith(f"{UPLOADS}/")
    return answer.headers["Location"].rpartition("/")[2]


def post(host: Host, path: str, *arguments: str, token: str = TOKEN, query: str = "") -> Answer:
    bearer = ("-H", f"Authorization: Bearer {token}")
    return host.curl("POST", path, *arguments, *bearer, auth="none", query=query)


def send(host: Host, id: str, offset: int, content: bytes, *arguments: str, token: str = TOKEN) -> Answer:
    """Append a part."""
    part = host.appliance.root / "part"
    part.write_bytes(content)
    bearer = ("-H", f"Authorization: Bearer {token}")
    sent = (*TUS, *PART, "-H", f"Upload-Offset: {offset}", "--data-binary", f"@{part}")
    return host.curl("PATCH", f"/uploads/{id}", *sent, *bearer, *arguments, auth="none")


def offset(host: Host, id: str) -> int:
    answer = host.curl("HEAD", f"/uploads/{id}", *TUS)
    assert answer.status == 200
    return int(answer.headers["Upload-Offset"])


def stored(host: Host, id: str) -> Path:
    return host.appliance.spool / "uploads" / id


def package(host: Host, work: Path, size: int) -> Path:
    """Return a signed update package of version 2.0.0, with more than `size` bytes."""
    source, vendor = work / "source", host.appliance.root / "vendor"
    source.mkdir()
    (source / "update.sh").write_text("#!/bin/sh\nsha256sum filling | cut -c 1-64\n")
    (source / "filling").write_bytes(os.urandom(size))
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", work / "package.enc")
    return work / "package.enc"


def with_tuspy(url: str, file: Path, certificate: Path) -> str:
    client = TusClient(f"{url}{UPLOADS}", headers={"Authorization": f"Bearer {TOKEN}"})
    uploader = client.uploader(str(file), retries=CUTS + 5, retry_delay=0.1, chunk_size=16 * MIB)
    uploader.upload()
    return str(uploader.url)


def with_tuspy_and_checksums(url: str, file: Path, certificate: Path) -> str:
    client = TusClient(f"{url}{UPLOADS}", headers={"Authorization": f"Bearer {TOKEN}"})
    uploader = client.uploader(
        str(file), retries=CUTS + 5, retry_delay=0.1, chunk_size=max(MIB, SIZE // 100), upload_checksum=True
    )
    uploader.upload()
    return str(uploader.url)


async def with_aiotus(url: str, file: Path, certificate: Path) -> str:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    trust = ssl.create_default_context(cafile=certificate)
    async with aiohttp.ClientSession() as session:
        with file.open("rb") as content:
            # Its own function for all of this appends a Location that is a path to the URL; see docs/bad-lines.md.
            endpoint = yarl.URL(f"{url}{UPLOADS}")
            named = {"filename": b"package.enc"}
            begun = await aiotus.creation.create(session, endpoint, content, named, ssl=trust, headers=headers)
            location = endpoint.join(begun)
            # More often than the line is cut: while the service still writes what came before a cut, a part is 409.
            for _ in range(5 * CUTS):
                with contextlib.suppress(aiohttp.ClientError):
                    await aiotus.core.upload_buffer(session, location, content, trust, 16 * MIB, headers)
                    break
    return str(location)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("upload", [with_tuspy, with_tuspy_and_checksums, with_aiotus])
async def test_a_foreign_client_uploads_over_a_line_that_is_cut_ten_times(
    host: Host, tmp_path: Path, upload: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(host.certificate))
    file = package(host, tmp_path, SIZE)
    with cutting(host.url, SIZE // (CUTS + 1), CUTS) as proxy:
        url = upload(proxy.url, file, host.certificate)
        id = str(await url if not isinstance(url, str) else url).rpartition("/")[2]
        assert proxy.cuts == 0

    if SIZE < 100 * MIB:  # checking a whole package takes longer than the kit's timeout
        assert host.post("/update", "-F", f"update=upload:{id}", query="dry-run=1").json["dry-run"] is True
        assert stored(host, id).exists()
    assert host.post("/update", "-F", f"update=upload:{id}").status == 202

    ended = host.wait_for_job("/update", 600)
    assert ended["status"] == "success"
    assert hashlib.sha256((tmp_path / "source/filling").read_bytes()).hexdigest() in ended["log"]
    assert host.get("/version").json["version"] == "2.0.0"
    assert list((host.appliance.spool / "uploads").iterdir()) == []
    host.assert_audited("update.post", "")
    host.assert_audited("request.done", f"POST {PREFIX}/update 202")


async def test_the_program_of_the_page_uploads_with_aiotus(host: Host, tmp_path: Path) -> None:
    source = (ROOT / "docs/bad-lines.md").read_text().partition("```python\n")[2].partition("```")[0]
    program: dict[str, Any] = {}
    exec(source, program)  # noqa: S102  # what the page tells its readers to run
    (tmp_path / "file").write_bytes(os.urandom(17 * MIB))
    trust = ssl.create_default_context(cafile=host.certificate)

    id = await program["upload"](f"{host.url}{UPLOADS}", tmp_path / "file", {"Authorization": f"Bearer {TOKEN}"}, trust)

    assert stored(host, id).exists() and offset(host, id) == 17 * MIB


def test_a_backup_is_restored_from_an_upload(host: Host) -> None:
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")
    archive = host.get("/backup/download").body
    (host.appliance.data / "app/settings.json").write_text("changed")
    id = begin(host, len(archive))
    send(host, id, 0, archive)

    answer = host.post("/backup/restore", "-d", f"archive=upload:{id}")

    assert answer.status == 200, answer
    assert json.loads((host.appliance.data / "app/settings.json").read_text()) == {"theme": "dark"}
    assert not stored(host, id).exists()


def test_what_the_protocol_can_do_is_told(host: Host) -> None:
    answer = host.curl("OPTIONS", "/uploads")

    assert answer.status == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Extension"] == "creation,checksum,expiration,termination"
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256,sha512"
    assert int(answer.headers["Tus-Max-Size"]) == 16 * 1024 * MIB


def test_an_upload_is_told_of_as_the_protocol_says(host: Host) -> None:
    metadata = f"filename {base64.b64encode(b'a.enc').decode()},final"
    id = begin(host, 10, "-H", f"Upload-Metadata: {metadata}")

    sent = send(host, id, 0, b"12345")
    shown = host.curl("HEAD", f"/uploads/{id}", *TUS)

    assert (sent.status, sent.headers["Upload-Offset"], sent.body) == (204, "5", b"")
    assert "Content-Length" not in sent.headers
    assert sent.headers["Upload-Expires"].endswith("GMT")
    assert (shown.headers["Upload-Offset"], shown.headers["Upload-Length"]) == ("5", "10")
    assert shown.headers["Upload-Metadata"] == metadata
    assert shown.headers["Tus-Resumable"] == "1.0.0"
    assert shown.headers["Cache-Control"] == "no-store"
    assert [each["offset"] for each in host.get("/uploads").json["uploads"]] == [5]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Upload-Length: 5",), 412),
        (("Tus-Resumable: 0.2.2", "Upload-Length: 5"), 412),
        (("Tus-Resumable: 1.0.0",), 400),
        (("Tus-Resumable: 1.0.0", "Upload-Length: -5"), 400),
        (("Tus-Resumable: 1.0.0", "Upload-Length: 5e3"), 400),
        (("Tus-Resumable: 1.0.0", "Upload-Defer-Length: 1"), 400),
        (("Tus-Resumable: 1.0.0", f"Upload-Length: {1 << 50}"), 413),
        (("Tus-Resumable: 1.0.0", f"Upload-Length: {15 * 1024**4}"), 413),
        (("Tus-Resumable: 1.0.0", "Upload-Length: 5", "Upload-Metadata: a\tb"), 400),
        (("Tus-Resumable: 1.0.0", "Upload-Length: 5", f"Upload-Metadata: a {'A' * 2000}"), 400),
    ],
)
def test_what_begins_no_upload_is_refused(host: Host, headers: tuple[str, ...], status: int) -> None:
    answer = host.post("/uploads", *(part for each in headers for part in ("-H", each)))

    assert answer.status == status
    assert host.get("/uploads").json["uploads"] == []
    if status == 412:
        assert answer.headers["Tus-Version"] == "1.0.0"


def test_a_part_must_begin_where_the_upload_ends(host: Host) -> None:
    id = begin(host, 10)
    send(host, id, 0, b"12345")

    answers = [send(host, id, at, b"67890") for at in (0, 4, 6, 10)]

    assert {each.status for each in answers} == {409}
    assert {each.headers["Upload-Offset"] for each in answers} == {"5"}
    assert send(host, id, 5, b"67890").status == 204
    assert stored(host, id).read_bytes() == b"1234567890"


def test_more_than_was_announced_is_refused(host: Host) -> None:
    id = begin(host, 5)

    assert send(host, id, 0, b"123456").status == 413
    assert host.post("/update", "-F", f"update=upload:{id}").status == 400


def test_a_part_of_another_media_type_is_refused(host: Host) -> None:
    id = begin(host, 5)

    answer = host.curl("PATCH", f"/uploads/{id}", *TUS, "-H", "Upload-Offset: 0", "--data-binary", "12345")

    assert answer.status == 415
    assert offset(host, id) == 0


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_part_counts_if_it_is_what_its_checksum_says(host: Host, algorithm: str) -> None:
    def checksum(content: bytes) -> str:
        return f"Upload-Checksum: {algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"

    id = begin(host, 10)
    right = send(host, id, 0, b"12345", "-H", checksum(b"12345"))
    wrong = send(host, id, 5, b"67890", "-H", checksum(b"6789"))

    assert (right.status, wrong.status) == (204, 460)
    assert offset(host, id) == 5
    assert send(host, id, 5, b"67890", "-H", checksum(b"67890")).status == 204
    assert stored(host, id).read_bytes() == b"1234567890"


@pytest.mark.parametrize("checksum", ["md5 AAAA", "sha256", "sha256 ?", "crc32 AAAA"])
def test_a_checksum_that_makes_no_sense_is_refused(host: Host, checksum: str) -> None:
    id = begin(host, 5)

    assert send(host, id, 0, b"12345", "-H", f"Upload-Checksum: {checksum}").status == 400
    assert offset(host, id) == 0


def test_a_deleted_upload_is_gone(host: Host) -> None:
    id = begin(host, 5)

    assert host.curl("DELETE", f"/uploads/{id}", *TUS, query="dry-run=1").status == 204
    assert offset(host, id) == 0
    assert host.curl("DELETE", f"/uploads/{id}", *TUS).status == 204
    gone = host.curl("HEAD", f"/uploads/{id}", *TUS)
    assert (gone.status, gone.headers["Tus-Resumable"]) == (404, "1.0.0")
    assert send(host, id, 0, b"12345").status == 404
    assert list((host.appliance.spool / "uploads").iterdir()) == []


def test_an_unfinished_upload_cannot_be_used(host: Host) -> None:
    id = begin(host, 10)
    send(host, id, 0, b"12345")

    answer = host.post("/update", "-F", f"update=upload:{id}")

    assert answer.status == 400
    assert "5 of 10 bytes" in answer.json["Error-Message"]
    assert offset(host, id) == 5


@pytest.mark.parametrize("name", ["0" * 32, "../api.token", "x", "0" * 32 + ".json", "%2e%2e"])
def test_what_is_no_upload_cannot_be_used(host: Host, name: str) -> None:
    assert host.post("/update", "-F", f"update=upload:{name}").status in (400, 202)
    assert host.post("/update", "-d", f"update=upload:{name}").status == 400


def test_where_the_plugin_is_not_enabled_a_text_is_a_text(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(plugins={"dashboard": {"enabled": False}})

    assert host.post("/uploads", *TUS).status == 404
    assert host.post("/update", "-d", "update=upload:" + "0" * 32).status == 400
    assert host.post("/update", "-F", "update=upload:" + "0" * 32).status == 202
    assert host.wait_for_job("/update")["error-code"] == "E1005"


class Line:
    """A connection that sends a part and stays open."""

    def __init__(self, host: Host, id: str, at: int, length: int, *headers: str) -> None:
        context = ssl.create_default_context(cafile=host.certificate)
        server = urlsplit(host.url)
        plain = socket.create_connection((str(server.hostname), int(server.port or 0)), 30)
        self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        head = [
            f"PATCH {UPLOADS}/{id} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}",
            *(each for each in (TUS[1], PART[1], f"Upload-Offset: {at}")), *headers, "", "",
        ]  # fmt: skip
        if not any(each.startswith("Authorization") for each in headers):
            head.insert(1, f"Authorization: Bearer {TOKEN}")
        self.socket.sendall("\r\n".join(head).encode())

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def answer(self) -> bytes:
        return self.socket.recv(65536)


def test_what_came_before_a_kill_counts_after_it(host: Host) -> None:
    id = begin(host, 2 * MIB)
    content = os.urandom(2 * MIB)
    line = Line(host, id, 0, 2 * MIB)
    line.send(content[:MIB])
    wait_until(lambda: stored(host, id).stat().st_size == MIB)

    host.stop(signal.SIGKILL)
    host.start()

    assert offset(host, id) == MIB
    assert send(host, id, MIB, content[MIB:]).status == 204
    assert stored(host, id).read_bytes() == content


def test_a_part_with_a_checksum_that_was_killed_counts_for_nothing(host: Host) -> None:
    id = begin(host, 2 * MIB)
    send(host, id, 0, b"12345")
    line = Line(host, id, 5, MIB, f"Upload-Checksum: sha1 {base64.b64encode(bytes(20)).decode()}")
    line.send(os.urandom(MIB // 2))
    wait_until(lambda: stored(host, id).stat().st_size > 5)
    assert offset(host, id) == 5

    host.stop(signal.SIGKILL)
    host.start()

    assert offset(host, id) == 5
    assert send(host, id, 5, b"678").status == 204
    assert stored(host, id).read_bytes() == b"12345678"


def test_after_another_boot_only_what_was_synchronised_counts(host: Host) -> None:
    id = begin(host, 10)
    send(host, id, 0, b"12345")
    host.stop(signal.SIGKILL)
    information = stored(host, id).with_name(f"{id}.json")
    known = json.loads(information.read_text())
    information.write_text(json.dumps({**known, "boot": "another", "synced": 3}))
    host.start()

    assert known["synced"] == 5
    assert offset(host, id) == 3
    assert send(host, id, 3, b"4567890").status == 204
    assert stored(host, id).read_bytes() == b"1234567890"


def test_a_client_that_comes_back_takes_over_from_a_line_that_nobody_knows_to_be_dead(host: Host) -> None:
    id = begin(host, 10)
    line = Line(host, id, 0, 10)
    line.send(b"12345")
    wait_until(lambda: offset(host, id) == 5)
    began = time.monotonic()

    assert send(host, id, 5, b"67890").status == 204
    assert time.monotonic() - began < 5
    assert b" 409 " in line.answer()
    assert stored(host, id).read_bytes() == b"1234567890"


class _Request:
    """A request with a part of an upload, of which some bytes never come."""

    credential, body_digest = "me", None
    host_config: Mapping[str, Any] = {"limits": {"free-space": 0}}

    def __init__(self, content: bytes, stalls: bool = False) -> None:
        self.headers = {"Upload-Offset": "0"}
        self._content, self._stalls = content, stalls

    async def body(self) -> AsyncIterator[bytes]:
        yield self._content
        if self._stalls:
            await asyncio.sleep(60)


@pytest.mark.parametrize("newer", ["PATCH", "DELETE"])
async def test_a_newer_request_takes_over_also_while_the_older_one_begins(
    jidoteki_appliance: MakeAppliance, monkeypatch: pytest.MonkeyPatch, newer: str
) -> None:
    uploads = Handlers(jidoteki_appliance(), {"keep": 3600.0, "most": 4})
    store = uploads._store
    id = store.create(10, "me", "", False, 0).partial.id
    begins, goes_on = threading.Event(), threading.Event()
    of_part = receiving._Part._begin

    def slow(part: receiving._Part) -> None:
        begins.set()
        goes_on.wait(20)
        of_part(part)

    monkeypatch.setattr(receiving._Part, "_begin", slow)
    older: Any = _Request(b"", stalls=True)
    first = asyncio.create_task(receiving.receive(store, id, older))
    await asyncio.to_thread(begins.wait, 20)
    request: Any = _Request(b"0123456789")
    change: Any = receiving.receive(store, id, request) if newer == "PATCH" else uploads._remove(id)
    second = asyncio.create_task(change)
    await asyncio.sleep(0.2)
    goes_on.set()

    async with asyncio.timeout(10):
        with pytest.raises(ApiError, match="A newer request goes on"):
            await first
        state = await second
    assert state.complete if newer == "PATCH" else not store.path(id).exists()


def token(host: Host, name: str, scopes: str) -> str:
    answer = host.post("/tokens", "-F", f"name={name}", "-F", f"scopes={scopes}")
    assert answer.status == 200, answer
    return str(answer.json["token"])


def test_an_upload_is_its_owners_alone(host: Host) -> None:
    other = token(host, "other", "all")
    id = begin(host, 5)
    send(host, id, 0, b"12345")

    assert send(host, id, 5, b"", token=other).status == 404
    assert post(host, "/update", "-F", f"update=upload:{id}", token=other).status == 400
    assert (
        host.curl("DELETE", f"/uploads/{id}", *TUS, "-H", f"Authorization: Bearer {other}", auth="none").status == 404
    )
    assert offset(host, id) == 5


def test_who_may_upload_may_not_update_by_that(host: Host) -> None:
    uploads = token(host, "loader", "/uploads")
    id = begin(host, 5, token=uploads)
    send(host, id, 0, b"12345", token=uploads)

    assert post(host, "/update", "-F", f"update=upload:{id}", token=uploads).status == 403


def test_the_upload_of_a_revoked_token_is_void(host: Host) -> None:
    first = token(host, "loader", "all")
    id = begin(host, 5, token=first)
    send(host, id, 0, b"12345", token=first)

    host.post("/tokens/revoke", "-F", "name=loader")
    again = token(host, "loader", "all")

    assert post(host, "/update", "-F", f"update=upload:{id}", token=again).status == 400
    assert host.post("/update", "-F", f"update=upload:{id}").status == 400


def test_who_is_revoked_while_sending_is_cut_off(host: Host) -> None:
    mine = token(host, "loader", "all")
    id = begin(host, 10 * MIB, token=mine)
    line = Line(host, id, 0, 10 * MIB, f"Authorization: Bearer {mine}")
    line.send(bytes(MIB))
    wait_until(lambda: stored(host, id).stat().st_size == MIB)

    host.post("/tokens/revoke", "-F", "name=loader")

    line.socket.settimeout(5)
    assert b" 403 " in line.answer()
    host.assert_audited("authorization.revoked", f"PATCH {UPLOADS}")


def test_uploads_are_bounded_in_number(host: Host) -> None:
    mine = token(host, "loader", "all")
    ids = [begin(host, 5, token=mine) for _ in range(4)]

    refused = post(host, "/uploads", *TUS, "-H", "Upload-Length: 5", token=mine)

    assert refused.status == 429
    assert begin(host, 5)
    long_ago = time.time() - 4000
    os.utime(stored(host, ids[2]), (long_ago, long_ago))
    assert begin(host, 5, token=mine)
    assert [stored(host, id).exists() for id in ids] == [True, True, False, True]


def test_of_too_many_uploads_the_one_that_is_idle_longest_gives_way(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("uploads",), plugins={"uploads": {"most": 2}})
    ids = [begin(host, 5) for _ in range(2)]
    assert host.post("/uploads", *TUS, "-H", "Upload-Length: 5").status == 503

    long_ago = time.time() - 4000
    os.utime(stored(host, ids[1]), (long_ago, long_ago))
    begin(host, 5)

    assert stored(host, ids[0]).exists()
    assert not stored(host, ids[1]).exists()


def test_uploads_are_bounded_in_age(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("uploads",), plugins={"uploads": {"keep": 100}})
    id, other = begin(host, 5), begin(host, 5)
    long_ago = time.time() - 101
    os.utime(stored(host, id), (long_ago, long_ago))

    assert host.curl("HEAD", f"/uploads/{id}", *TUS).status == 404
    assert send(host, id, 0, b"12345").status == 404
    (host.appliance.spool / "uploads/left-over").touch()
    host.stop()
    host.start()

    left = {each.name for each in (host.appliance.spool / "uploads").iterdir()}
    assert left == {other, f"{other}.json"}


def test_what_the_disk_has_no_room_for_is_refused_at_once(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("uploads",), limits={"upload": 1 << 50, "free-space": 1 << 30})

    answer = host.post("/uploads", *TUS, "-H", f"Upload-Length: {1 << 49}")

    assert answer.status == 400
    assert "there is room for only" in answer.json["Error-Message"]


def test_nobody_else_can_read_an_upload(host: Host) -> None:
    id = begin(host, 5)
    send(host, id, 0, b"12345")

    assert stored(host, id).stat().st_mode & 0o777 == 0o600
    assert stored(host, id).parent.stat().st_mode & 0o777 == 0o700


def signed(host: Host, method: str, path: str, body: bytes, *headers: str, sent: bytes | None = None) -> Answer:
    """Send a signed request."""
    file = host.appliance.root / "body"
    file.write_bytes(body if sent is None else sent)
    more = [part for each in headers for part in ("-H", each)]
    return signed_curl.send(
        host, method, path, signed_curl.sign(host, method, path, body), *more, "--data-binary", f"@{file}"
    )


def test_a_signed_request_uses_what_came_in_signed_requests_alone(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("uploads",), authentication={"signatures": True})
    form = "Content-Type: application/x-www-form-urlencoded"
    ids = []
    for mixed in (False, True):
        begun = signed(host, "POST", "/uploads", b"", TUS[1], "Upload-Length: 10")
        id = begun.headers["Location"].rpartition("/")[2]
        first = signed(host, "PATCH", f"/uploads/{id}", b"12345", TUS[1], PART[1], "Upload-Offset: 0")
        assert first.status == 204, first
        if mixed:
            assert send(host, id, 5, b"67890").status == 204
        else:
            assert signed(host, "PATCH", f"/uploads/{id}", b"67890", TUS[1], PART[1], "Upload-Offset: 5").status == 204
        ids.append(id)

    answers = [signed(host, "POST", "/update", f"update=upload:{id}".encode(), form) for id in reversed(ids)]

    assert [each.status for each in answers] == [400, 202]
    assert "did not come in signed requests alone" in answers[0].json["Error-Message"]
    assert host.post("/update", "-d", f"update=upload:{ids[1]}", query="dry-run=1").json["error-code"] in (
        "E1004",
        "E1005",
    )


def test_a_part_that_is_not_what_was_signed_counts_for_nothing(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("uploads",), authentication={"signatures": True})
    id = signed(host, "POST", "/uploads", b"", TUS[1], "Upload-Length: 10").headers["Location"].rpartition("/")[2]

    answer = signed(host, "PATCH", f"/uploads/{id}", b"12345", TUS[1], PART[1], "Upload-Offset: 0", sent=b"54321")

    assert (answer.status, answer.json["Error-Message"]) == (400, "The body is not the one that was signed")
    assert offset(host, id) == 0
    assert stored(host, id).stat().st_size == 0


def test_what_used_an_upload_is_answered_again_though_that_is_gone(host: Host) -> None:
    id = begin(host, 5)
    send(host, id, 0, b"12345")
    form = ("-H", "Idempotency-Key: one", "-F", f"update=upload:{id}")

    first, second = (host.post("/update", *form) for _ in range(2))

    assert first.status == second.status == 202
    assert first.headers["Job-Id"] == second.headers["Job-Id"]
    assert not stored(host, id).exists()


def test_a_disk_that_fills_up_ends_a_part_and_keeps_what_came(host: Host) -> None:
    id = begin(host, 10)
    send(host, id, 0, b"12345")
    host.configure(limits={"free-space": 1 << 50})
    host.reload()
    full = send(host, id, 5, b"67890")
    host.configure(limits={})
    host.reload()

    assert full.status == 400
    assert "cannot be stored" in full.json["Error-Message"]
    assert offset(host, id) == 5
    assert send(host, id, 5, b"67890").status == 204


def test_dry_runs_change_nothing(host: Host) -> None:
    answer = host.post("/uploads", *TUS, "-H", "Upload-Length: 5", query="dry-run=1")
    id = begin(host, 5)
    part = (*TUS, *PART, "-H", "Upload-Offset: 0", "--data-binary", "12345")

    changes = [{"path": "uploads", "from": None, "to": {"length": 5}}]
    assert answer.json == {"Status": "201 Created", "dry-run": True, "changes": changes}
    assert host.curl("PATCH", f"/uploads/{id}", *part, query="dry-run=1").status == 204
    assert offset(host, id) == 0


@pytest.mark.parametrize("name", ["", "..%2fetc"])
def test_an_upload_without_a_name_is_refused_before_anything_begins(host: Host, name: str) -> None:
    answer = host.post("/update", "-F", f"update=upload:{name}")

    assert answer.status == 400 and "upload: must be followed by a name" in answer.json["Error-Message"]
    assert host.get("/jobs").json["jobs"] == []
