"""What dry runs tell of a change: names with dots, the former and the new value, and never a secret."""

from __future__ import annotations

from typing import Any

import pytest

from jidoteki.hookspecs import differences


@pytest.mark.parametrize(
    ("former", "new", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"a": 1}, {"b": 1}, [("a", 1, None), ("b", None, 1)]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [("a.c", 2, 3)]),
        (None, {"a": {"b": 1}}, [("a.b", None, 1)]),
        ({"a": {"b": 1}}, None, [("a.b", 1, None)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a", [1, 2], [1])]),
        ({"a": {"b": 1}}, {"a": 1}, [("a", {"b": 1}, 1)]),
        ({"a": {}}, {"a": None}, [("a", {}, None)]),
        ({"password": "x"}, {"password": "y"}, [("password", "********", "********")]),
        ({}, {"db": {"api_key": "y"}}, [("db.api_key", None, "********")]),
        ({"a": {"secret": "x"}}, {"a": "b"}, [("a", {"secret": "********"}, "b")]),
    ],
)
def test_what_differs_is_told_name_by_name(former: Any, new: Any, changes: list[tuple[str, Any, Any]]) -> None:
    found = differences.between(former, new)

    assert [(each["path"], each["from"], each["to"]) for each in found] == changes


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("smtp-pass", True),
        ("pass", True),
        ("db_pass", True),
        ("pwd", True),
        ("wifi.psk", True),
        ("passcode", True),
        ("proxy-bypass", False),
        ("passive", False),
        ("compass", False),
    ],
)
def test_short_names_of_secrets_are_known(name: str, is_secret: bool) -> None:
    assert differences.change(name, None, "value")["to"] == ("********" if is_secret else "value")


def test_very_many_changes_are_not_all_told() -> None:
    many = {str(number): number for number in range(5000)}

    assert len(differences.between({}, many)) == differences.MAX_CHANGES


def test_deeply_nested_values_are_compared() -> None:
    deep: dict[str, Any] = {"a": 1}
    for _ in range(5000):
        deep = {"a": deep}

    assert len(differences.between(None, deep)) == 1
