"""Error messages for common mistakes at the first contact with an appliance."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time

import pytest

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost


@pytest.fixture(scope="module")
def host(jidoteki_module_host: Host) -> Host:
    return jidoteki_module_host


def address_of(host: Host) -> tuple[str, int]:
    name, _, port = host.url.removeprefix("https://").partition(":")
    return name, int(port)


def spoken(host: Host, *pieces: bytes) -> bytes:
    """Return the response to bytes on the HTTPS port, without TLS."""
    with socket.create_connection(address_of(host), 10) as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.1)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
        return received


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_http_on_the_https_port_is_told_so_in_plain_text(host: Host, method: str) -> None:
    done = subprocess.run(
        ["curl", "-sSi", "-X", method, f"{host.url.replace('https', 'http')}{PREFIX}/version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    head, _, body = done.stdout.replace("\r", "").partition("\n\n")
    assert head.startswith("HTTP/1.1 400 Bad Request\n")
    assert "Content-Type: text/plain; charset=utf-8" in head
    assert body == "This port speaks HTTPS: write https:// in place of http://\n"


def test_an_upload_over_http_is_told_so(host: Host) -> None:
    done = subprocess.run(
        ["curl", "-sS", "-F", "update=@-", f"{host.url.replace('https', 'http')}{PREFIX}/update"],
        input=bytes(3_000_000), capture_output=True, check=True,
    )  # fmt: skip

    assert b"https://" in done.stdout


@pytest.mark.parametrize("size", [1, 2, 3, 4, 10])
def test_http_in_small_pieces_is_told_so(host: Host, size: int) -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[:12]

    answer = spoken(host, *(request[start : start + size] for start in range(0, len(request), size)))

    assert b"https://" in answer


@pytest.mark.parametrize("content", [b"HELLO\r\n\r\n", b"GETX / HTTP/1.1\r\n\r\n", b"\0" * 20, b"SSH-2.0-x\r\n"])
def test_what_is_neither_gets_no_page(host: Host, content: bytes) -> None:
    assert b"https://" not in spoken(host, content)


def test_http_on_the_https_port_is_no_way_to_keep_connections(host: Host) -> None:
    started = time.monotonic()

    assert b"400" in spoken(host, b"GET / HTTP/1.1\r\n")

    with socket.create_connection(address_of(host), 30) as client, contextlib.suppress(ConnectionResetError):
        client.sendall(b"GE")
        assert client.recv(100) == b""
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("path", ["/version", "/update", "/reboot"])
def test_an_appliance_that_was_never_set_up_says_so(jidoteki_host: MakeHost, path: str) -> None:
    host = jidoteki_host(token=None)

    before = host.get(path, auth="none")
    host.post("/setup", "-F", "newtoken=mine", auth="none", source="127.0.0.2")
    after = host.get("/version", auth="none", source="127.0.0.3")

    assert (before.status, after.status) == (403, 403)
    assert "POST /setup" in before.json["Error-Message"]
    assert before.json["Error-Message"].startswith("Authentication error")
    assert after.json["Error-Message"] == "Authentication error"


def test_where_a_token_is_damaged_nobody_is_told_to_set_up_anything(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token="")  # a damaged token authorizes nobody

    answer = host.get("/version", auth="none")

    assert answer.json["Error-Message"] == "Authentication error"


@pytest.mark.parametrize("path", ["/nothing", "/", "/version/more", "/versoin"])
def test_an_unknown_path_points_to_the_manual(host: Host, path: str) -> None:
    answer = host.get(path, auth="none")

    assert (answer.status, "/docs" in answer.json["Error-Message"]) == (404, True)
    assert answer.headers["Error-Message"] == answer.json["Error-Message"]


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/api/v1/version", "/docs/nothing"])
def test_an_unknown_path_elsewhere_points_to_the_manual(host: Host, path: str) -> None:
    done = subprocess.run(["curl", "-sSk", f"{host.url}{path}"], capture_output=True, text=True, check=True)

    assert "/docs" in done.stdout


@pytest.mark.parametrize(
    "path",
    ["/version", "/changelog", "/build", "/settings", "/storage", "/license", "/backup", "/backup/download",
     "/backup/log", "/update/log", "/certs"],
)  # fmt: skip
def test_every_404_says_what_is_missing(jidoteki_host: MakeHost, path: str) -> None:
    host = jidoteki_host()
    for name in ("version.txt", "changelog.txt"):
        (host.appliance.etc / name).unlink(missing_ok=True)
    (host.appliance.system_etc / "build.json").unlink(missing_ok=True)

    answer = host.get(path)

    assert answer.status == 404 or path in ("/certs", "/storage", "/license")
    if answer.status == 404:
        assert answer.json["Error-Message"] == answer.headers["Error-Message"]


FOREIGN = (
    ("Origin: https://elsewhere.example", "Sec-Fetch-Site: cross-site"),
    ("Origin: http://localhost:8080",),
    ("Origin: null",),
)


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_host_makes_no_first_setup(jidoteki_host: MakeHost, headers: tuple[str, ...]) -> None:
    host = jidoteki_host(token=None)

    answer = host.curl(
        "POST", "/setup", *(word for each in headers for word in ("-H", each)), "-F", "newtoken=theirs", auth="none"
    )

    assert (answer.status, answer.json["Error-Message"]) == (403, "The first setup is not for pages of other sites")
    assert not (host.appliance.etc / "api.token").exists()


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Origin: http://127.0.0.1", "Sec-Fetch-Site: cross-site"),
        ("Origin: https://proxy.example", "Sec-Fetch-Site: same-origin"),
    ],
)
def test_scripts_and_pages_of_the_appliance_itself_make_it(jidoteki_host: MakeHost, headers: tuple[str, ...]) -> None:
    host = jidoteki_host(token=None)

    answer = host.curl(
        "POST", "/setup", *(word for each in headers for word in ("-H", each)), "-F", "newtoken=mine", auth="none"
    )

    assert answer.status == 200
