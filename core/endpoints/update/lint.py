"""Likely mistakes in an update package: keys in it, and files that will fail on the appliance."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jidoteki.core.endpoints.update import key_files, versions
from jidoteki.core.endpoints.update.versions import NOTHING, Stage, Version
from jidoteki.core.jobs import script_faults
from jidoteki.hookspecs import paths

SCRIPT = "update.sh"
VERSION = "version.txt"
MAX_FILES = 100_000
#: Longer files are not checked for keys.
MAX_KEY = 1024 * 1024
KEY_FILES = ("updates.key", "private.pem")


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding about a package: an error for what must not be packed or will fail, a warning for what may fail."""

    level: Literal["error", "warning"]
    message: str
    """A sentence that begins with the file's path in the package, or with what is missing."""


def remarks(package: Path, version: str | None) -> Iterator[Remark]:
    """Yield the findings about the directory of a package, packed or unpacked.

    :param version: the package's, or None.
    """
    yield from keys_in(package)
    yield from _script(package)
    yield from _other_scripts(package)
    yield from _added_by_macos(package)
    if version is not None:
        yield from _version(version)


def keys_in(package: Path, *own: Path) -> Iterator[Remark]:
    """Yield an error for each file that contains a private key, or the passphrase of packages.

    :param own: the vendor's key files, which are recognized by their content.
    """
    secrets = {content for path in own if (content := _content(path))}
    for path in _files(package):
        content = _content(path)
        if not content:
            continue
        if path.name in KEY_FILES or content in secrets:
            yield Remark(
                "error", f"{_name(package, path)} is a key of the vendor's, and whoever has the package has it"
            )
        elif key_files.holds_private_key(content):
            yield Remark("error", f"{_name(package, path)} holds a private key, and whoever has the package has it")


def _script(package: Path) -> Iterator[Remark]:
    script = package / SCRIPT
    if not os.path.lexists(script):
        yield Remark("warning", f"There is no {SCRIPT}: nothing is run, and only the version changes")
        return
    for fault in script_faults.faults(script):
        yield Remark("error" if fault.level == "error" else "warning", f"{SCRIPT}: {fault.message}")


def _other_scripts(package: Path) -> Iterator[Remark]:
    """Yield scripts that cannot run; how the others are run is up to their callers."""
    for path in _files(package):
        if path.suffix != ".sh" or path == package / SCRIPT:
            continue
        for fault in script_faults.faults(path):
            if fault.level == "error":
                yield Remark("warning", f"{_name(package, path)}: {fault.message}")


def _added_by_macos(package: Path) -> Iterator[Remark]:
    """Yield files of Finder and of the tar of macOS, which would be installed."""
    for path in _files(package):
        if path.name.startswith("._") or path.name == ".DS_Store":
            name = _name(package, path)
            yield Remark("warning", f"{name} was added by macOS: set COPYFILE_DISABLE=1 for tar, and remove .DS_Store")


def _version(version: str) -> Iterator[Remark]:
    read = Version.of(version)
    if read.scheme.numbers == NOTHING:
        yield Remark("warning", f"The version {version} has no numbers: only the alphabet says which one is newer")
    elif read.stage == Stage.ADDITION:
        message = (
            f"The version {version} adds to its numbers: it cannot be compared with one that is these numbers alone"
        )
        yield Remark("warning", message)
    elif read.scheme.word or read.scheme.epoch:
        message = f"The version {version} is {read.scheme}: it cannot be compared with one that is written otherwise"
        yield Remark("warning", message)


def replaced_version(package: Path, version: str) -> Iterator[Remark]:
    """Yield a warning if the directory contains another version than the one that is packed."""
    content = _content(package / VERSION)
    said = (content or b"").decode("utf-8", "replace").partition("\n")[0].strip()
    if said and said != versions.parse(version):
        yield Remark("warning", f"{VERSION} says {said[:64]!r}; the package's says {version}")


def odd_key(key: Path) -> Iterator[Remark]:
    """Yield a warning if `updates.key` works only as an identical copy."""
    problem = key_files.passphrase_problem(_content(key) or b"")
    if problem:
        yield Remark("warning", f"{key.name}: {problem.message}: an appliance needs the same file, byte by byte")


def _files(package: Path) -> Iterator[Path]:
    found = (Path(directory, name) for directory, _, names in os.walk(package) for name in sorted(names))
    yield from itertools.islice(found, MAX_FILES)


def _name(package: Path, path: Path) -> str:
    return path.relative_to(package).as_posix()


def _content(path: Path) -> bytes | None:
    """Return the content of a file that may be a key."""
    try:
        return paths.read_regular(path, MAX_KEY)
    except OSError:
        return None
