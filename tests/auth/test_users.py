"""Scopes and named tokens: what each may do, and which entries of their file count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jidoteki.core.auth import users
from jidoteki.core.auth.users import Holder, User
from jidoteki.hookspecs import named_tokens

KEY = "0123456789abcdef" * 4
PATHS = st.from_regex(r"(/[a-z0-9][a-z0-9._-]{0,8}){1,3}", fullmatch=True)
METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"])


def may(scope: str, method: str, path: str, changes: bool = False) -> bool:
    return User("robot", (scope,)).may(method, path, changes)


@given(METHODS, PATHS, st.booleans())
def test_the_administrator_may_do_everything(method: str, path: str, changes: bool) -> None:
    assert User("admin").may(method, path, changes)


@given(METHODS, PATHS, st.booleans())
def test_who_has_no_scope_may_do_nothing(method: str, path: str, changes: bool) -> None:
    assert not User("robot", ()).may(method, path, changes)


@pytest.mark.parametrize("path", ["/setup", "/tokens", "/tokens/revoke", "/setup/x"])
@pytest.mark.parametrize("scope", ["all", "read", "/setup", "/tokens", "GET /tokens", "POST /setup"])
def test_no_scope_opens_what_gives_tokens(scope: str, path: str) -> None:
    assert not may(scope, "GET", path)
    assert not may(scope, "POST", path, changes=True)


def test_what_is_only_called_like_what_gives_tokens_is_open() -> None:
    assert may("all", "GET", "/tokensmith")
    assert may("/setup-help", "GET", "/setup-help")


@pytest.mark.parametrize(
    ("scope", "method", "path", "changes", "allowed"),
    [
        ("all", "POST", "/reboot", True, True),
        ("all", "GET", "/reboot", False, True),
        ("read", "GET", "/version", False, True),
        ("read", "GET", "/reboot", True, False),
        ("read", "POST", "/backup", True, False),
        ("/backup", "POST", "/backup", True, True),
        ("/backup", "GET", "/backup/download", False, True),
        ("/backup", "GET", "/backups", False, False),
        ("/backup", "GET", "/", False, False),
        ("/backup/download", "GET", "/backup", False, False),
        ("GET /backup", "GET", "/backup", False, True),
        ("GET /backup", "GET", "/backup/download", True, True),
        ("GET /backup", "POST", "/backup", True, False),
        ("GET /backup", "GET", "/version", False, False),
        ("POST /backup", "POST", "/backup", True, True),
    ],
)
def test_a_scope_opens_what_it_says_and_nothing_else(
    scope: str, method: str, path: str, changes: bool, allowed: bool
) -> None:
    assert may(scope, method, path, changes) is allowed


def test_one_of_several_scopes_is_enough() -> None:
    user = User("robot", ("/backup", "GET /version"))

    assert user.may("POST", "/backup", True) and user.may("GET", "/version", False)
    assert not user.may("POST", "/version", True)


def entry(**changed: Any) -> dict[str, Any]:
    return {"key": KEY, "scopes": ["read"], "created": 1, **changed}


def parsed(tokens: object) -> dict[str, Any]:
    return dict(users.parse(json.dumps({"tokens": tokens}).encode()))


def test_an_entry_gives_its_key_scopes_and_age_to_its_name() -> None:
    found = parsed({"robot": entry(scopes=["read", "POST /backup"]), "mate": entry(key="f" * 64, scopes=[])})

    assert found == {
        "robot": users.Holder(KEY.encode(), User("robot", ("read", "POST /backup")), created=1),
        "mate": users.Holder(b"f" * 64, User("mate", ()), created=1),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        entry(key=None),
        entry(key=KEY[:-1]),
        entry(key=KEY + "0"),
        entry(key=KEY.upper()),
        entry(key=KEY[:-1] + "\n"),
        entry(key=[KEY]),
        entry(scopes=None),
        entry(scopes="all"),
        entry(scopes={"all": 1}),
        entry(scopes=["read", "everything"]),
        entry(scopes=["everything", "read"]),
        entry(scopes=["read", 1]),
        entry(scopes=[None]),
        {"scopes": ["all"]},
        {"key": KEY},
        [],
        None,
        "all",
    ],
)
def test_an_entry_that_is_not_valid_is_nobodys_and_takes_no_other_with_it(wrong: object) -> None:
    assert list(parsed({"wrong": wrong, "robot": entry()})) == ["robot"]


@pytest.mark.parametrize("name", ["admin", "first-run", "first-setup", "local", "root", "", "A", "1a", "a_b", "a\n"])
def test_a_name_that_means_somebody_else_or_is_none_is_nobodys(name: str) -> None:
    assert not named_tokens.is_name(name)
    assert list(parsed({name: entry(), "robot": entry()})) == ["robot"]


@pytest.mark.parametrize("name", ["a", "a" * 32, "admins", "root-1", "local2", "a-b-1"])
def test_a_name_may_have_small_letters_digits_and_hyphens(name: str) -> None:
    assert named_tokens.is_name(name)
    assert list(parsed({name: entry()})) == [name]
    assert not named_tokens.is_name("a" * 33)


@pytest.mark.parametrize(
    "scope", ["all", "read", "/a", "/a/b.c_d-e", "GET /a", "POST /1", "PUT /a", "PATCH /a", "DELETE /a"]
)
def test_what_is_a_scope(scope: str) -> None:
    assert named_tokens.is_scope(scope)


@pytest.mark.parametrize(
    "scope",
    ["", "everything", "ALL", "/", "a", "/A", "/a/", "//a", "/.a", "HEAD /a", "GET a", "GET  /a", "get /a", "/a\n"],
)
def test_what_is_no_scope(scope: str) -> None:
    assert not named_tokens.is_scope(scope)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'"tokens"', b"1", b'{"tokens": []}', b'{"tokens": null}', b"[" * 100_000, b"\xff"],
)
def test_a_file_that_makes_no_sense_holds_no_tokens(content: bytes) -> None:
    assert users.parse(content) == {}


def test_of_a_file_with_too_many_tokens_the_first_64_count() -> None:
    assert list(parsed({f"t{number}": entry() for number in range(70)})) == [f"t{number}" for number in range(64)]


def test_a_credential_has_the_same_name_in_each_release_for_what_is_kept_under_it() -> None:
    assert Holder(KEY.encode(), User("admin")).credential == "fdb81ac3af7beb36200a4c431e95a6f9"
    assert Holder(KEY.encode(), User("robot")).credential != Holder(KEY.encode(), User("admin")).credential
