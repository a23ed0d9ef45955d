"""The versions of the system and of packages: what they may look like, and which one is newer.

A version is an epoch (`2:`), a word (`release-`; a `v` is none), numbers with dots, and what stands behind them:

    1.2.3-rc.1+build     numbers 1.2.3, pre-release rc.1; build metadata (+…) never counts
    v1.2                 the same numbers as 1.2.0
    2024-05-01           a date, as 2024.05.01
    release-7a           word release, numbers 7, addition a

Versions of one scheme (word, kind of numbers, with an epoch or without) are ordered by epoch, then by numbers, then by
what stands behind them: where both are Semantic Versioning 2.0.0 as §11 there says, else as `sort -V` does. Of two
versions of different schemes nothing says which one is newer, and neither is: an older package, signed long ago and
called by another scheme, must not count as an update. The same holds for equal numbers of which only one has an
addition: the one in `1.2-rc1` means before 1.2, the one in `1.2-1` after it, and only people know that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import semver

MAX_LENGTH: Final = 64
#: A first number of four digits that is one of these makes it a date.
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
    """A version is missing, makes no sense, or is not newer; the message says which."""


class Stage(IntEnum):
    """What stands behind the numbers, in the order of precedence."""

    TILDE = 0
    """What `sort -V` puts before the numbers alone."""
    PRE_RELEASE = 1
    """That of Semantic Versioning."""
    RELEASE = 2
    ADDITION = 3


@dataclass(frozen=True, slots=True, order=True)
class Scheme:
    """How a version is written."""

    word: str
    numbers: str
    epoch: bool

    def __str__(self) -> str:
        """What it is, for a person."""
        parts = ["an epoch"] * self.epoch + [f"the word {self.word}"] * bool(self.word) + [self.numbers]
        return " and ".join(parts)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version as it is compared. The order is total: schemes follow one another in it, and equal are synonyms."""

    scheme: Scheme
    epoch: int
    numbers: tuple[int, ...]
    stage: Stage
    rest: _Sortable

    @classmethod
    def of(cls, text: str) -> Version:
        """Read a version that `parse` returned; there is none that cannot be read."""
        epoch, word, body = _groups(_PARTS, text)
        numbers, rest = _groups(_NUMBERS, _with_dots(body))
        rest = rest.partition("+")[0].rstrip()
        scheme = Scheme(_word(word, numbers), _kind(numbers), bool(epoch))
        stage = _stage(scheme, numbers, rest)
        ordered = _identifiers(rest[1:]) if stage == Stage.PRE_RELEASE else _natural(rest)
        return cls(scheme, int(epoch or 0), _significant(numbers), stage, ordered)

    def is_comparable(self, other: Version) -> bool:
        """Whether something says which of the two is newer, or that they are equal."""
        if self.scheme != other.scheme:
            return False
        if (self.epoch, self.numbers) != (other.epoch, other.numbers) or self.stage == other.stage:
            return True
        stages = {self.stage, other.stage}
        return Stage.RELEASE in stages and Stage.ADDITION not in stages


def parse(text: str) -> str:
    """Return the version in the text of a `version.txt`: one line of 1 to 64 printable ASCII characters.

    :raises VersionError: it holds something else.
    """
    version = text.strip(" \t\r\n")
    if not _PRINTABLE.fullmatch(version):
        raise VersionError(f"The version must be one line of 1 to {MAX_LENGTH} printable ASCII characters")
    return version


def is_newer(candidate: str, installed: str | None) -> bool:
    """Say whether a version comes after the installed one, if any; of two that cannot be compared neither does."""
    if installed is None:
        return True
    one, other = Version.of(candidate), Version.of(installed)
    return one.is_comparable(other) and one > other


def is_equal(one: str, other: str) -> bool:
    """Say whether two versions are spellings of the same one."""
    return Version.of(one) == Version.of(other)


def require_newer(candidate: str, present: str, named: str, allowed: str | None) -> None:
    """Refuse a version that does not come after one that is present.

    :param named: what the present one is, for the message, such as `the installed version 1.0.0`.
    :param allowed: a version that counts as newer than all those that it cannot be compared with.
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
    """What the groups of a pattern found that fits every line."""
    found = pattern.fullmatch(text)
    assert found
    return found.groups("")


def _with_dots(body: str) -> str:
    """The same with a date of dashes at its beginning written with dots."""
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
    """The numbers without zeros at their end, which say nothing."""
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
    """A pre-release of Semantic Versioning: numbers before words, a longer one after its beginning."""
    return tuple((0, int(each), "") if each.isdigit() else (1, 0, each) for each in text.split("."))


def _natural(text: str) -> _Sortable:
    """Digits as numbers, everything else as letters."""
    found = _DIGITS_OR_NOT.findall(text.lower())
    return tuple((0, int(each), "") if each.isdigit() else (1, 0, each) for each in found)
