"""Versions: what they look like and how they compare."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jidoteki.core.updates import versions


@pytest.mark.parametrize(
    ("candidate", "installed"),
    [
        ("1.0.1", "1.0.0"),
        ("1.10.0", "1.9.0"),
        ("v2.0.0", "1.9.9"),
        ("1.0.0", "1.0.0-rc.1"),
        ("1.0.0-rc.10", "1.0.0-rc.9"),
        ("1.2", "1.1"),
        ("1.10", "1.9"),
        ("2015.10-r2", "2015.9-r7"),
        ("1.0.0.1", "1.0.0"),
        ("1.0.0", None),
    ],
)
def test_a_later_version_is_newer_and_not_the_other_way_round(candidate: str, installed: str | None) -> None:
    assert versions.is_newer(candidate, installed)
    assert installed is None or not versions.is_newer(installed, candidate)


@pytest.mark.parametrize(
    ("candidate", "installed"),
    [("1.0.0", "1.0.0"), ("v1.0.0", "1.0.0"), ("1.0.0+a", "1.0.0+b"), ("1.2", "1.2"), ("x", "x")],
)
def test_an_equal_version_is_not_newer(candidate: str, installed: str) -> None:
    assert not versions.is_newer(candidate, installed)
    assert not versions.is_newer(installed, candidate)


@settings(max_examples=25, deadline=None)
@given(st.from_regex("[!-~]{1,20}", fullmatch=True), st.from_regex("[!-~]{1,20}", fullmatch=True))
def test_of_two_versions_at_most_one_is_newer(one: str, other: str) -> None:
    assert not (versions.is_newer(one, other) and versions.is_newer(other, one))


@pytest.mark.parametrize("text", ["1.2.3", "1.2.3\n", "1.2.3\r\n", " 1.2.3 \n\n"])
def test_white_space_around_a_version_does_not_count(text: str) -> None:
    assert versions.parse(text) == "1.2.3"


@pytest.mark.parametrize("text", ["", "\n", "1\n2", "1\0", "1\x1b[2J", "1.2.é", "1.٣", "1" * 65])
def test_what_is_not_one_printable_line_is_no_version(text: str) -> None:
    with pytest.raises(versions.VersionError, match="1 to 64 printable"):
        versions.parse(text)


def test_a_version_of_64_characters_is_one() -> None:
    assert versions.parse("1" * 64) == "1" * 64
