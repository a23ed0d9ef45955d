"""Malformed requests and forms: 4xx only, and nothing is changed.

Also request smuggling, pipelining and headers without end, on raw TLS connections.
"""

from __future__ import annotations

import json
import os
import ssl
import time

import pytest
from faultkit import Reply, Scaled, Tally, connection, read_reply, resident, send

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN

VERSION = f"{PREFIX}/version?token={TOKEN}".encode()
SETUP = f"{PREFIX}/setup?token={TOKEN}".encode()
GET = b"GET " + VERSION + b" HTTP/1.1\r\nHost: x\r\n"
POST = b"POST " + SETUP + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
MIB = 1024 * 1024

REQUESTS = {
    "no HTTP at all": b"nonsense\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET " + VERSION + b"\r\nHost: x\r\n\r\n",
    "two spaces": b"GET  " + VERSION + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "three words after the target": b"GET " + VERSION + b" x HTTP/1.1\r\nHost: x\r\n\r\n",
    "tab as separator": b"GET\t" + VERSION + b"\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "version in lower case": b"GET " + VERSION + b" http/1.1\r\nHost: x\r\n\r\n",
    "version with more digits": b"GET " + VERSION + b" HTTP/1.11\r\nHost: x\r\n\r\n",
    "version 9.9": b"GET " + VERSION + b" HTTP/9.9\r\nHost: x\r\n\r\n",
    "method with NUL": b"G\0T " + VERSION + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "method with a colon": b"G:T " + VERSION + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "method of 10,000 letters": b"G" * 10_000 + b" " + VERSION + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "method in lower case": b"get " + VERSION + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "TRACE": b"TRACE " + VERSION + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "OPTIONS of everything": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "PRI of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "target with NUL": b"GET " + VERSION + b"\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "target with a raw CR": b"GET " + VERSION + b"\rx HTTP/1.1\r\nHost: x\r\n\r\n",
    "target of 100,000 bytes": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "target without a slash": b"GET version HTTP/1.1\r\nHost: x\r\n\r\n",
    "target with dots": f"GET {PREFIX}/../admin/version?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "target with encoded dots": f"GET {PREFIX}/%2e%2e/version?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "target with an encoded letter": f"GET {PREFIX}/versio%6E?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "target with an encoded slash": f"GET {PREFIX}%2Fversion?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "target with two slashes": f"GET {PREFIX}//version?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "target with two slashes at the end": f"GET {PREFIX}/version//?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "target with broken UTF-8": f"GET {PREFIX}/version%FF?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "target with raw bytes": f"GET {PREFIX}/version".encode() + b"\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "target in capitals": f"GET {PREFIX}/VERSION?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "header without a colon": GET + b"nonsense\r\n\r\n",
    "header without a name": GET + b": x\r\n\r\n",
    "header name with a space": GET + b"Bad Header: x\r\n\r\n",
    "header with a space before the colon": GET + b"Content-Length : 5\r\n\r\nhello",
    "header name with NUL": GET + b"X\0: x\r\n\r\n",
    "header value with NUL": GET + b"X: a\0b\r\n\r\n",
    "header that is folded": GET + b"X: a\r\n b\r\n\r\n",
    "header name that is not ASCII": GET + b"X\xc3\xbc: x\r\n\r\n",
    "header of 20,000 bytes": GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "header of 1 MiB": GET + b"X: " + b"a" * MIB + b"\r\n\r\n",
    "10,000 headers": GET + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
    "length that is no number": POST + b"Content-Length: x\r\n\r\n",
    "length below zero": POST + b"Content-Length: -1\r\n\r\n",
    "length with a plus": POST + b"Content-Length: +5\r\n\r\nhello",
    "length in hexadecimal": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "length with an underscore": POST + b"Content-Length: 1_0\r\n\r\nhello12345",
    "length with other digits": POST + "Content-Length: ٥\r\n\r\nhello".encode(),
    "length without end": POST + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n",
    "two different lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello1",
    "list of lengths": POST + b"Content-Length: 5, 6\r\n\r\nhello1",
    "length and chunked": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked is not the last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "unknown transfer coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity transfer coding": POST + b"Transfer-Encoding: identity\r\n\r\nx",
    "chunked in HTTP/1.0 with a length": POST.replace(b"1.1", b"1.0") + b"Content-Length: 5\r\n"
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size that is no number": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "chunk size below zero": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
    "chunk size with 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "chunk size without end": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\n",
    "chunk longer than its size": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nhello\r\n0\r\n\r\n",
    "chunk extension of 100,000 bytes": POST + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 100_000 + b"\r\n",
    "chunk extension with a line feed": POST + b"Transfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n",
    "other expectation": POST + b"Content-Length: 5\r\nExpect: 200-maybe\r\n\r\nhello",
    "compressed form": POST + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "form of another type": POST.replace(b"x-www-form-urlencoded", b"json") + b"Content-Length: 2\r\n\r\n{}",
    "form with broken UTF-8": POST + b"Content-Length: 10\r\n\r\nnewtoken=\xff",
    "form without an equals sign": POST + b"Content-Length: 8\r\n\r\nnewtoken",
    "form of 10,000 fields": POST + b"Content-Length: 40000\r\n\r\n" + b"a=b&" * 10_000,
    "form of 1 MiB": POST + b"Content-Length: 1048576\r\n\r\nnewtoken=" + b"a" * (MIB - 9),
    "range that is damaged": GET.replace(b"/version", b"/logs") + b"Range: bytes=9-1\r\n\r\n",
}  # fmt: skip
# A range that means nothing is to be ignored, and the others mean one thing only: 200 is as right as an error.
MAY_SUCCEED = {"range that is damaged", "two spaces", "header that is folded"}
if os.environ.get("AIOHTTP_NO_EXTENSIONS"):  # whose parser in Python takes methods in any case
    MAY_SUCCEED.add("method in lower case")

UNKNOWN_VERSIONS = {
    "HTTP/0.9 without a version": b"GET /docs\r\n",
    "HTTP/0.9 without a version, of the API": b"GET " + VERSION + b"\r\n",
    "HTTP/0.9 without a version and with a line feed alone": b"GET /docs\n",
    "HTTP/0.9 without a version and with an empty line": b"GET /docs\r\n\r\n",
    "HTTP/0.9": b"GET /docs HTTP/0.9\r\nHost: x\r\n\r\n",
    "HTTP/0.9 without the end of the header": b"GET /docs HTTP/0.9\r\n",
    "HTTP/1.2": b"GET /docs HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"GET /docs HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/2.0 of the API": b"GET " + VERSION + b" HTTP/2.0\r\nHost: x\r\n\r\n",
    "a header that is none": b"GET /docs HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
}

FIELD = b'Content-Disposition: form-data; name="newtoken"\r\n\r\n'


def form(*parts: bytes, boundary: bytes = b"b", end: bytes | None = None, type: bytes | None = None) -> bytes:
    """A whole request with a multipart form."""
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    body += b"--" + boundary + b"--\r\n" if end is None else end
    kind = b"multipart/form-data; boundary=" + boundary if type is None else type
    head = b"POST " + SETUP + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: " + kind
    return head + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


def named(name: bytes) -> bytes:
    return b"Content-Disposition: form-data; name=" + name + b"\r\n\r\nx"


FORMS = {
    "no part": form(),
    "only the end": form(end=b"--b--"),
    "no end": form(FIELD + b"x", end=b""),
    "half an end": form(FIELD + b"x", end=b"--b-"),
    "no line end before the boundary": form(end=b"--b\r\n" + FIELD + b"x--b--\r\n"),
    "bare line feeds": form(end=b"--b\n" + FIELD.replace(b"\r\n", b"\n") + b"x\n--b--\n"),
    "bare carriage returns": form(end=b"--b\r" + FIELD.replace(b"\r\n", b"\r") + b"x\r--b--\r"),
    "text before": form(FIELD + b"x").replace(b"\r\n\r\n--b", b"\r\n\r\nzz--b", 1),
    "other boundary": form(FIELD + b"x", type=b"multipart/form-data; boundary=other"),
    "no boundary": form(FIELD + b"x", type=b"multipart/form-data"),
    "empty boundary": form(FIELD + b"x", type=b"multipart/form-data; boundary="),
    "quoted empty boundary": form(FIELD + b"x", type=b'multipart/form-data; boundary=""'),
    "boundary that is not ASCII": form(FIELD + b"x", type=b"multipart/form-data; boundary=\xfc"),
    "boundary of 10,000 bytes": form(FIELD + b"x", type=b"multipart/form-data; boundary=" + b"b" * 7000),
    "boundary with a newline": form(FIELD + b"x", type=b'multipart/form-data; boundary="b\\\nc"'),
    "mixed": form(FIELD + b"x", type=b"multipart/mixed; boundary=b"),
    "related": form(FIELD + b"x", type=b"multipart/related; boundary=b"),
    "digest": form(FIELD + b"x", type=b"multipart/digest; boundary=b"),
    "type without subtype": form(FIELD + b"x", type=b"multipart; boundary=b"),
    "no type": form(FIELD + b"x", type=b""),
    "same name twice": form(FIELD + b"a", FIELD + b"b"),
    "unknown name": form(named(b'"other"')),
    "no name": form(b"Content-Disposition: form-data\r\n\r\nx"),
    "empty name": form(named(b'""')),
    "name with NUL": form(named(b'"new\0token"')),
    "name with a newline": form(named(b'"new\ntoken"')),
    "name with quotes": form(named(b'"new\\"token"')),
    "name with a path": form(named(b'"../../newtoken"')),
    "name in other case": form(named(b'"NEWTOKEN"')),
    "name that is not UTF-8": form(named(b'"\xff\xfe"')),
    "name of 5,000 bytes": form(named(b'"' + b"n" * 5000 + b'"')),
    "extended name": form(b"Content-Disposition: form-data; name*=UTF-8''other\r\n\r\nx"),
    "no disposition": form(b"Content-Type: text/plain\r\n\r\nx"),
    "other disposition": form(b'Content-Disposition: attachment; name="newtoken"\r\n\r\nx'),
    "two dispositions": form(b'Content-Disposition: form-data; name="newtoken"\r\n' + FIELD + b"a b"),
    "no headers": form(b"\r\nx"),
    "header without a colon": form(b"nonsense\r\n\r\nx"),
    "header without end": form(b'Content-Disposition: form-data; name="newtoken"\r\nX: ' + b"a" * 9000 + b"\r\n\r\nx"),
    "1,000 headers": form(b"".join(b"X-%d: y\r\n" % n for n in range(1000)) + FIELD + b"x"),
    "file where text belongs": form(b'Content-Disposition: form-data; name="newtoken"; filename="x"\r\n\r\nabc'),
    "10,000 parts": form(*[b'Content-Disposition: form-data; name="n%d"\r\n\r\nx' % n for n in range(10_000)]),
    "value of 70,000 bytes": form(FIELD + b"a" * 70_000),
    "value that is not UTF-8": form(FIELD + b"\xff\xfe"),
    "empty value": form(FIELD),
    "value with NUL": form(FIELD + b"a\0b"),
    "value with a newline": form(FIELD + b"a\nb"),
    "nested form": form(b"Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n" + FIELD + b"x\r\n--c--"),
    "transfer encoding of a part": form(FIELD[:-2] + b"Content-Transfer-Encoding: base64\r\n\r\na b"),
    "charset of a part": form(FIELD[:-2] + b"Content-Type: text/plain; charset=utf-16\r\n\r\n\xff\xfea\0"),
    "charset field": form(b'Content-Disposition: form-data; name="_charset_"\r\n\r\nutf-16', FIELD + b"x"),
    "body that ends early": form(FIELD + b"x")[:-20],
    "form data after the end": form(FIELD + b"a b", end=b"--b--\r\n--b\r\n" + FIELD + b"x\r\n--b--\r\n"),
}  # fmt: skip


@pytest.fixture(scope="module")
def host(jidoteki_module_host: Host) -> Host:
    return jidoteki_module_host


def is_refusal(reply: Reply) -> bool:
    """A 4xx in the shape of this API; a connection closed unheard is a refusal too."""
    if reply.status == 0:
        return True
    if not 400 <= reply.status < 500:
        return False
    return not reply.body or json.loads(reply.body)["Status"].startswith(str(reply.status))


def token_is_unchanged(host: Host) -> bool:
    return (host.appliance.etc / "api.token").read_text() == f"{TOKEN}\n"


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_malformed_request_is_refused(host: Host, tally: Tally, kind: str) -> None:
    reply = send(host, REQUESTS[kind], "127.0.0.3")

    tally.case(is_refusal(reply) or (kind in MAY_SUCCEED and reply.status == 200), f"{kind}: {reply}")
    assert tally.failed == []
    assert token_is_unchanged(host)


@pytest.mark.parametrize("kind", UNKNOWN_VERSIONS)
def test_a_request_of_no_known_version_is_answered_in_http_1_1(host: Host, tally: Tally, kind: str) -> None:
    started = time.monotonic()
    with connection(host, "127.0.0.3") as client:
        client.sendall(UNKNOWN_VERSIONS[kind])
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")

    tally.case(head.startswith(b"HTTP/1.1 400 Bad Request\r\n"), f"{kind}: {received[:80]!r}")
    tally.case(body and json.loads(body)["Status"] == "400 Bad Request", f"{kind}: {body!r}")
    tally.case(b"\r\nX-Content-Type-Options: nosniff\r\n" in head, f"{kind}: {head!r}")
    tally.case(time.monotonic() - started < 5, f"{kind}: it took {time.monotonic() - started:.1f} s")
    assert tally.failed == []


@pytest.mark.parametrize("kind", FORMS)
def test_a_malformed_form_is_refused(host: Host, tally: Tally, kind: str) -> None:
    content = FORMS[kind]
    with connection(host, seconds=30) as client:
        client.sendall(content)
        if kind == "body that ends early":
            client.shutdown(1)
        reply = read_reply(client)

    tally.case(is_refusal(reply), f"{kind}: {reply}")
    assert tally.failed == []
    assert token_is_unchanged(host)


SMUGGLED = f"GET {PREFIX}/build?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
SMUGGLING = {
    "CL.TE": POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED)),
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n",
    "TE with a tab": POST + b"Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "TE with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "TE twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "TE behind a line feed": POST + b"X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "CL.0 on a GET": GET + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED),
    "length with a space before the colon": POST + b"Content-Length : %d\r\n\r\n" % len(SMUGGLED),
    "body of a refused request": POST.replace(b"/setup", b"/nothing") + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED),
}  # fmt: skip


@pytest.mark.parametrize("kind", SMUGGLING)
def test_a_smuggled_request_is_not_answered(host: Host, tally: Tally, kind: str) -> None:
    with connection(host) as client:
        client.sendall(SMUGGLING[kind] + SMUGGLED)
        received = read_everything(client)

    tally.case(b"builddate" not in received, f"{kind}: {received!r}")
    assert tally.failed == []


def read_everything(client: ssl.SSLSocket) -> bytes:
    client.settimeout(2)
    received = b""
    try:
        while chunk := client.recv(65536):
            received += chunk
    except (TimeoutError, OSError):
        pass
    return received


def test_pipelined_requests_are_answered_in_order(host: Host, tally: Tally, scaled: Scaled) -> None:
    number = scaled(50, 1000)
    pair = GET + b"\r\n" + SMUGGLED
    with connection(host) as client:
        client.sendall(pair * number)
        received = read_everything(client)

    answered = received.count(b"HTTP/1.1 200 OK")
    tally.case(answered == 2 * number, f"{answered} of {2 * number} answered")
    bodies = [b"version" if b'"version"' in each else b"build" for each in received.split(b"HTTP/1.1 200 OK")[1:]]
    tally.case(bodies == [b"version", b"build"] * number, "the order is wrong")
    assert tally.failed == []


CHUNKED = POST.replace(b"/setup?", b"/setup?dry-run=1&") + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = POST.replace(b"/setup?", b"/setup?dry-run=1&") + b"Content-Length: %d\r\n\r\n"
BODIES = {
    "of a length": LENGTH % 22 + b"newtoken=a%0d%0a%0d%0a",
    "of a length with empty lines": LENGTH % 13 + b"newtoken=\r\n\r\n",
    "in chunks": CHUNKED + b"a\r\nnewtoken=a\r\n0\r\n\r\n",
    "in chunks with empty lines": CHUNKED + b"d\r\nnewtoken=\r\n\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n",
    "in chunks with a trailer": CHUNKED + b"a\r\nnewtoken=a\r\n0\r\nX: y\r\n\r\n",
    "in many chunks": CHUNKED + b"9\r\nnewtoken=\r\n" + b"1\r\na\r\n" * 9000 + b"0\r\n\r\n",
    "followed by an empty line": LENGTH % 10 + b"newtoken=a" + b"\r\n",
}


@pytest.mark.parametrize("step", [1, 7, 100_000], ids=["byte by byte", "in pieces", "at once"])
@pytest.mark.parametrize("kind", BODIES)
def test_a_request_behind_a_body_is_answered(host: Host, tally: Tally, kind: str, step: int) -> None:
    content = BODIES[kind] + SMUGGLED
    with connection(host) as client:
        for start in range(0, len(content), step):
            client.sendall(content[start : start + step])
        received = read_everything(client)

    tally.case(received.count(b"HTTP/1.1 ") == 2, f"{kind}: {received[:200]!r}")
    tally.case(b"builddate" in received, f"{kind}: {received[-200:]!r}")
    assert tally.failed == []


def test_headers_without_end_take_no_memory(host: Host, tally: Tally, scaled: Scaled) -> None:
    assert host.process
    before = resident(host.process.pid, peak=True)

    for _ in range(scaled(10, 200)):
        reply = send(host, GET + b"X-Endless: " + b"a" * 4 * MIB, "127.0.0.4")
        tally.case(reply.status in (0, 400, 431), reply)

    more = resident(host.process.pid, peak=True) - before
    tally.case(more <= 8 * MIB, f"+{more // MIB} MiB")
    assert tally.failed == []


def test_a_chunked_form_without_end_is_cut_off(host: Host, tally: Tally) -> None:
    started = time.monotonic()
    with connection(host) as client:
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\nb\r\nnewtoken=ab\r\n")
        try:
            while time.monotonic() - started < 20:
                client.sendall(b"10000\r\n" + b"a" * 65536 + b"\r\n")
        except OSError:
            pass
        reply = read_reply(client)

    tally.case(time.monotonic() - started < 10, f"read for {time.monotonic() - started:.1f} s")
    tally.case(is_refusal(reply), reply)
    assert tally.failed == []
