"""The words in `backup.txt`, split as by a shell, each a path below the data directory or a glob pattern.

A word selects what `find WORD -maxdepth 0` finds in the data directory: `*`, `?`, `[…]` and `[!…]` match within one
component of a path, hidden names only if the pattern has the dot (POSIX.1-2017, Shell Command Language, 2.13), and a
pattern that matches nothing is the name itself. No symbolic link is followed.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import Appliance, JobError, privileges, rooted
from jidoteki.hookspecs.paths import read_regular
from jidoteki.hookspecs.restorable import is_reserved, parts

EVERYTHING: Final = "."
NAME: Final = "backup.txt"
_SEPARATORS: Final = re.compile("[ \t\r\n]+")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the list.

    :param text: as it is listed.
    :param components: of its path below the data directory, each a name or a pattern; empty for all of it.
    :param is_directory: whether it ends with a slash, and so matches only directories.
    """

    text: str
    components: tuple[str, ...]
    is_directory: bool

    @property
    def path(self) -> str:
        """The path of a word that is not a pattern."""
        return "/".join(self.components) or EVERYTHING

    @property
    def is_pattern(self) -> bool:
        """Whether it may match several paths."""
        return any(map(is_pattern, self.components))

    def agrees(self, path: list[str]) -> bool:
        """Return whether the first components of a path match those of this word, as many as both have."""
        pairs = zip(path, self.components, strict=False)
        return all(name == each or (is_pattern(each) and matches(name, each)) for name, each in pairs)


def is_pattern(component: str) -> bool:
    """Return whether a component of a word may match several names."""
    return glob.has_magic(component)


def matches(name: str, pattern: str) -> bool:
    """Return whether a pattern matches a name."""
    hidden = name.startswith(".") and not pattern.startswith(".")
    return not hidden and fnmatch.fnmatchcase(name, pattern)


@dataclass(frozen=True, slots=True)
class Selection:
    """The list of words, whether their paths exist or not."""

    words: tuple[Word, ...]

    def covers(self, path: str) -> bool:
        """Return whether a path below the data directory, or one of its parents, is listed."""
        components = parts(path)
        return any(len(word.components) <= len(components) and word.agrees(components) for word in self.words)

    def leads_to(self, path: str) -> bool:
        """Return whether a listed path may be below this one, which is not itself listed."""
        components = parts(path)
        return any(len(word.components) > len(components) and word.agrees(components) for word in self.words)


def selection(appliance: Appliance) -> Selection:
    """Read the list.

    :raises JobError: it is missing or empty, or lists a path outside the data directory or with a reserved name.
    """
    try:
        content = _content(appliance)
    except (FileNotFoundError, NotADirectoryError) as error:
        where = f" in {appliance.keys}, where root alone may write," if privileges.are_kept() else ""
        raise JobError(f"There is no backup.txt{where} that says what belongs to a backup") from error
    except OSError as error:
        raise JobError(f"backup.txt cannot be read: {error.strerror}") from error
    lines = os.fsdecode(content.removeprefix(_BYTE_ORDER_MARK)).split("\n")
    listed = [line.strip(" \t\r") for line in lines]
    texts = [text for line in listed if not line.startswith("#") for text in _SEPARATORS.split(line) if text]
    if not texts:
        raise JobError("backup.txt lists nothing that belongs to a backup")
    return Selection(tuple(_word(text, appliance) for text in dict.fromkeys(texts)))


def _content(appliance: Appliance) -> bytes:
    """Read the list: where root runs the job, the one that root alone may change."""
    path = appliance.keys / NAME
    with privileges.raised():
        if privileges.are_kept():
            rooted.require(path)
        return read_regular(path, follow=True)


def _word(text: str, appliance: Appliance) -> Word:
    components = parts(_below(text, appliance))
    if ".." in components or "\0" in text or any(map(is_reserved, components)):
        raise JobError(f"backup.txt lists {text}, which is not a path below the data directory")
    return Word(text, tuple(components), text.endswith("/"))


def _below(text: str, appliance: Appliance) -> str:
    """Return the path of a word relative to the data directory; an absolute one may begin with that directory, as seen
    from this machine or from the appliance."""
    if text.startswith("/"):
        for place in (appliance.data, Path("/") / appliance.data.relative_to(appliance.root)):
            own = list(place.parts[1:])
            components = parts(text)
            if components[: len(own)] == own:
                return "/".join(components[len(own) :])
    return text
