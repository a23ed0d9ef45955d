"""Signed requests: what a signature must cover and say before it proves anything."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from signing import COVERED, NONCE, Signing, digest_of

from jidoteki.core.auth import signatures
from jidoteki.core.auth.signatures import SignatureError, Signed, verify
from jidoteki.hookspecs.credentials import secret_of

BODY = b"newtoken=mine"
DIGEST = hashlib.sha256(BODY).digest()


def key_of(keyid: str) -> bytes | None:
    return {"admin": secret_of(b"secret"), "robot": secret_of(b"r2")}.get(keyid)


def refused(request: Any) -> str:
    with pytest.raises(SignatureError) as caught:
        verify(request, key_of)
    return str(caught.value)


def test_a_signature_as_the_standard_describes_it_is_valid() -> None:
    created = int(time.time())

    assert verify(Signing(created=created).request(), key_of) == Signed("admin", NONCE, created, None)
    assert verify(Signing(query="a=1&b=%20").request(), key_of).keyid == "admin"
    assert verify(Signing(method="HEAD").request(), key_of).digest is None
    robot = Signing(token="r2", parameters={"keyid": '"robot"'})
    assert verify(robot.request(), key_of).keyid == "robot"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("body", [BODY, b""])
def test_a_signature_of_a_request_with_a_body_says_its_digest(method: str, body: bytes) -> None:
    signed = verify(Signing(method=method, body=body).request(), key_of)

    assert signed.digest == hashlib.sha256(body).digest()


def test_a_digest_is_needed_with_every_method_that_may_have_a_body_and_with_every_body() -> None:
    for request in (
        Signing(method="POST").request(),
        Signing(method="POST").request(can_read_body=True),
        Signing(method="GET").request(can_read_body=True),
        Signing(method="HEAD").request(can_read_body=True),
    ):
        assert "content-digest" in refused(request)


def test_the_digest_of_a_body_that_may_not_be_is_signed_and_nobodys() -> None:
    assert verify(Signing(body=BODY).request(can_read_body=False), key_of).digest is None
    assert verify(Signing(body=BODY).request(), key_of).digest == DIGEST


@pytest.mark.parametrize("left_out", COVERED)
def test_each_part_must_be_covered(left_out: str) -> None:
    told = refused(Signing(covered=tuple(each for each in COVERED if each != left_out)).request())

    assert left_out in told


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "POST", "can_read_body": False},
        {"rel_url": Signing(path="/api/v1/admin/build").request().rel_url},
        {"rel_url": Signing(query="dry-run=1").request().rel_url},
        {"headers": Signing(token="guess").headers()},
    ],
    ids=["method", "path", "query", "key"],
)
def test_what_was_signed_must_be_what_was_sent(changed: dict[str, Any]) -> None:
    assert refused(Signing().request(**changed))


@pytest.mark.parametrize(
    ("name", "value"), [("Host", "other.example"), ("Content-Digest", digest_of(b"newtoken=evil"))]
)
def test_what_was_signed_in_headers_must_be_what_was_sent(name: str, value: str) -> None:
    request = Signing(method="POST", body=BODY).request()
    assert verify(request, key_of)
    request.headers[name] = value

    assert refused(request)


def test_a_key_that_nobody_has_signs_nothing() -> None:
    assert "nobody has this key" in refused(Signing(parameters={"keyid": '"nobody"'}).request())


# Of the future the library takes a few seconds alone.
@pytest.mark.parametrize("age", [0, 290, -3])
def test_a_signature_counts_for_five_minutes(age: int) -> None:
    assert verify(Signing(created=time.time() - age).request(), key_of)


@pytest.mark.parametrize("age", [310, 3600, -310, -(10**6)])
def test_a_signature_of_another_time_is_refused(age: int) -> None:
    assert refused(Signing(created=time.time() - age).request())


class Verified:
    """What the library found valid."""

    def __init__(self, **parameters: object) -> None:
        self.parameters = {"keyid": "admin", "nonce": NONCE, "created": int(time.time()), **parameters}


def test_of_what_the_library_verified_a_window_of_300_seconds_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = float(int(time.time()))
    monkeypatch.setattr(time, "time", lambda: now)

    for age in (300, -300, 0):
        assert signatures._signed([Verified(created=int(now) - age)], None).created == int(now) - age
    for age in (301, -301):
        with pytest.raises(SignatureError, match="within the last 300 seconds"):
            signatures._signed([Verified(created=int(now) - age)], None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"keyid": None},
        {"keyid": 1},
        {"nonce": None},
        {"nonce": 1},
        {"nonce": b"x" * 20},
        {"nonce": "x" * 15},
        {"nonce": "x" * 129},
        {"nonce": "x" * 15 + " "},
        {"nonce": "x" * 16 + "\n"},
    ],
)
def test_key_and_nonce_must_be_there(wrong: dict[str, object]) -> None:
    with pytest.raises(SignatureError, match="keyid and nonce"):
        signatures._signed([Verified(**wrong)], None)


@pytest.mark.parametrize("nonce", ["x" * 16, "x" * 128, "!~" * 10])
def test_a_nonce_has_16_to_128_printable_characters(nonce: str) -> None:
    assert signatures._signed([Verified(nonce=nonce)], None).nonce == nonce


@pytest.mark.parametrize("created", [None, "1", 1.5, 1_700_000_000.5])
def test_the_time_must_be_a_whole_number(created: object) -> None:
    with pytest.raises(SignatureError, match="not created"):
        signatures._signed([Verified(created=created)], None)


def test_exactly_one_signature_counts() -> None:
    for found in ([], [Verified(), Verified()]):
        with pytest.raises(SignatureError, match="exactly one"):
            signatures._signed(found, None)


def test_two_signatures_or_none_are_refused_before_they_are_taken_apart() -> None:
    two = Signing().request()
    two.headers.extend(Signing(label="other").headers())
    none = Signing().request()
    del none.headers["Signature-Input"]
    in_one = Signing().request()
    in_one.headers["Signature-Input"] += f", {Signing(label='other').headers()['Signature-Input']}"

    for request in (two, none, in_one):
        assert refused(request) == signatures.ONE


@pytest.mark.parametrize(("length", "told"), [(1024, ""), (1025, "its headers are longer than 1024 characters")])
def test_the_three_headers_have_1024_characters_together(length: int, told: str) -> None:
    request = Signing(method="POST", body=BODY).request()
    headers = request.headers
    used = sum(len(headers[name]) for name in ("Signature", "Signature-Input", "Content-Digest"))
    headers.add("Content-Digest", "x" * (length - used))

    if told:
        assert refused(request) == told
    else:
        assert "longer" not in refused(request)


@pytest.mark.parametrize("name", ["Signature", "Signature-Input", "Content-Digest"])
def test_each_of_them_counts(name: str) -> None:
    request = Signing().request()
    request.headers.add(name, "x" * 1025)

    assert "longer" in refused(request)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Signature", ""), ("Signature", "sig=:AA==:"), ("Signature", "\x7f"), ("Signature-Input", 'sig=("@method"')],
)
def test_nonsense_is_not_signed(name: str, value: str) -> None:
    request = Signing().request()
    request.headers[name] = value

    assert refused(request)


def test_a_request_without_host_is_not_signed() -> None:
    request = Signing(host="").request()
    del request.headers["Host"]

    assert refused(request)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "sha-256=:AA==:",
        digest_of(BODY) + ", " + digest_of(BODY),
        "sha-512" + digest_of(BODY)[7:],
        "x" + digest_of(BODY),
    ],
)
def test_the_digest_is_one_of_sha_256(header: str) -> None:
    with pytest.raises(SignatureError, match="one sha-256 digest"):
        signatures._digest(header)
    assert signatures._digest(f" {digest_of(BODY)} ") == DIGEST


def test_no_signature_is_made_with_another_algorithm() -> None:
    assert refused(Signing(parameters={"alg": '"rsa-pss-sha512"'}).request())
    assert verify(Signing(parameters={"alg": '"hmac-sha256"'}).request(), key_of)
