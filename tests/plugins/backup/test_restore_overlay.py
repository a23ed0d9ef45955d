"""Restores over data that came with the image: overlayfs renames no directory of its lower layer (EXDEV)."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from backupkit import Job, kept, killed, kills, listing, restore, tree, write
from namespaces import needs_mounts
from places import ROOT

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError
from jidoteki.plugins.backup import renames, swapping


class Image:
    """An appliance whose data directory is an overlay; what is written to `lower` before `mount` comes with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.appliance = Appliance(path / "root", path / "root/admin")
        self.appliance.prepare()
        self.appliance.data.mkdir()
        self.lower = path / "layers/lower"
        listing(self.appliance, "app")
        path.joinpath("layers").mkdir()
        _mount("-t", "tmpfs", "tmpfs", str(path / "layers"))
        self.lower.mkdir()

    def mount(self, redirect: str = "off") -> None:
        """Mount it anew, with nothing written above the lower layer."""
        self.unmount()
        for name in ("upper", "work"):
            shutil.rmtree(self.lower.parent / name, ignore_errors=True)
            (self.lower.parent / name).mkdir()
        layers = f"lowerdir={self.lower},upperdir={self.lower.parent}/upper,workdir={self.lower.parent}/work"
        _mount("-t", "overlay", "-o", f"{layers},redirect_dir={redirect}", "overlay", str(self.appliance.data))

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", self.appliance.data], capture_output=True)

    def end(self) -> None:
        self.unmount()
        subprocess.run(["umount", "-l", self.lower.parent], check=True)


def _mount(*arguments: str) -> None:
    if os.geteuid() != 0 or subprocess.run(["mount", *arguments], capture_output=True).returncode:
        pytest.skip("needs root, to mount an overlay")


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Image]:
    made = Image(tmp_path)
    for name in ("app/file", "app/both/file", "app/both/deep/file", "app/kind/was/directory"):
        write(made.lower / name, "of the image")
    for name in ("app/both/lost", "app/gone/file", "app/gone/deep/deeper/file"):
        write(made.lower / name, "of the image")
    (made.lower / "app/gone/link").symlink_to("/nowhere")
    (made.lower / "app/empty").mkdir()
    (made.lower / "app/gone").chmod(0o2750)
    os.chown(made.lower / "app/gone", 7, 8)
    yield made
    made.end()


@pytest.fixture
def archive(image: Image, tmp_path: Path) -> Path:
    """What replaces some of the image's directories, lacks others, and has a file for one more."""
    for name in ("app/file", "app/both/file", "app/both/deep/file", "app/kind", "app/empty/file"):
        write(image.appliance.data / name, "from the archive")
    made = kept(image.appliance, tmp_path)
    shutil.rmtree(image.appliance.data / "app")
    return made


def restored(image: Image) -> dict[str, str]:
    data = image.appliance.data
    return {str(path.relative_to(data)): path.read_text() for path in data.rglob("*") if path.is_file()}


RESTORED = dict.fromkeys(
    ("app/file", "app/both/file", "app/both/deep/file", "app/kind", "app/empty/file"), "from the archive"
)


@pytest.mark.parametrize("redirect", ["off", "on"])
def test_directories_of_the_image_are_replaced_and_removed(image: Image, archive: Path, redirect: str) -> None:
    image.mount(redirect)

    restore(Job(image.appliance, archive, mode="exact"))

    assert restored(image) == RESTORED
    assert not (image.appliance.data / "app/gone").exists()
    assert not list(image.appliance.data.glob(".*"))


def test_an_empty_directory_of_the_image_gives_way_to_a_file(image: Image, tmp_path: Path) -> None:
    write(image.appliance.data / "app/empty", "from the archive")
    archive = kept(image.appliance, tmp_path)
    (image.appliance.data / "app/empty").unlink()
    image.mount()

    restore(Job(image.appliance, archive))

    assert (image.appliance.data / "app/empty").read_text() == "from the archive"
    assert (image.appliance.data / "app/gone/file").read_text() == "of the image"


def test_all_is_taken_back_when_the_last_rename_is_impossible(
    image: Image, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image.mount()
    before = tree(image.appliance.data)
    make = renames.Renames.make

    def failing(self: renames.Renames, number: int, line: object) -> None:
        make(self, number, line)  # type: ignore[arg-type]  # handed on as it came
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(renames.Renames, "make", failing)
    with pytest.raises(JobError, match="The restore failed: Input/output error"):
        restore(Job(image.appliance, archive, mode="exact"))

    after = tree(image.appliance.data)
    assert {name: (*what[:3], what[4]) for name, what in after.items()} == {
        name: (*what[:3], what[4]) for name, what in before.items()
    }


def test_a_restore_that_is_killed_at_any_step_is_made_or_not(image: Image, archive: Path) -> None:
    image.mount()
    before = restored(image)
    outcomes = []
    for when in kills(400):
        image.mount()
        was_killed = killed(lambda: restore(Job(image.appliance, archive, mode="exact")), when)
        swapping.finish_all(image.appliance, print)
        swapping.remove_all(image.appliance, print)
        outcomes.append(restored(image) == RESTORED)
        assert outcomes[-1] or restored(image) == before, when
        assert not [*image.appliance.data.glob(".*"), *image.appliance.jobs.glob("*journal*")], when
        if not was_killed:
            break
    assert not was_killed and outcomes[0] is False and outcomes == sorted(outcomes)


def test_taking_back_can_be_killed_at_any_step_too(
    image: Image, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image.mount()
    before = restored(image)
    make = renames.Renames.make

    def failing(self: renames.Renames, number: int, line: object) -> None:
        make(self, number, line)  # type: ignore[arg-type]  # handed on as it came
        raise OSError(5, "Input/output error")

    def refused() -> None:
        with pytest.raises(JobError, match="Input/output error"):
            restore(Job(image.appliance, archive, mode="exact"))

    for when in kills(600):
        image.mount()
        with monkeypatch.context() as patched:
            patched.setattr(renames.Renames, "make", failing)
            was_killed = killed(refused, when)
        swapping.finish_all(image.appliance, print)
        swapping.remove_all(image.appliance, print)
        assert restored(image) in (before, RESTORED), when
        if not was_killed:
            return
    raise AssertionError("it never came to its end")


# Where no directory can be renamed


RENAME = os.rename


def of_files_alone(name: str, target: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
    """As overlayfs in a user namespace, which renames no directory but within what is new."""
    if src_dir_fd is None or dst_dir_fd is None:
        RENAME(name, target)
        return
    parents = (os.readlink(f"/proc/self/fd/{parent}") for parent in (src_dir_fd, dst_dir_fd))
    moved = os.stat(name, dir_fd=src_dir_fd, follow_symlinks=False)
    if stat.S_ISDIR(moved.st_mode) and not all(".jidoteki-restore-" in parent for parent in parents):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    RENAME(name, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def only_files_are_renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, of_files_alone)


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    """One with an archive in `kept.tar` that brings a directory and a file; the data have another one."""
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    made.data.mkdir()
    listing(made, "app")
    for name in ("app/file", "app/new/file", "app/new/deep/file", "app/both/file"):
        write(made.data / name, "from the archive")
    kept(made, tmp_path)
    reset(made)
    return made


def reset(appliance: Appliance) -> None:
    shutil.rmtree(appliance.data / "app")
    for name in ("app/file", "app/own/file", "app/both/file"):
        write(appliance.data / name, "now")


def files(appliance: Appliance) -> dict[str, str]:
    data = appliance.data
    return {str(path.relative_to(data)): path.read_text() for path in data.rglob("*") if path.is_file()}


BROUGHT = dict.fromkeys(("app/file", "app/new/file", "app/new/deep/file", "app/both/file"), "from the archive")
BEFORE = dict.fromkeys(("app/file", "app/own/file", "app/both/file"), "now")


@pytest.mark.parametrize("mode", ["merge", "exact"])
def test_directories_are_made_where_none_can_be_renamed(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    only_files_are_renamed(monkeypatch)

    restore(Job(appliance, tmp_path / "kept.tar", mode=mode))

    assert files(appliance) == {**BROUGHT, **({"app/own/file": "now"} if mode == "merge" else {})}
    assert (appliance.data / "app/own").is_dir()
    assert not list(appliance.data.glob(".*"))


def test_a_directory_that_cannot_be_removed_gives_way_to_no_file(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(appliance.data / "app/place", "from the archive")
    archive = kept(appliance, tmp_path)
    (appliance.data / "app/place").unlink()
    (appliance.data / "app/place").mkdir()
    only_files_are_renamed(monkeypatch)

    with pytest.raises(JobError, match="'app/place' cannot be restored: a directory is there, which cannot be removed"):
        restore(Job(appliance, archive))

    assert files(appliance) == BEFORE


@pytest.mark.parametrize("taken_back", [False, True])
def test_directories_that_cannot_be_renamed_are_there_or_not_wherever_it_is_killed(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    make, archive = renames.Renames.make, tmp_path / "kept.tar"

    def failing(self: renames.Renames, number: int, line: object) -> None:
        make(self, number, line)  # type: ignore[arg-type]  # handed on as it came
        raise OSError(5, "Input/output error")

    def refused() -> None:
        with pytest.raises(JobError, match="Input/output error"):
            restore(Job(appliance, archive))

    only_files_are_renamed(monkeypatch)
    for when in kills(300):
        reset(appliance)
        with monkeypatch.context() as patched:
            if taken_back:
                patched.setattr(renames.Renames, "make", failing)
            was_killed = killed(refused if taken_back else lambda: restore(Job(appliance, archive)), when)
        swapping.finish_all(appliance, print)
        swapping.remove_all(appliance, print)
        assert files(appliance) in (BEFORE, {**BROUGHT, "app/own/file": "now"}), when
        assert not [*appliance.data.glob(".*"), *appliance.jobs.glob("*journal*")], when
        if not was_killed:
            return
    raise AssertionError("it never came to its end")


SCRIPT = """
set -e
mount -t tmpfs tmpfs "$1"
cd "$1"; shift
mkdir lower lower/data lower/data/app lower/data/app/image upper work root
echo old >lower/data/app/image/file
mkdir root/data
mount -t overlay -o "lowerdir=$PWD/lower/data,upperdir=$PWD/upper,workdir=$PWD/work$OPTIONS" overlay root/data
exec "$@"
"""
RESTORING = """
import shutil, sys
from pathlib import Path
from backupkit import Job, kept, listing, restore, write
from jidoteki.core.appliance import Appliance
appliance = Appliance(Path("root").resolve(), Path("root/admin").resolve())
appliance.prepare()
listing(appliance, "app")
write(appliance.data / "app/image/file", "packed")
write(appliance.data / "app/fresh/deep/file", "packed")
archive = kept(appliance, Path(".").resolve())
write(appliance.data / "app/image/file", "now")
shutil.rmtree(appliance.data / "app/fresh")
restore(Job(appliance, archive, mode=sys.argv[1]))
print((appliance.data / "app/image/file").read_text(), (appliance.data / "app/fresh/deep/file").read_text())
"""


@needs_mounts
@pytest.mark.parametrize("mode", ["merge", "exact"])
@pytest.mark.parametrize("options", ["", ",userxattr"])
def test_an_overlay_in_a_user_namespace_is_restored(tmp_path: Path, mode: str, options: str) -> None:
    namespaces = ("unshare", "--user", "--map-root-user", "--mount")
    restoring = [sys.executable, "-c", RESTORING, mode]
    environment = {**os.environ, "OPTIONS": options, "PYTHONPATH": str(ROOT / "tests")}
    command: list[str | Path] = [*namespaces, "sh", "-c", SCRIPT, "sh", tmp_path, *restoring]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if "mount:" in result.stderr:
        pytest.skip("this kernel mounts no overlay in a user namespace")

    assert (result.stdout, result.stderr) == ("packed packed\n", "")
