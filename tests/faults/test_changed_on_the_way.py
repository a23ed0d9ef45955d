"""Whoever saw a signed request can make nothing else of it, on this appliance or another."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import subprocess
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from faultkit import Reply, Tally, address_of, connection, read_reply

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import TOKEN, MakeHost

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SIGNATURES = {"named-tokens": True, "signatures": True}


def sign(
    method: str, authority: str, path: str, query: str = "", body: bytes | None = None, keyid: str = "admin",
    token: str = TOKEN, created: int | None = None,
) -> dict[str, str]:  # fmt: skip
    """The headers of a signed request, made from RFC 9421 without the library that the service uses."""
    values = {"@method": method, "@authority": authority, "@path": PREFIX + path, "@query": f"?{query}"}
    headers = {}
    if body is not None:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        headers["Content-Digest"] = values["content-digest"] = f"sha-256=:{digest}:"
    covered = " ".join(f'"{name}"' for name in values)
    when = int(time.time()) if created is None else created
    parameters = f'({covered});created={when};keyid="{keyid}";nonce="{secrets.token_urlsafe(24)}"'
    base = "\n".join(f'"{name}": {value}' for name, value in values.items()) + f'\n"@signature-params": {parameters}'
    key = hashlib.sha256(token.encode()).hexdigest().encode()
    signature = base64.b64encode(hmac.new(key, base.encode(), "sha256").digest()).decode()
    return {**headers, "Signature-Input": f"sig={parameters}", "Signature": f"sig=:{signature}:"}


def send(
    host: Host, method: str, target: str, authority: str, headers: Mapping[str, str], body: bytes = b"",
    source: str = "127.0.0.1",
) -> Reply:  # fmt: skip
    """Send a request whose parts need not fit each other."""
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {authority}",
        *(f"{name}: {text}" for name, text in headers.items()),
    ]
    lines += [f"Content-Length: {len(body)}"] if body or method == "POST" else []
    with connection(host, source) as client:
        client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
        return read_reply(client)


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=("tokens",), authentication=SIGNATURES, limits={"failed-authentication-pause": 0.1})


def authority_of(host: Host) -> str:
    return urlsplit(host.url).netloc


MARKS = ("#", "?", "?#", "/#", "/..", "/../", "%23", "%3f", "\\", "@", ";", ",", " ", "\t")
TARGETS = ("/tokens", "/reboot?dry-run=1", "/settings", "/backup/download", "/version?x=1")


def test_no_host_header_makes_a_signed_read_count_for_anything_else(host: Host, tally: Tally) -> None:
    own = authority_of(host)
    right = send(host, "GET", f"{PREFIX}/version", own, sign("GET", own, "/version"))
    tally.case(right.status == 200, right)

    for number, mark in enumerate(MARKS):
        for target in TARGETS:
            evil = f"{own}{PREFIX}/version{mark}"
            answer = send(
                host, "GET", PREFIX + target, evil, sign("GET", own, "/version"), source=f"127.0.3.{number + 1}"
            )
            tally.case(answer.status in (400, 403), f"{mark!r} {target}: {answer}")
    assert tally.failed == []


@pytest.mark.parametrize(
    "hosts",
    [(), ("a", "b"), ("",), (" ",), ("a b",), ("a/b",), ("a#",), ("a?b",), ("u@a",), ("a:b",), ("a:0",), ("a:65536",),
     ("a:1:2",), ("[::1",), ("[::g]",), ("::1",), ("a\\",), ("ä",), ("a,b",), ("a%23",)],
    ids=repr,
)  # fmt: skip
def test_a_host_header_that_is_no_host_is_refused(jidoteki_module_host: Host, hosts: tuple[str, ...]) -> None:
    lines = [f"GET {PREFIX}/version?token={TOKEN} HTTP/1.1", *(f"Host: {each}" for each in hosts)]

    with connection(jidoteki_module_host) as client:
        client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        answer = read_reply(client)

    assert answer.status == 400


@pytest.mark.parametrize(
    "good", ["a", "A.example", "a.example:8443", "[::1]", "[fe80::1]:8443", "127.0.0.1", "under_score"]
)
def test_every_host_header_of_the_standard_is_taken(jidoteki_module_host: Host, good: str) -> None:
    answer = send(jidoteki_module_host, "GET", f"{PREFIX}/version?token={TOKEN}", good, {})

    assert answer.status == 200


@pytest.mark.parametrize(
    "target", [f"{PREFIX}/version?token={TOKEN}#x", f"https://other{PREFIX}/version?token={TOKEN}"]
)
def test_a_target_that_can_be_read_in_two_ways_is_refused(jidoteki_module_host: Host, target: str) -> None:
    assert send(jidoteki_module_host, "GET", target, "127.0.0.1", {}).status == 400


def test_a_signed_dry_run_is_never_carried_out(host: Host) -> None:
    own, body = authority_of(host), b"name=robot"
    made = host.post("/tokens", "-F", "name=robot", "-F", "scopes=read")
    assert made.status == 200
    headers = {**sign("POST", own, "/tokens/revoke", "dry-run=1", body), **FORM}

    without = send(host, "POST", f"{PREFIX}/tokens/revoke", own, headers, body)
    in_host = send(
        host, "POST", f"{PREFIX}/tokens/revoke", f"{own}{PREFIX}/tokens/revoke?dry-run=1#", headers, body, "127.0.0.2"
    )

    assert (without.status, in_host.status) == (403, 400)
    assert "robot" in host.get("/tokens", source="127.0.0.9").json["tokens"]


def test_a_body_that_was_taken_away_or_never_signed_is_missed(host: Host) -> None:
    own = authority_of(host)

    stop, dry_run = f"{PREFIX}/backup", f"{PREFIX}/reboot?dry-run=1"
    headers = {**sign("POST", own, "/backup", body=b"action=STOP"), **FORM}
    without_digest = sign("POST", own, "/reboot", "dry-run=1")
    with_digest = sign("POST", own, "/reboot", "dry-run=1", b"")

    taken_away = send(host, "POST", stop, own, headers)
    unsigned = send(host, "POST", dry_run, own, without_digest, source="127.0.0.2")
    empty = send(host, "POST", dry_run, own, with_digest, source="127.0.0.3")

    assert taken_away.status == 400
    assert json.loads(taken_away.body)["Error-Message"] == "The body is not the one that was signed"
    assert (unsigned.status, empty.status) == (403, 202)


def test_a_signed_request_counts_on_one_appliance_only(jidoteki_host: MakeHost) -> None:
    one, other = (jidoteki_host(authentication=SIGNATURES) for _ in range(2))
    headers = sign("GET", authority_of(one), "/version")

    elsewhere = send(other, "GET", f"{PREFIX}/version", authority_of(one), headers)
    as_other = send(other, "GET", f"{PREFIX}/version", authority_of(other), headers, source="127.0.0.2")
    here = send(one, "GET", f"{PREFIX}/version", authority_of(one), headers)

    assert (elsewhere.status, as_other.status, here.status) == (403, 403, 200)
    assert "which is no name of this appliance" in json.loads(elsewhere.body)["Error-Message"]


@pytest.mark.parametrize(
    ("name", "configured", "status"),
    [
        ("localhost:{port}", [], 200),
        ("{hostname}:{port}", [], 200),
        ("127.0.0.1:{port}", [], 200),
        ("127.0.0.2:{port}", [], 403),
        ("127.0.0.1:1", [], 403),
        ("appliance.example", [], 403),
        ("appliance.example", ["appliance.example"], 200),
        ("appliance.example:9999", ["appliance.example"], 200),
        ("appliance.example:9999", ["appliance.example:8443"], 403),
        ("Appliance.Example:8443", ["appliance.example:8443"], 200),
    ],
)
def test_the_names_of_an_appliance(jidoteki_host: MakeHost, name: str, configured: list[str], status: int) -> None:
    hostname = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
    host = jidoteki_host(authentication={**SIGNATURES, "names": configured})
    shown = name.format(port=address_of(host)[1], hostname=hostname)

    answer = send(host, "GET", f"{PREFIX}/version", shown, sign("GET", shown.lower(), "/version"))

    assert answer.status == status, answer


def test_a_name_in_a_new_certificate_is_one_of_the_appliance_at_once(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(authentication=SIGNATURES)
    shown = f"box.customer.example:{address_of(host)[1]}"
    before = send(host, "GET", f"{PREFIX}/version", shown, sign("GET", shown, "/version"))
    directory = host.appliance.root
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
         "-subj", "/CN=box", "-addext", "subjectAltName=DNS:box.customer.example,DNS:*.customer.example,IP:127.0.0.1",
         "-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    host.post("/certs", "-F", f"public=@{directory}/cert.pem", "-F", f"private=@{directory}/key.pem")
    new = (directory / "cert.pem").read_bytes()
    wait_until(lambda: host.certificate.read_bytes() == new)
    wait_until(lambda: new in (host.appliance.system_etc / "pki/tls/enterprise.pem").read_bytes())

    after = send(host, "GET", f"{PREFIX}/version", shown, sign("GET", shown, "/version"), source="127.0.0.2")
    other = f"another.customer.example:{address_of(host)[1]}"
    by_wildcard = send(host, "GET", f"{PREFIX}/version", other, sign("GET", other, "/version"), source="127.0.0.3")

    assert (before.status, after.status, by_wildcard.status) == (403, 200, 403)


@pytest.mark.parametrize("keyid", ["first-setup", "first-run", "nobody", "", "a" * 5000])
def test_nobody_signs_with_a_key_that_is_none(host: Host, keyid: str) -> None:
    own = authority_of(host)
    headers = sign("GET", own, "/version", keyid=keyid, token="")
    empty_key = hmac.new(b"", b"x", "sha256").digest()

    made_up = send(host, "GET", f"{PREFIX}/version", own, headers)
    with_empty_key = send(
        host, "GET", f"{PREFIX}/version", own,
        {**headers, "Signature": f"sig=:{base64.b64encode(empty_key).decode()}:"}, source="127.0.0.2",
    )  # fmt: skip

    assert (made_up.status, with_empty_key.status) == (403, 403)
