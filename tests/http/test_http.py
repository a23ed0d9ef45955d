"""HTTP on the wire: headers, errors, methods, forms, also where the framework itself would answer."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable

import pytest

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN

SECURITY_HEADERS = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Raw = Callable[[bytes], tuple[int, dict[str, str], bytes]]


@pytest.fixture(scope="module")
def host(jidoteki_module_host: Host) -> Host:
    return jidoteki_module_host


@pytest.fixture
def raw(host: Host) -> Raw:
    """Return a function that sends bytes unchanged and returns status, headers and body of the first response."""

    def send(request: bytes) -> tuple[int, dict[str, str], bytes]:
        address, port = host.url.removeprefix("https://").split(":")
        context = ssl.create_default_context(cafile=str(host.appliance.system_etc / "pki/tls/certs/enterprise.crt"))
        with socket.create_connection((address, int(port)), 15) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
                tls.sendall(request)
                answer = b""
                while b"\r\n\r\n" not in answer:
                    chunk = tls.recv(65536)
                    if not chunk:
                        break
                    answer += chunk
                head, _, body = answer.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                headers = {name: value for name, _, value in (line.partition(": ") for line in lines[1:])}
                while len(body) < int(headers.get("Content-Length", 0)):
                    chunk = tls.recv(65536)
                    if not chunk:
                        break
                    body += chunk
        return int(lines[0].split()[1]), headers, body

    return send


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/version", 200),
        ("GET", "/changelog", 200),
        ("GET", "/logs", 200),
        ("GET", "/nothing", 404),
        ("GET", "/update/log", 404),
        ("DELETE", "/version", 405),
        ("POST", "/update", 400),
        ("PUT", "/update", 405),
    ],
)
def test_every_answer_has_the_security_headers_and_no_version(host: Host, method: str, path: str, status: int) -> None:
    answer = host.curl(method, path)

    assert answer.status == status
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Server"] == "jidoteki-admin-api"


def test_a_wrong_method_says_which_are_allowed(host: Host) -> None:
    answer = host.curl("DELETE", "/update")

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    assert answer.json == {"Status": "405 Method Not Allowed", "Error-Message": "Use GET or POST"}


def test_head_answers_like_get_without_the_body(host: Host) -> None:
    get, head = host.get("/version"), host.curl("HEAD", "/version", auth="token")

    assert head.status == 200
    assert head.body == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_head_of_reboot_does_not_reboot(host: Host) -> None:
    before = set(host.appliance.jobs.glob("*-reboot.json"))

    answer = host.curl("HEAD", "/reboot", auth="token")

    assert answer.status == 202
    assert set(host.appliance.jobs.glob("*-reboot.json")) == before


AUTHENTICATED = f"?token={TOKEN} HTTP/1.1\r\nHost: x\r\n".encode()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + PREFIX.encode() + b"/version" + AUTHENTICATED + b"X: " + b"a" * 20000 + b"\r\n\r\n",
        b"GET " + b"/" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET " + PREFIX.encode() + b"/version" + AUTHENTICATED + b"Content-Length: x\r\n\r\n",
        b"GET " + PREFIX.encode() + b"/version" + AUTHENTICATED + b"Bad Header: x\r\n\r\n",
        b"POST " + PREFIX.encode() + b"/setup" + AUTHENTICATED
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET " + PREFIX.encode() + b"/version" + AUTHENTICATED.replace(b"Host", b"A: b\r\n\x00Host") + b"\r\n",
    ],
)  # fmt: skip
def test_malformed_requests_get_json_errors(raw: Raw, request_bytes: bytes) -> None:
    status, headers, body = raw(request_bytes)

    assert 400 <= status < 500
    assert json.loads(body)["Status"].startswith(str(status))
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/2.0"])
def test_other_versions_of_http_are_refused(raw: Raw, version: str) -> None:
    status, _, body = raw(f"GET {PREFIX}/version?token={TOKEN} {version}\r\nHost: x\r\n\r\n".encode())

    assert status == 400
    assert json.loads(body)["Status"].startswith(str(status))


def multipart(*parts: bytes, boundary: bytes = b"b", end: bytes = b"--b--\r\n") -> bytes:
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end
    return (
        f"POST {PREFIX}/setup?token={TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        + b"Content-Type: multipart/form-data; boundary=" + boundary
        + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )  # fmt: skip


FIELD = b'Content-Disposition: form-data; name="newtoken"\r\n\r\n'


@pytest.mark.parametrize(
    "request_bytes",
    [
        multipart(FIELD + b"a", FIELD + b"b"),
        multipart(b'Content-Disposition: form-data; name="newtoken"; filename="x"\r\n\r\nabc'),
        multipart(b"\r\nno headers"),
        multipart(b'Content-Disposition: attachment; name="newtoken"\r\n\r\nx'),
        multipart(b"Content-Disposition: form-data\r\n\r\nx"),
        multipart(b'Content-Disposition: form-data; name="other"\r\n\r\nx'),
        multipart(*[b'Content-Disposition: form-data; name="n%d"\r\n\r\nx' % n for n in range(200)]),
        multipart(FIELD + b"a" * 70000),
        multipart(FIELD + b"\xff\xfe"),
        multipart(b'Content-Disposition: form-data; name="newtoken"\r\nX: ' + b"a" * 9000 + b"\r\n\r\nx"),
        multipart(FIELD + b"x", end=b"--b"),
        multipart(FIELD + b"x", end=b""),
        multipart(FIELD + b"x").replace(b"boundary=b", b"boundary=other"),
        multipart(FIELD + b"x").replace(b"; boundary=b", b""),
        multipart(FIELD + b"x").replace(b"multipart/form-data", b"multipart/mixed"),
        multipart(FIELD + b"x").replace(b"multipart/form-data; boundary=b", b"application/json"),
        multipart(FIELD + b"x").replace(b"multipart/form-data; boundary=b", b"application/x-www-form-urlencoded"),
        multipart(FIELD + b"x").replace(b"Host: x", b"Host: x\r\nContent-Encoding: gzip"),
    ],
)
def test_odd_forms_are_refused_and_change_nothing(host: Host, raw: Raw, request_bytes: bytes) -> None:
    status, _, body = raw(request_bytes)

    assert status in (400, 413, 415)
    assert json.loads(body)["Error-Message"]
    assert host.get("/version").status == 200


def test_an_unknown_parameter_is_named(host: Host) -> None:
    answer = host.post("/setup", "-F", "newtoken=x", "-F", "newtokn=y")

    assert answer.json["Error-Message"] == "Unknown parameter 'newtokn', allowed: newtoken"


def test_parameters_that_are_no_files_may_come_urlencoded(host: Host) -> None:
    answer = host.post("/setup", "-d", f"newtoken={TOKEN}")

    assert answer.status == 200


def test_a_dry_run_of_the_setup_changes_nothing(host: Host) -> None:
    answer = host.post("/setup", "-F", "newtoken=other", query="dry-run=1")

    changes = [{"path": "token", "from": "********", "to": "********"}]
    assert answer.json == {"Status": "200 OK", "dry-run": True, "changes": changes}
    assert host.get("/version").status == 200


def test_a_misspelt_dry_run_is_refused_rather_than_done(host: Host) -> None:
    answer = host.post("/setup", "-F", "newtoken=other", query="dry-run=yes")

    assert answer.status == 400


SPELLINGS = ["dry_run=1", "dryrun=1", "Dry-Run=1", "DRYRUN", "dry%20run=1", "dry.run=true", "dryRun=0", "dry-rnu=1"]


@pytest.mark.parametrize("query", SPELLINGS)
@pytest.mark.parametrize(("method", "path"), [("POST", "/setup"), ("GET", "/reboot"), ("POST", "/reboot")])
def test_a_dry_run_in_another_spelling_is_refused_before_anything_is_done(
    host: Host, method: str, path: str, query: str
) -> None:
    before = set(host.appliance.jobs.iterdir())

    answer = host.request(method, path, {"newtoken": "other"} if path == "/setup" else {}, query=query)

    assert answer.status == 400
    assert "is unknown; did you mean dry-run?" in answer.json["Error-Message"]
    assert host.get("/version").status == 200
    assert set(host.appliance.jobs.iterdir()) == before


def test_a_dry_run_that_is_asked_for_and_not_is_refused(host: Host) -> None:
    answer = host.post("/setup", "-F", "newtoken=other", query="dry-run=0&dry-run=1")

    assert (answer.status, answer.json["Error-Message"]) == (400, "dry-run is given twice")


def test_a_parameter_in_the_query_of_a_change_is_refused(host: Host) -> None:
    answer = host.post("/setup", "-F", "newtoken=other", query="newtoken=another")

    assert (answer.status, answer.json["Error-Message"]) == (400, "newtoken must be sent in the body, not in the query")
    assert host.get("/version").status == 200


@pytest.mark.parametrize("query", ["_=1432140922", "dry=1", "run=1", "verbose=1", "dryer-runs-for-long=1"])
def test_another_word_in_the_query_of_a_change_makes_no_difference(host: Host, query: str) -> None:
    assert host.post("/setup", "-F", f"newtoken={TOKEN}", query=query).status == 200


@pytest.mark.parametrize("header", ["Sec-Purpose: prefetch", "Sec-Fetch-Site: cross-site"])
def test_a_browser_that_prefetches_or_comes_from_another_site_reboots_nothing(host: Host, header: str) -> None:
    before = set(host.appliance.jobs.glob("*-reboot.json"))

    answer = host.get("/reboot", "-H", header)

    assert answer.status == 403
    assert set(host.appliance.jobs.glob("*-reboot.json")) == before


def test_downloads_can_be_resumed(host: Host) -> None:
    (host.appliance.log / "extra.log").write_text("some text\n" * 1000)
    new = "127.0.0.31"  # an address that no other test uses
    whole = host.get("/logs", source=new)

    part = host.get("/logs", "-H", "Range: bytes=10-19", source=new)
    beyond = host.get("/logs", "-H", "Range: bytes=99999999-", source=new)

    assert whole.headers["Content-Disposition"] == 'attachment; filename="logs.tar.gz"'
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert int(whole.headers["Content-Length"]) == len(whole.body)
    assert part.status == 206
    assert len(part.body) == 10
    assert part.headers["Content-Range"].startswith("bytes 10-19/")
    assert beyond.status == 416
    assert beyond.headers["X-Frame-Options"] == "DENY"
