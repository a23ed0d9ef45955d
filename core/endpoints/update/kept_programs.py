"""Copies of what an update on trial still needs: its `update.sh` may remove the directory of its package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from jidoteki.core.endpoints.update import unpacked
from jidoteki.core.files import leftovers
from jidoteki.hookspecs import Job, paths

MAX_SIZE: Final = 16 * 1024 * 1024
"""Bytes of a program; what a bigger one needs is in the unpacked package alone."""


def keep(job: Job, directory: Path, names: tuple[str, ...]) -> None:
    """Copy files of an unpacked package, those that are there.

    :raises OSError: they cannot be copied.
    """
    kept = unpacked.kept(job.appliance)
    leftovers.remove(kept)
    kept.mkdir(mode=0o700)
    for name in names:
        source = directory / name
        if source.is_file() and source.stat().st_size <= MAX_SIZE:
            with open(source, "rb") as file, open(kept / name, "wb", opener=_closed) as copy:
                shutil.copyfileobj(file, copy)
                copy.flush()
                os.fsync(copy.fileno())
    paths.sync_directory(kept)
    paths.sync_directory(kept.parent)


def put_back(job: Job, directory: Path) -> None:
    """Put files back into the directory of the package that are there no more.

    :raises OSError: one cannot be put back.
    """
    kept = unpacked.kept(job.appliance)
    if not kept.is_dir():
        return
    directory.mkdir(mode=0o700, exist_ok=True)
    for copy in kept.iterdir():
        target = directory / copy.name
        if not target.is_file():
            leftovers.remove(target)
            shutil.copyfile(copy, target, follow_symlinks=False)


def _closed(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL, 0o600)
