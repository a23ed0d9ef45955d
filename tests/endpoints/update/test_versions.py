"""Versions: syntax and order."""

from __future__ import annotations

import itertools
import string
import subprocess

import pytest
import semver
from hypothesis import given, settings
from hypothesis import strategies as st

from jidoteki.core.endpoints.update import versions
from jidoteki.core.endpoints.update.versions import Version

NUMBER = st.one_of(st.integers(0, 12), st.integers(0, 3000), st.integers(0, 10**12)).map(str)
NUMBERS = st.lists(NUMBER, min_size=1, max_size=5).map(".".join)
IDENTIFIER = st.one_of(NUMBER, st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=4))
PRE_RELEASE = st.lists(IDENTIFIER, min_size=1, max_size=3).map(".".join)
SEMANTIC = st.builds(
    "{}{}{}".format,
    st.lists(st.integers(0, 30).map(str), min_size=3, max_size=3).map(".".join),
    st.one_of(st.just(""), PRE_RELEASE.map("-{}".format)),
    st.one_of(st.just(""), PRE_RELEASE.map("+{}".format)),
).filter(semver.Version.is_valid)
DATE = st.dates().map(lambda day: day.strftime("%Y.%m.%d")) | st.dates().map(str) | st.dates().map("{:%Y%m%d}".format)
BEFORE = st.sampled_from(["", "v", "V", "v.", "0", "00", "1:", "0:", "release-", "Release ", "r", "-", "~", "."])
BEHIND = st.sampled_from(["", "-rc1", "-rc.1", "-1", "~rc1", "a", "B", "_2", ".x", "+b1", "-rc.1+b", " b", ".0", "-"])
SPELT = st.builds("{}{}{}".format, BEFORE, NUMBERS | DATE | SEMANTIC, BEHIND)
HAND_WRITTEN = st.sampled_from(
    [
        *("1", "1.0", "1.0.0", "v1", "V1.0.0", "01.0.0", "1.0.0.1", "2", "v0.9", "1.0.0-rc1", "1.0.0-rc.1", "1.0-rc1"),
        *("1.0-1", "1.0~rc1", "1.0a", "1.0.0+a", "2.5", "2024.05.01", "2024-05-01", "20240501", "24.04", "release-1"),
        *("release-1.0", "release_1a", "r1", "1:1.0", "0:1", "x", "stable", "v", "0", "0.0", "-1", "~", "9" * 64),
        *("1." * 32, "a" * 64),
    ]
)
ANY = st.one_of(SPELT, HAND_WRITTEN, SEMANTIC, st.from_regex("[!-~]([ -~]{0,62}[!-~])?", fullmatch=True)).filter(
    lambda text: len(text) <= 64
)


@pytest.mark.parametrize(
    ("candidate", "installed"),
    [
        ("1.0.1", "1.0.0"),
        ("1.10.0", "1.9.0"),
        ("v2.0.0", "1.9.9"),
        ("V2.0.0", "v1.9.9"),
        ("1.0.0", "1.0.0-rc.1"),
        ("1.0.0-rc.10", "1.0.0-rc.9"),
        ("1.0.0-10", "1.0.0-9"),
        ("1.2", "1.1"),
        ("1.10", "1.9"),
        ("2015.10-r2", "2015.9-r7"),
        ("2015.10-r10", "2015.10-r9"),
        ("1.0.0.1", "1.0.0"),
        ("2", "1.0.0.1"),
        ("1.0", "1.0~rc1"),
        ("1.1", "1.0.2a"),
        ("1.0.2b", "1.0.2a"),
        ("release-10", "release-9"),
        ("Release 2", "release-1"),
        ("2024-05-02", "2024.05.01"),
        ("20240502", "20240501"),
        ("2:1.0", "1:9.0"),
        ("1.0.0", None),
    ],
)
def test_a_later_version_is_newer_and_not_the_other_way_round(candidate: str, installed: str | None) -> None:
    assert versions.is_newer(candidate, installed)
    assert installed is None or not versions.is_newer(installed, candidate)


@pytest.mark.parametrize(
    ("candidate", "installed"),
    [
        ("1.0.0", "1.0.0"),
        ("v1.0.0", "1.0.0"),
        ("V1.0.0", "1.0.0"),
        ("v1.2", "1.2.0"),
        ("1", "1.0.0"),
        ("01.0", "1.0"),
        ("1.0.0+a", "1.0.0+b"),
        ("1.0.0+2", "1.0.0"),
        ("release-1+2", "release-1"),
        ("1.2", "1.2"),
        ("x", "x"),
        ("2024-05-01", "2024.5.1"),
        ("RELEASE-1", "release 1"),
    ],
)
def test_an_equal_version_is_not_newer(candidate: str, installed: str) -> None:
    assert not versions.is_newer(candidate, installed)
    assert not versions.is_newer(installed, candidate)
    assert versions.is_equal(candidate, installed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("release-1", "2.0.0"),
        ("release-1", "build-2"),
        ("stable", "1.0"),
        ("alpha", "beta"),
        ("2024.05.01", "3.0.0"),
        ("20240501", "2024.05.01"),
        ("20240501", "7.0"),
        ("1:1.0", "2.0"),
        ("r2", "release-1"),
        ("1.2-rc1", "1.2"),
        ("1.2-1", "1.2"),
        ("1.2rc1", "1.2"),
        ("1.0-rc1", "1.0.0-rc2"),
        ("release-2-rc1", "release-2"),
        ("-1", "0.9"),
    ],
)
def test_of_versions_of_different_schemes_neither_is_newer(one: str, other: str) -> None:
    assert not versions.is_newer(one, other)
    assert not versions.is_newer(other, one)
    assert not versions.is_equal(one, other)


@settings(max_examples=500, deadline=None)
@given(ANY, ANY)
def test_the_order_is_total_and_antisymmetric(one: str, other: str) -> None:
    a, b = Version.of(one), Version.of(other)

    assert [a < b, a == b, a > b].count(True) == 1
    assert not (versions.is_newer(one, other) and versions.is_newer(other, one))


@settings(max_examples=500, deadline=None)
@given(st.lists(ANY, min_size=3, max_size=3))
def test_the_order_is_transitive_and_updates_never_go_round(texts: list[str]) -> None:
    low, middle, high = sorted(Version.of(text) for text in texts)

    assert low <= middle <= high and low <= high
    for one, other, third in itertools.permutations(texts):
        steps = versions.is_newer(other, one), versions.is_newer(third, other), versions.is_newer(one, third)
        assert not all(steps)


@settings(max_examples=300, deadline=None)
@given(SEMANTIC, SEMANTIC)
def test_semantic_versions_compare_as_their_standard_says(one: str, other: str) -> None:
    expected = semver.Version.parse(one).compare(other)

    assert versions.is_newer(one, other) == (expected > 0)
    assert versions.is_equal(one, other) == (expected == 0)


@pytest.mark.parametrize(
    "ordered",
    [
        ["1.9", "1.10", "1.10.1", "2.0.0.1", "11"],
        ["release-1", "release-1.1", "release-1.10", "release-9", "release-10"],
        ["2015.9-r7", "2015.10-r2", "2015.10-r10", "2016.1"],
        ["1.0~rc9", "1.0~rc10", "1.0", "1.0.1"],
        ["r1a", "r1b", "r2", "r10"],
    ],
)
def test_other_versions_compare_as_sort_does(ordered: list[str]) -> None:
    shuffled = "\n".join(reversed(ordered))
    done = subprocess.run(["sort", "-V"], input=shuffled, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ordered
    assert sorted(ordered, key=Version.of) == ordered
    assert all(versions.is_newer(later, earlier) for earlier, later in itertools.combinations(ordered, 2))


@settings(max_examples=200, deadline=None)
@given(SEMANTIC, st.sampled_from(["{}", "v{}", "V{}", "{}+build.7", "v{}+9"]))
def test_another_spelling_never_makes_a_version_newer(version: str, spelling: str) -> None:
    bare = version.partition("+")[0]

    assert versions.is_equal(spelling.format(bare), bare)


@settings(max_examples=300, deadline=None)
@given(ANY, ANY)
def test_what_is_refused_is_told_in_one_line_with_both_versions(candidate: str, installed: str) -> None:
    refused = None
    try:
        versions.require_newer(candidate, installed, f"the installed version {installed}", None)
    except versions.VersionError as error:
        refused = str(error)

    assert (refused is None) == versions.is_newer(candidate, installed)
    assert refused is None or (candidate in refused and installed in refused and refused.isprintable())


def test_a_change_of_scheme_names_both_and_what_to_do() -> None:
    with pytest.raises(versions.VersionError) as refused:
        versions.require_newer("release-3", "2.0.0", "the installed version 2.0.0", None)

    assert str(refused.value) == (
        "The package's version release-3 cannot be compared with the installed version 2.0.0 (the word release and "
        "numbers such as 1.2.3 against numbers such as 1.2.3): to change over to it, set "
        "update.allow-scheme-change-to to release-3 in the configuration"
    )


def test_a_version_that_is_allowed_by_name_passes_where_nothing_compares_and_nowhere_else() -> None:
    versions.require_newer("release-3", "2.0.0", "", "release-3")

    with pytest.raises(versions.VersionError, match="cannot be compared"):
        versions.require_newer("release-2", "2.0.0", "", "release-3")
    with pytest.raises(versions.VersionError, match="is not newer"):
        versions.require_newer("1.0.0", "2.0.0", "", "1.0.0")


@pytest.mark.parametrize("candidate", ["2.0.0", "v2", "1.9.9"])
def test_the_same_version_and_an_older_one_are_refused_alike(candidate: str) -> None:
    with pytest.raises(versions.VersionError) as refused:
        versions.require_newer(candidate, "2.0.0", "what is there", candidate)

    assert str(refused.value) == f"The package's version {candidate} is not newer than what is there"


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("1969.1", "numbers such as 1.2.3"),
        ("1970.1", "dates such as 2024.05.01"),
        ("2199.1", "dates such as 2024.05.01"),
        ("2200.1", "numbers such as 1.2.3"),
        ("02024.1", "numbers such as 1.2.3"),
        ("1969-12-31", "numbers such as 1.2.3"),
        ("2199-12-31", "dates such as 2024.05.01"),
        ("19691231", "numbers such as 1.2.3"),
        ("19700101", "dates such as 20240501"),
        ("21991231", "dates such as 20240501"),
        ("22000101", "numbers such as 1.2.3"),
        ("20241301", "numbers such as 1.2.3"),
        ("202405011230", "dates such as 20240501"),
        ("1:r-2", "an epoch and the word r and numbers such as 1.2.3"),
        ("stable", "the word stable and no numbers"),
        ("v", "the word v and no numbers"),
        ("V2", "numbers such as 1.2.3"),
    ],
)
def test_the_scheme_of_a_version(text: str, scheme: str) -> None:
    assert str(Version.of(text).scheme) == scheme


@pytest.mark.parametrize(
    ("text", "same"),
    [("2024-05-01", "2024.5.1"), ("2024-05-01-2", "2024.05.01-2"), ("1969-12-31", "1969-12-31"), ("2024-5", "2024.05")],
)
def test_a_date_of_dashes_is_one_of_dots(text: str, same: str) -> None:
    assert versions.is_equal(text, same)
    assert (Version.of(text).numbers == (1969,)) == text.startswith("1969"), "that is no date"


def test_an_addition_alone_tells_that_nobody_knows() -> None:
    with pytest.raises(versions.VersionError, match="only one adds to its numbers"):
        versions.require_newer("1.2-1", "1.2", "what is there", None)


@pytest.mark.parametrize("text", ["1.2.3", "1.2.3\n", "1.2.3\r\n", " 1.2.3 \n\n"])
def test_white_space_around_a_version_does_not_count(text: str) -> None:
    assert versions.parse(text) == "1.2.3"


@pytest.mark.parametrize("text", ["", "\n", "1\n2", "1\0", "1\x1b[2J", "1.2.é", "1.٣", "1" * 65])
def test_what_is_not_one_printable_line_is_no_version(text: str) -> None:
    with pytest.raises(versions.VersionError, match="1 to 64 printable"):
        versions.parse(text)


def test_a_version_of_64_characters_is_one() -> None:
    assert versions.parse("1" * 64) == "1" * 64
