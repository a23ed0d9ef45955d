"""What can be switched on beside the reference's authentication: named tokens with scopes, and signed requests."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from places import ROOT
from signed_curl import send, sign

from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.credentials import request_hash
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=("tokens",), authentication={"named-tokens": True, "signatures": True})


def add(host: Host, name: str, scopes: str) -> str:
    answer = host.post("/tokens", "-F", f"name={name}", "-F", f"scopes={scopes}")
    assert answer.status == 200, answer
    token: str = answer.json["token"]
    return token


def with_token(host: Host, token: str, method: str, path: str, *arguments: str, source: str = "127.0.0.1") -> int:
    return host.curl(method, path, *arguments, auth="none", query=f"token={token}", source=source).status


def test_a_named_token_does_what_its_scopes_say_and_nothing_else(host: Host) -> None:
    token = add(host, "monitor", "read, POST /backup")

    assert with_token(host, token, "GET", "/version") == 200
    assert with_token(host, token, "POST", "/backup", "-F", "action=START") == 202
    assert with_token(host, token, "POST", "/backup/restore", "-F", "archive=@/etc/hostname") == 400
    assert with_token(host, token, "GET", "/reboot") == 403
    assert with_token(host, token, "POST", "/update") == 403
    assert with_token(host, token, "GET", "/version") == 200


@pytest.mark.parametrize("path", ["/setup", "/tokens"])
def test_no_named_token_can_give_itself_more(host: Host, path: str) -> None:
    token = add(host, "all", "all")

    assert with_token(host, token, "POST", path, "-F", "newtoken=mine", "-F", "name=x", "-F", "scopes=all") == 403
    assert with_token(host, token, "GET", "/tokens") == 403
    assert with_token(host, token, "GET", "/reboot") == 202


def test_a_named_token_makes_hashes_and_is_named_in_the_audit_log(host: Host) -> None:
    token = add(host, "robot", "/reboot")
    signed = request_hash("GET", f"{PREFIX}/reboot", token)

    answer = host.get("/reboot", auth="none", query=f"hash={signed}")

    assert answer.status == 202
    assert [line[3] for line in host.audit() if line[4].startswith("request.")][-2:] == ["robot", "robot"]


def test_tokens_are_listed_without_their_secrets_and_revoked_at_once(host: Host) -> None:
    token = add(host, "one", "read")
    add(host, "two", "/backup")

    listed = host.get("/tokens").json["tokens"]
    revoked = host.post("/tokens/revoke", "-F", "name=one")
    again = host.post("/tokens/revoke", "-F", "name=one")

    assert {name: entry["scopes"] for name, entry in listed.items()} == {"one": ["read"], "two": ["/backup"]}
    assert (revoked.status, again.status) == (200, 404)
    assert with_token(host, token, "GET", "/version", source="127.0.0.2") == 403
    stored = host.appliance.etc / "api.tokens.json"
    assert stored.stat().st_mode & 0o777 == 0o600
    assert token not in stored.read_text()


def test_what_is_stored_of_a_token_is_closed_again_at_each_change_and_is_no_token(host: Host) -> None:
    add(host, "one", "read")
    stored = host.appliance.etc / "api.tokens.json"
    stored.chmod(0o644)

    token = add(host, "two", "read")

    key = json.loads(stored.read_text())["tokens"]["two"]["key"]
    assert stored.stat().st_mode & 0o777 == 0o600
    assert with_token(host, token, "GET", "/version") == 200
    assert with_token(host, key, "GET", "/version", source="127.0.0.2") == 403


def test_the_manual_says_that_the_file_of_tokens_signs_as_they_do(host: Host) -> None:
    add(host, "one", "read")
    stored = json.loads((host.appliance.etc / "api.tokens.json").read_text())["tokens"]["one"]
    proof = hmac.new(stored["key"].encode(), f"GET{PREFIX}/version".encode(), "sha256").hexdigest()
    manual = " ".join((ROOT / "docs/api.md").read_text().split())

    answer = host.get("/version", auth="none", query=f"hash={proof}")

    assert answer.status == 200
    assert "**whoever reads that file can sign whatever those tokens may do**" in manual


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("admin", "read"), ("Bad", "read"), ("ok", "everything"), ("ok", ""), ("ok", "GET version"), ("ok", "/a,,/b")],
)
def test_wrong_names_and_scopes_are_refused(host: Host, name: str, scopes: str) -> None:
    answer = host.post("/tokens", "-F", f"name={name}", "-F", f"scopes={scopes}")

    assert (answer.status, "must" in answer.json["Error-Message"]) == (400, True)


USELESS = {
    f"{PREFIX}/backup": "write /backup, without /api/v1/admin",
    f"GET {PREFIX}/backup": "write GET /backup, without",
    "/backups": "did you mean /backup?",
    "/backup/downlod": "did you mean /backup/download?",
    "PUT /backup": "/backup has GET, POST alone",
    "POST /version": "/version has GET alone",
    "/nothing-like-it": "GET /endpoints lists what there is",
    "/setup": "the administrator's token alone",
    "GET /tokens": "the administrator's token alone",
    "/tokens/revoke": "the administrator's token alone",
}


@pytest.mark.parametrize("query", ["", "dry-run=1"])
def test_a_scope_that_allows_nothing_is_warned_of_by_name(host: Host, query: str) -> None:
    for number, (scope, told) in enumerate(USELESS.items()):
        answer = host.request("POST", "/tokens", {"name": f"ok{number}", "scopes": f"read, {scope}"}, query=query)

        assert answer.status == 200, scope
        (warning,) = answer.json["warnings"]
        assert warning.startswith(f"scopes: {scope} allows nothing") and told in warning
    assert len(host.get("/tokens").json["tokens"]) == (0 if query else len(USELESS))


def test_of_scopes_that_allow_something_nothing_is_warned(host: Host) -> None:
    useful = "read,/backup,POST /backup/restore,GET /jobs,/jobs/000001-backup,/update/log,/reboot,GET /settings"

    answer = host.request("POST", "/tokens", {"name": "useful", "scopes": useful})

    assert (answer.status, "warnings" in answer.json) == (200, False)


def test_named_tokens_count_and_are_made_only_when_they_are_switched_on(host: Host) -> None:
    token = add(host, "one", "read")
    host.configure(authentication={})
    host.reload()

    made = host.post("/tokens", "-F", "name=two", "-F", "scopes=read")
    tried = host.post("/tokens", "-F", "name=two", "-F", "scopes=read", query="dry-run=1")

    assert (made.status, tried.status) == (400, 400)
    assert "authentication.named-tokens" in made.json["Error-Message"] and "token" not in made.json
    assert list(host.get("/tokens").json["tokens"]) == ["one"]
    assert with_token(host, token, "GET", "/version") == 403


BODY = b"newtoken=another"
FORM = ("-H", "Content-Type: application/x-www-form-urlencoded", "--data-binary")


def test_a_signed_request_counts_once_also_after_a_restart(host: Host) -> None:
    headers = sign(host, "GET", "/version")

    first = send(host, "GET", "/version", headers)
    second = send(host, "GET", "/version", headers, source="127.0.0.2")
    port = host.url.rpartition(":")[2]
    host.stop()
    host.start("--port", port)
    third = send(host, "GET", "/version", headers, source="127.0.0.3")

    assert (first.status, second.status, third.status) == (200, 403, 403)


def test_no_signature_counts_while_first_run_is_pending(host: Host) -> None:
    token = add(host, "signer", "read")
    (host.appliance.etc / "api.token").unlink()
    host.configure(**{"first-run": {"enabled": True}})
    host.reload()

    answer = send(host, "GET", "/version", sign(host, "GET", "/version", token=token, keyid="signer"))

    assert (answer.status, answer.json["First-Run"]) == (403, True)


def test_a_signed_body_must_be_the_one_that_was_signed(host: Host) -> None:
    changed = send(host, "POST", "/setup", sign(host, "POST", "/setup", BODY), *FORM, "newtoken=evil")
    right = send(host, "POST", "/setup", sign(host, "POST", "/setup", BODY), *FORM, BODY.decode())

    assert (changed.status, changed.json["Error-Message"]) == (400, "The body is not the one that was signed")
    assert right.status == 200
    assert (host.appliance.etc / "api.token").read_text() == "another\n"


@pytest.mark.parametrize(
    "options",
    [
        {"token": "wrong"},
        {"keyid": "nobody"},
        {"age": 400},
        {"age": -400},
        {"nonce": None},
        {"nonce": "short"},
        {"covered": ("@method", "@authority", "@path")},
        {"covered": ("@authority", "@path", "@query")},
        {"covered": ("@method", "@authority", "@query")},
    ],
    ids=str,
)
def test_a_signature_that_proves_too_little_is_refused(host: Host, options: dict[str, Any]) -> None:
    assert send(host, "GET", "/version", sign(host, "GET", "/version", **options)).status == 403


def test_a_signature_is_worth_nothing_for_another_request(host: Host) -> None:
    headers = sign(host, "GET", "/version")

    other_path = send(host, "GET", "/build", headers)
    other_method = send(host, "POST", "/version", headers, source="127.0.0.2")
    no_digest = send(host, "POST", "/setup", sign(host, "POST", "/setup"), *FORM, "newtoken=x", source="127.0.0.3")

    assert (other_path.status, other_method.status, no_digest.status) == (403, 405, 403)


def test_a_named_token_signs_within_its_scopes(host: Host) -> None:
    token = add(host, "signer", "read")

    read = send(host, "GET", "/version", sign(host, "GET", "/version", token=token, keyid="signer"))
    change = send(host, "GET", "/reboot", sign(host, "GET", "/reboot", token=token, keyid="signer"))

    assert (read.status, change.status) == (200, 403)


@pytest.mark.parametrize(
    "header",
    [
        "Signature-Input: ",
        "Signature-Input: sig=(",
        'Signature-Input: a=("@method");created=1',
        "Signature-Input: \x7f",
    ],
)
def test_nonsense_in_the_signature_headers_is_refused(host: Host, header: str) -> None:
    answer = host.get("/version", "-H", header, "-H", "Signature: sig=:AA==:", auth="none")

    assert answer.status in (400, 403)


def test_signatures_are_ignored_unless_they_are_switched_on(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()

    signed = send(host, "GET", "/version", sign(host, "GET", "/version"))

    assert signed.status == 403
    assert json.loads(signed.body)["Status"] == "403 Forbidden"


def test_what_a_scope_does_not_allow_uses_up_no_nonce(host: Host) -> None:
    token = add(host, "signer", "/backup")
    headers = sign(host, "GET", "/version", token=token, keyid="signer")

    refused = [send(host, "GET", "/version", headers).status for _ in range(2)]

    assert refused == [403, 403]
    assert not list(host.appliance.jobs.glob("nonces-*"))


def with_an_extension_twice() -> tuple[bytes, bytes]:
    """A key and a certificate that OpenSSL serves, and whose extensions others refuse to read."""
    now, key, oid = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1()), x509.ObjectIdentifier("1.3.6.1.4.1.9")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    alternative = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    builder = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(alternative, critical=False)
    )
    for value in (b"\x0c\x01a", b"\x0c\x01b"):
        extension = x509.Extension(oid, False, x509.UnrecognizedExtension(oid, value))
        builder._extensions = [*builder._extensions, extension]
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_certificate_that_cannot_be_read_whole_harms_no_request(host: Host) -> None:
    private, certificate = with_an_extension_twice()
    tls = host.appliance.system_etc / "pki/tls"
    host.appliance.replace_files(
        {tls / "enterprise.pem": private + certificate, tls / "certs/enterprise.crt": certificate}, 0o644
    )

    stranger = host.get("/version", "-H", "Signature-Input: x", auth="none")

    assert stranger.status == 403
    assert send(host, "GET", "/version", sign(host, "GET", "/version"), source="127.0.0.2").status == 200
