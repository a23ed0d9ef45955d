"""Backups and restores without a service: a job without a process of its own, and one that is killed at any step."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from jidoteki.core.appliance import Appliance
from jidoteki.core.archives import unpacking
from jidoteki.core.archives.streams import Observed, gunzipped
from jidoteki.hookspecs import JobError
from jidoteki.plugins.backup import jobs, restoring, stored_backup
from jidoteki.testing import FakeJob

Tree_ = dict[str, tuple[object, ...]]


class Job(FakeJob):
    """A job without a process of its own, which really unpacks."""

    def __init__(
        self, appliance: Appliance, archive: Path | None = None, dry_run: bool = False, mode: str = "merge"
    ) -> None:
        super().__init__(
            appliance,
            {"archive": str(archive), "mode": mode},
            host_config={"limits": {"free-space": 1}},
            dry_run=dry_run,
            id="dry-run-1" if dry_run else "000001-restore",
        )

    def progress(self, percentage: int, *, final: bool = False) -> None:
        assert 0 <= percentage <= 100

    def unpack(
        self, archive: Path, into: Path | int, links_below: Path, own: Callable[[], bool] = lambda: False,
        elsewhere: Callable[[str], int | None] = lambda path: None, room: int = 0, true_owners: bool = False,
        seen: Callable[[bytes], object] = lambda chunk: None,
    ) -> None:  # fmt: skip
        policy = unpacking.Policy.restore(
            links_below=links_below, free_space=self.host_config["limits"]["free-space"], note=self.log, own=own,
            elsewhere=elsewhere, true_owners=true_owners,
        )  # fmt: skip
        try:
            with archive.open("rb") as file:
                whole = Observed(file, seen)
                unpacking.unpack(gunzipped(whole, 1 << 40), into, policy)
                whole.read_rest()
        except unpacking.ArchiveError as error:
            raise JobError(str(error)) from error


def listing(appliance: Appliance, *names: str) -> None:
    appliance.replace_file(appliance.etc / "backup.txt", "\n".join(names) + "\n")


def write(path: Path, content: str = "content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def keep_busy(directory: Path) -> None:
    """Make a directory that a backup takes long for, but the disk has room for: 20 GB in one file with many names.

    It changes all the time, so that a name is packed with what it holds then, and not as one more of what was packed.
    """
    directory.mkdir()
    (directory / "0").write_bytes(b"x" * 2**26)
    for number in range(1, 320):
        os.link(directory / "0", directory / str(number))
    threading.Thread(target=_touch, args=(directory / "0",), daemon=True).start()


def _touch(path: Path) -> None:
    with suppress(OSError):
        for changed in itertools.count(10**18):
            os.utime(path, ns=(changed, changed))
            time.sleep(0.002)


def tree(root: Path) -> Tree_:
    """Everything about what lies below a directory."""
    found: Tree_ = {}
    for path in root.rglob("*"):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content)
    return found


def restore(job: Job) -> None:
    restoring.check(job)
    restoring.restore(job)


def back_up(appliance: Appliance) -> list[str]:
    job = Job(appliance)
    jobs.back_up(job)
    return job.lines


def kept(appliance: Appliance, tmp_path: Path) -> Path:
    """A backup, out of the way of the next one."""
    back_up(appliance)
    return stored_backup.archive(appliance).rename(tmp_path / "kept.tar")


STEPS = ("fsync", "fdatasync", "rename", "replace", "unlink", "mkdir", "rmdir")


def kills(most: int) -> Iterable[int]:
    """Return at which steps something is killed, one after the other: each in `make faults`, each third one in CI.

    :param most: a number that it has not.
    """
    return range(1, most, 1 if os.environ.get("JIDOTEKI_FAULTS") == "long" else 3)


def killed(what: Callable[[], object], when: int, steps: tuple[str, ...] = STEPS) -> bool:
    """Run something in a process that is killed at its n-th step; False when it has fewer."""
    child = os.fork()
    if child == 0:
        run_until_killed(what, when, steps)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def run_until_killed(what: Callable[[], object], when: int, steps: tuple[str, ...]) -> None:
    try:
        count = itertools.count(1)
        for name in steps:
            setattr(os, name, deadly(getattr(os, name), count, when))
        what()
        os._exit(0)
    finally:
        os._exit(1)


def deadly(function: Callable[..., Any], count: Iterator[int], when: int) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if next(count) == when:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    return call
