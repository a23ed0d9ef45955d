"""The versions of the system and of packages: their syntax and their order.

A version is an epoch (`2:`), a word (`release-`; a `v` is ignored), numbers with dots, and a suffix:

    1.2.3-rc.1+build     numbers 1.2.3, pre-release rc.1; build metadata (+…) is ignored
    v1.2                 the same numbers as 1.2.0
    2024-05-01           a date, as 2024.05.01
    release-7a           word release, numbers 7, addition a

Versions of one scheme (word, kind of numbers, with an epoch or without) are ordered by epoch, then by numbers, then by
suffix: if both follow Semantic Versioning 2.0.0, as its §11 says, else as `sort -V` does. Versions of different schemes
are not comparable, and neither is newer: an older package, signed long ago and numbered by another scheme, must not
count as an update. The same holds for equal numbers of which only one has an addition: `1.2-rc1` is older than 1.2,
`1.2-1` is newer, and only people know that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import semver

MAX_LENGTH: Final = 64
#: A first number of four digits in this range is the year of a date.
YEARS: Final = range(1970, 2200)

_PRINTABLE = re.compile(f"[!-~]([ -~]{{0,{MAX_LENGTH - 2}}}[!-~])?")
_PARTS = re.compile(r"(?:([0-9]+):(?=.))?([^0-9]*)(.*)")
_NUMBERS = re.compile(r"([0-9]+(?:\.[0-9]+)*)?(.*)")
_DASHED_DATE = re.compile("([0-9]{4})[-_/]([0-9]{1,2})(?:[-_/]([0-9]{1,2}))?(?![0-9])")
_COMPACT_DATE = re.compile("([0-9]{4})(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[0-9]{4}|[0-9]{6})?")
_DIGITS_OR_NOT = re.compile("[0-9]+|[^0-9]+")

NUMBERS: Final = "numbers such as 1.2.3"
DATES: Final = "dates such as 2024.05.01"
COMPACT_DATES: Final = "dates such as 20240501"
NOTHING: Final = "no numbers"

_Sortable = tuple[tuple[int, int, str], ...]


class VersionError(Exception):
    """A version is missing, invalid, or not newer; the message says which."""


class Stage(IntEnum):
    """The kind of the suffix, in the order of precedence."""

    TILDE = 0
    """A suffix that `sort -V` puts before the numbers alone."""
    PRE_RELEASE = 1
    """A pre-release of Semantic Versioning."""
    RELEASE = 2
    ADDITION = 3


@dataclass(frozen=True, slots=True, order=True)
class Scheme:
    """The scheme of a version."""

    word: str
    numbers: str
    epoch: bool

    def __str__(self) -> str:
        """Return a description for people."""
        parts = ["an epoch"] * self.epoch + [f"the word {self.word}"] * bool(self.word) + [self.numbers]
        return " and ".join(parts)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version for comparison. The order is total: schemes are ordered, too, and equal versions are synonyms."""

    scheme: Scheme
    epoch: int
    numbers: tuple[int, ...]
    stage: Stage
    rest: _Sortable

    @classmethod
    def of(cls, text: str) -> Version:
        """Read a version that `parse` returned; this cannot fail."""
        epoch, word, body = _groups(_PARTS, text)
        numbers, rest = _groups(_NUMBERS, _with_dots(body))
        rest = rest.partition("+")[0].rstrip()
        scheme = Scheme(_word(word, numbers), _kind(numbers), bool(epoch))
        stage = _stage(scheme, numbers, rest)
        ordered = _identifiers(rest[1:]) if stage == Stage.PRE_RELEASE else _natural(rest)
        return cls(scheme, int(epoch or 0), _significant(numbers), stage, ordered)

    def is_comparable(self, other: Version) -> bool:
        """Return whether the order of the two versions is known."""
        if self.scheme != other.scheme:
            return False
        if (self.epoch, self.numbers) != (other.epoch, other.numbers) or self.stage == other.stage:
            return True
        stages = {self.stage, other.stage}
        return Stage.RELEASE in stages and Stage.ADDITION not in stages


def parse(text: str) -> str:
    """Return the version in the text of a `version.txt`: one line of 1 to 64 printable ASCII characters.

    :raises VersionError: it is anything else.
    """
    version = text.strip(" \t\r\n")
    if not _PRINTABLE.fullmatch(version):
        raise VersionError(f"The version must be one line of 1 to {MAX_LENGTH} printable ASCII characters")
    return version


def is_newer(candidate: str, installed: str | None) -> bool:
    """Return whether a version is newer than the installed one, if any; False if they are not comparable."""
    if installed is None:
        return True
    one, other = Version.of(candidate), Version.of(installed)
    return one.is_comparable(other) and one > other


def is_equal(one: str, other: str) -> bool:
    """Return whether two versions are spellings of the same one."""
    return Version.of(one) == Version.of(other)


def require_newer(candidate: str, present: str, named: str, allowed: str | None) -> None:
    """Refuse a version that is not newer than a present one.

    :param named: the present one in the message, such as `the installed version 1.0.0`.
    :param allowed: a version that counts as newer than all those that it is not comparable with.
    :raises VersionError: it is older, equal, or of another scheme.
    """
    one, other = Version.of(candidate), Version.of(present)
    if one.is_comparable(other):
        if one <= other:
            raise VersionError(f"The package's version {candidate} is not newer than {named}")
    elif candidate != allowed:
        why = f"{one.scheme} against {other.scheme}" if one.scheme != other.scheme else "only one adds to its numbers"
        raise VersionError(
            f"The package's version {candidate} cannot be compared with {named} ({why}): to change over to it, "
            f"set update.allow-scheme-change-to to {candidate} in the configuration"
        )


def _groups(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    """Return the groups of a pattern that matches every line."""
    found = pattern.fullmatch(text)
    assert found
    return found.groups("")


def _with_dots(body: str) -> str:
    """Replace the dashes of a leading date by dots."""
    date = _DASHED_DATE.match(body)
    if not date or int(date[1]) not in YEARS:
        return body
    return ".".join(filter(None, date.groups())) + body[date.end() :]


def _word(word: str, numbers: str) -> str:
    lower = word.lower()
    word = lower.rstrip("-_. ") or lower
    return "" if word == "v" and numbers else word


def _kind(numbers: str) -> str:
    first = numbers.partition(".")[0]
    if not first:
        return NOTHING
    if len(first) == 4 and int(first) in YEARS:
        return DATES
    compact = _COMPACT_DATE.fullmatch(first)
    return COMPACT_DATES if compact and int(compact[1]) in YEARS else NUMBERS


def _significant(numbers: str) -> tuple[int, ...]:
    """Return the numbers without trailing zeros, which have no meaning."""
    found = [int(each) for each in numbers.split(".") if each]
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def _stage(scheme: Scheme, numbers: str, rest: str) -> Stage:
    if not rest:
        return Stage.RELEASE
    if not scheme.word and semver.Version.is_valid(numbers + rest):
        return Stage.PRE_RELEASE
    return Stage.TILDE if rest.startswith("~") else Stage.ADDITION


def _identifiers(text: str) -> _Sortable:
    """Return the sort key of a pre-release of Semantic Versioning: numbers before words, shorter before longer."""
    return tuple((0, int(each), "") if each.isdigit() else (1, 0, each) for each in text.split("."))


def _natural(text: str) -> _Sortable:
    """Return the sort key of a suffix: digits as numbers, everything else as letters."""
    found = _DIGITS_OR_NOT.findall(text.lower())
    return tuple((0, int(each), "") if each.isdigit() else (1, 0, each) for each in found)
