"""What a request shows: which part of it is the credential, and what a token accepts."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from jidoteki.core.auth import credentials
from jidoteki.core.auth.credentials import Credential, credential_of, key_of
from jidoteki.hookspecs import ApiError
from jidoteki.hookspecs.credentials import hash_with, request_hash, secret_of

PATH = "/api/v1/admin/version"


def expected_hash(token: bytes, text: bytes) -> str:
    """As the reference makes it."""
    key = hashlib.sha256(token).hexdigest().encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def test_the_hash_is_that_of_method_and_path_keyed_with_the_digest_of_the_token() -> None:
    assert request_hash("GET", PATH, "secret") == expected_hash(b"secret", b"GET" + PATH.encode())
    assert request_hash("POST", PATH, "secret") == expected_hash(b"secret", b"POST" + PATH.encode())
    assert request_hash("HEAD", PATH, "secret") == request_hash("GET", PATH, "secret")
    assert hash_with(secret_of(b"secret"), "GET", PATH) == request_hash("GET", PATH, "secret")


def test_a_path_that_is_not_utf_8_has_a_hash_of_its_bytes() -> None:
    assert request_hash("GET", "/\udcff", "secret") == expected_hash(b"secret", b"GET/\xff")


@pytest.mark.parametrize(
    ("query", "authorization", "shown"),
    [
        ("", None, None),
        ("token=abc", None, Credential("token", b"abc")),
        ("hash=abc", None, Credential("hash", b"abc")),
        ("token=abc&hash=def", None, Credential("hash", b"def")),
        ("token=abc&hash=", None, Credential("token", b"abc")),
        ("token=&hash=", None, None),
        ("token", None, None),
        ("other=abc", None, None),
        ("TOKEN=abc", None, None),
        ("token=a+b%2Bc", None, Credential("token", b"a+b+c")),
        ("token=a%20b", None, Credential("token", b"a b")),
        ("token=%C3%A9", None, Credential("token", b"\xc3\xa9")),
        ("", "Bearer abc", Credential("token", b"abc")),
        ("", "bEARER abc", Credential("token", b"abc")),
        ("", "Bearer  abc ", Credential("token", b"abc")),
        ("", "Bearer \udcff", Credential("token", b"\xff")),
        ("", "Bearer", Credential("token", b"")),
        ("", "Basic abc", None),
        ("", "abc", None),
        ("token=abc", "Basic def", Credential("token", b"abc")),
        ("other=abc", "Bearer def", Credential("token", b"def")),
    ],
)
def test_the_credential_of_a_request(query: str, authorization: str | None, shown: Credential | None) -> None:
    assert credential_of(query, authorization) == shown


@pytest.mark.parametrize(
    ("query", "authorization", "told"),
    [
        ("token=a&token=a", None, "Send one token"),
        ("hash=a&hash=b", None, "Send one hash"),
        ("hash=a&token=b&token=c", "Basic x", None),
        ("token=&token=", None, "Send one token"),
        ("token=a", "Bearer a", "Send one kind of credential: ?hash=, ?token= or the Authorization header"),
        ("hash=a", "bearer", "Send one kind of credential: ?hash=, ?token= or the Authorization header"),
    ],
)
def test_credentials_that_may_differ_are_refused(query: str, authorization: str | None, told: str | None) -> None:
    if told is None:  # a hash decides, whatever else is there
        assert credential_of(query, authorization) == Credential("hash", b"a")
        return
    with pytest.raises(ApiError) as refused:
        credential_of(query, authorization)
    assert (refused.value.status, refused.value.message) == (400, told)


@pytest.mark.parametrize(
    ("content", "token"),
    [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b"secret\nsecond\n\xff", b"secret"),
        (b"secret\rsecond\nthird", b"secret"),
        (bytes(range(33, 127)), bytes(range(33, 127))),
        (b"x", b"x"),
        (b"x" * 255, b"x" * 255),
    ],
)
def test_the_first_line_of_a_token_file_is_the_token(content: bytes, token: bytes) -> None:
    key = key_of(content)

    assert key is not None
    assert (key.token, key.secret) == (token, hashlib.sha256(token).hexdigest().encode())
    assert (key.admin.key, key.admin.user.name, key.admin.user.scopes) == (key.secret, "admin", None)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\nsecret", b" secret", b"a b", b"\x7f", b"\xc3\xa9", b"x" * 256, b"\0"]
)
def test_what_is_no_token_accepts_nothing(content: bytes) -> None:
    assert key_of(content) is None


def test_a_token_accepts_itself_and_the_hash_of_the_very_request() -> None:
    key = key_of(b"secret")
    assert key is not None
    good = request_hash("GET", PATH, "secret").encode()

    assert key.accepts("GET", PATH, Credential("token", b"secret"))
    for _ in range(2):
        assert key.accepts("GET", PATH, Credential("hash", good))
        assert not key.accepts("POST", PATH, Credential("hash", good))
        assert not key.accepts("GET", PATH + "/", Credential("hash", good))


@pytest.mark.parametrize(
    "value", [b"", b"secre", b"secrets", b"SECRET", b"\xff", hashlib.sha256(b"secret").hexdigest().encode()]
)
def test_a_token_accepts_nothing_else(value: bytes) -> None:
    key = key_of(b"secret")
    assert key is not None

    assert not key.accepts("GET", PATH, Credential("token", value))
    assert not key.accepts("GET", PATH, Credential("hash", value))
    assert not key.accepts("GET", PATH, Credential("token", request_hash("GET", PATH, "secret").encode()))


def test_two_keys_of_one_token_are_equal_whatever_they_have_accepted() -> None:
    one, same, other = key_of(b"secret"), key_of(b"secret\n"), key_of(b"another")
    assert one is not None
    one.accepts("GET", PATH, Credential("hash", b""))

    assert one == same
    assert one != other


def test_the_hashes_of_any_number_of_paths_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of(b"secret")
    assert key is not None
    made: list[str] = []

    def noted(secret: bytes, method: str, path: str) -> str:
        made.append(path)
        return hash_with(secret, method, path)

    monkeypatch.setattr(credentials, "hash_with", noted)

    for _ in range(2):
        for number in range(1024):
            key.accepts("GET", f"/{number}", Credential("hash", b""))
    assert len(made) == 1024, "each was made once"
    key.accepts("GET", "/1024", Credential("hash", b""))
    key.accepts("GET", "/0", Credential("hash", b""))

    assert made[-2:] == ["/1024", "/0"]
    assert key.accepts("GET", "/0", Credential("hash", request_hash("GET", "/0", "secret").encode()))
