"""The versions of the system and of packages: what they may look like, and which one is newer."""

from __future__ import annotations

import re
import subprocess

import semver

SORT_TIME = 10.0

_PRINTABLE = re.compile("[!-~]([ -~]{0,62}[!-~])?")


class VersionError(Exception):
    """A version is missing, makes no sense, or is not newer; the message says which."""


def parse(text: str) -> str:
    """Return the version in the text of a `version.txt`: one line of 1 to 64 printable ASCII characters.

    :raises VersionError: it holds something else.
    """
    version = text.strip(" \t\r\n")
    if not _PRINTABLE.fullmatch(version):
        raise VersionError("The version must be one line of 1 to 64 printable ASCII characters")
    return version


def is_newer(candidate: str, installed: str | None) -> bool:
    """Say whether a version comes after the installed one, if any.

    They compare as Semantic Versioning 2.0.0 where both parse (a `v` before them does not count), else as `sort -V`
    orders them.

    :raises OSError: `sort` cannot be run.
    """
    if installed is None:
        return True
    one, other = _semantic(candidate), _semantic(installed)
    if one is not None and other is not None:
        return one > other
    return candidate != installed and _last(candidate, installed) == candidate


def _semantic(version: str) -> semver.Version | None:
    try:
        return semver.Version.parse(version.removeprefix("v"))
    except ValueError:
        return None


def _last(*versions: str) -> str:
    """The last of these as `sort -V` orders them."""
    try:
        ran = subprocess.run(
            ["sort", "-V"],
            input="".join(f"{version}\n" for version in versions).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"},
            timeout=SORT_TIME,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise OSError("sort -V could not compare the versions") from error
    return ran.stdout.decode().splitlines()[-1]
