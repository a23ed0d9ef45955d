"""Nobody acts with a token that was changed, revoked or narrowed while the request was on its way."""

from __future__ import annotations

import fcntl
import io
import json
import os
import socket
import tarfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from faultkit import Reply, ask, connection, multipart, read_reply
from pace import slowness

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import TOKEN, MakeHost

FORM = "application/x-www-form-urlencoded"
TOKENS = {"named-tokens": True, "signatures": False}


class Waiting:
    """A POST of which all but the last bytes are sent."""

    def __init__(self, host: Host, path: str, token: str, content_type: str, body: bytes, back: int = 1) -> None:
        head = (
            f"POST {PREFIX}{path}?token={token} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._client = connection(host, "127.0.0.66")
        self._client.sendall(head.encode() + body[:-back])
        self._rest = body[-back:]

    def answer(self) -> Reply:
        """What comes without the rest."""
        return read_reply(self._client)

    def finish(self) -> Reply:
        """Send the rest."""
        try:
            self._client.sendall(self._rest)
        except OSError:
            pass
        return read_reply(self._client)


def robot(host: Host, scopes: str) -> str:
    """The token of a named token."""
    token: str = host.post("/tokens", "-F", "name=robot", "-F", f"scopes={scopes}").json["token"]
    return token


def backup(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("app/settings.json")
        member.size, member.mtime = len(content), int(time.time())
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def restore(host: Host, token: str) -> Waiting:
    body, headers = multipart(("archive", backup(b"revoked\n")))
    return Waiting(host, "/backup/restore", token, headers["Content-Type"], body, 5)


def narrow(host: Host) -> None:
    path = host.appliance.etc / "api.tokens.json"
    content = json.loads(path.read_text())
    content["tokens"]["robot"]["scopes"] = ["read"]
    host.appliance.replace_file(path, json.dumps(content), 0o600)


def revoke(host: Host) -> None:
    assert host.post("/tokens/revoke", "-F", "name=robot").status == 200


def switch_off(host: Host) -> None:
    host.configure(authentication={})
    host.reload()


def take_endpoint_away(host: Host) -> None:
    host.configure(endpoints=["settings", "tokens"])
    host.reload()


HOW: dict[str, Callable[[Host], None]] = {
    "revoked": revoke,
    "its scopes narrowed": narrow,
    "named tokens switched off": switch_off,
    "the endpoint taken away": take_endpoint_away,
}


@pytest.mark.parametrize("how", HOW)
def test_an_upload_ends_within_a_second_with_403_and_an_audit_line(jidoteki_host: MakeHost, how: str) -> None:
    host = jidoteki_host(enable=("tokens",), authentication=TOKENS)
    upload = restore(host, robot(host, "/backup"))
    time.sleep(0.3)

    HOW[how](host)
    began = time.monotonic()
    answer = upload.answer()

    assert answer.status == 403, answer
    assert time.monotonic() - began < 1.0 * slowness()
    host.assert_audited("authorization.revoked", f"POST {PREFIX}/backup/restore")
    assert (host.appliance.data / "app/settings.json").read_bytes() != b"revoked\n"
    wait_until(lambda: not list(host.appliance.spool.iterdir()), 5)


def test_a_change_that_waits_for_its_last_byte_is_not_made_with_the_former_token(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    thief = Waiting(host, "/setup", TOKEN, FORM, b"newtoken=the-thiefs")
    time.sleep(0.2)

    changed = host.post("/setup", "-F", "newtoken=the-new-one")
    at_once = thief.finish()
    host.token = "the-new-one"

    assert (changed.status, at_once.status) == (200, 403)
    assert host.get("/version").status == 200


def test_of_two_changes_with_one_token_at_once_one_is_made(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    ends = [Waiting(host, "/setup", TOKEN, FORM, b"newtoken=number-%02d" % number) for number in range(8)]
    time.sleep(0.3)

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(answer.status for answer in pool.map(lambda each: each.finish(), ends))

    assert statuses == [200] + [403] * 7


def test_a_job_that_waits_to_start_is_not_started_for_a_revoked_token(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("tokens",), authentication=TOKENS)
    token = robot(host, "/backup")
    lock = os.open(host.appliance.jobs / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    answers: list[Reply] = []
    body, headers = multipart(("action", b"START"), files=False)
    asking = threading.Thread(
        target=lambda: answers.append(ask(host, "POST", "/backup", f"token={token}", headers, body, "127.0.0.5"))
    )
    asking.start()
    host.assert_audited("request.begun", f"POST {PREFIX}/backup")
    time.sleep(0.3)

    revoke(host)
    os.close(lock)
    asking.join(20)

    assert [each.status for each in answers] == [403]
    assert host.get("/backup").status == 404


def test_logs_that_are_being_packed_are_not_sent_to_a_revoked_token(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("tokens",), authentication=TOKENS)
    token = robot(host, "read")
    lock = os.open(host.appliance.jobs / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, host, "GET", "/logs", f"token={token}", None, None, "127.0.0.5")
        time.sleep(0.5)
        revoke(host)
        os.close(lock)
        answer = asked.result(20)

    assert answer.status == 403


@pytest.mark.parametrize("plain", [False, True], ids=["TLS", "HTTP"])
def test_a_download_that_is_being_sent_is_cut_off(jidoteki_host: MakeHost, plain: bool) -> None:
    host = jidoteki_host(start=False, enable=("tokens",), authentication=TOKENS).start("--http-port", "0")
    token = robot(host, "read")
    (host.appliance.log / "big.log").write_bytes(os.urandom(48 * 1024 * 1024))
    request = f"GET {PREFIX}/logs?token={token} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    if plain:
        name, _, port = host.plain_url.removeprefix("http://").partition(":")
        client: socket.socket = socket.create_connection((name, int(port)), 30)
    else:
        client = connection(host, "127.0.0.5")

    with client:
        client.sendall(request)
        received = len(client.recv(65536))
        revoke(host)
        began = time.monotonic()
        with suppress(OSError):
            while chunk := client.recv(65536):
                received += len(chunk)
                time.sleep(0.005)

    assert received < 48 * 1024 * 1024
    assert time.monotonic() - began < 5
    host.assert_audited("authorization.revoked", f"GET {PREFIX}/logs")
