"""The changes on a tree that the original API has run on, in the words of docs/migration.md."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jidoteki.core.appliance import Appliance
from jidoteki.core.endpoints.support import bundles
from jidoteki.core.jobs import persisting
from jidoteki.hookspecs import paths

#: Scripts that only the original has.
SCRIPTS = ("wrapper.sh", "update_vm.sh")
UPDATING = "update_*.sh"


class Change(NamedTuple):
    """A difference to the original, and what to do about it."""

    file: Path
    message: str
    advice: str


def exists(appliance: Appliance) -> bool:
    """Return whether the original has run on this tree: it has its scripts, or is group-writable as its trees are."""
    return any((appliance.bin / name).exists() for name in SCRIPTS) or (
        appliance.files_group is None and appliance.group is not None
    )


def changes(appliance: Appliance) -> Iterator[Change]:
    """Yield the changes for this tree; none where the original never ran."""
    if not exists(appliance):
        return
    yield Change(
        appliance.configuration,
        "the service takes the place of the original API, and serves HTTPS on port 8443 itself",
        "Stop the original and its stunnel, and see docs/migration.md for all that is different.",
    )
    for each in (_setup, _scripts, _debug, _backup, _license, _health, _persist):
        yield from each(appliance)


def _setup(appliance: Appliance) -> Iterator[Change]:
    path = appliance.etc / "api.token.setup"
    if _size(path) == 0 and _size(appliance.etc / "api.token"):
        yield Change(path, "it is empty: the first run is done, and api.token counts", "Nothing is to be done.")
    elif _size(path):
        message = "it holds a passphrase: the first run waits for POST /setup with it"
        yield Change(path, message, "Make the first setup as with the original.")


def _scripts(appliance: Appliance) -> Iterator[Change]:
    found = sorted(path.name for path in appliance.bin.glob(UPDATING))
    if found or (appliance.bin / "wrapper.sh").exists():
        names = ", ".join([*(("wrapper.sh",) if (appliance.bin / "wrapper.sh").exists() else ()), *found][:20])
        yield Change(
            appliance.bin,
            f"{names} are not called by the service any more, and go on to work by SSH",
            "Move what you changed in them to bin/network.sh, storage.sh, certs.sh or license.sh, or into a plugin.",
        )


def _debug(appliance: Appliance) -> Iterator[Change]:
    path = appliance.etc / bundles.COMMANDS_LIST
    try:
        lines = paths.read_regular(path, follow=True).split(b"\n")
    except OSError:
        return
    if any(b";" in line and not line.lstrip().startswith(b"#") for line in lines):
        message = "what follows a ; in its lines is run, which the original cut off"
        yield Change(path, message, "Take out what shall not run.")


def _backup(appliance: Appliance) -> Iterator[Change]:
    path = appliance.uploads / "backup.tar"
    if _size(path) is not None and not (appliance.spool / "backup.tar").exists():
        message = "the backup of the original is served until there is a new one"
        yield Change(path, message, "Nothing is to be done.")


def _license(appliance: Appliance) -> Iterator[Change]:
    path = appliance.bin / "license.sh"
    if path.exists():
        yield Change(
            path,
            "a new license is put in place, then this is asked, and the former one is put back if it prints no JSON",
            "Let it read etc/license.asc, as the original does.",
        )


def _health(appliance: Appliance) -> Iterator[Change]:
    path = appliance.etc / "health.json"
    if path.exists():
        message = "the service measures health itself, but never replaces this file where another user has written it"
        yield Change(path, message, "Set health.refresh to 0 to leave it to your own collector alone.")


def _persist(appliance: Appliance) -> Iterator[Change]:
    path = appliance.root / persisting.TOOL
    if path.is_file():
        message = "it is run after each change, as by the original, unless commands.persist names another command"
        yield Change(path, message, "Nothing is to be done.")


def _size(path: Path) -> int | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
