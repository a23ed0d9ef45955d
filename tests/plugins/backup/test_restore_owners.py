"""Restores by root beside an application's user who put directories, lists and open descriptors in their way."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backupkit import Job, kept, killed, kills, listing, restore, write
from namespaces import Mount

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError, posix_acl
from jidoteki.plugins.backup import narrowed_access, renames, restoring, swapping

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as other users")

USER = 1234
MODES = ["merge", "exact"]
SECRET = "root's secret\n"
HIS_LIST = posix_acl.to_xattr(posix_acl.from_text(f"u::rwx,u:{USER}:rwx,g::rwx,m::rwx,o::---"))
LISTS = (posix_acl.ACCESS, posix_acl.DEFAULT)


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    """One that the application's user can reach, with a directory of his."""
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    (made.data / "app").mkdir(parents=True)
    opened = [made.data, made.root, *(path for path in tmp_path.parents if not path.stat().st_mode & 0o001)]
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in opened}
    for path in (*opened, tmp_path):
        path.chmod(0o755)
    own(made.data / "app")
    listing(made, "app")
    yield made
    for path, mode in before.items():
        path.chmod(mode)


def own(*paths: Path, uid: int = USER) -> None:
    for path in paths:
        os.chown(path, uid, uid)


def directory(path: Path, mode: int, uid: int = 0) -> Path:
    path.mkdir(parents=True)
    os.chown(path, uid, uid)
    path.chmod(mode)
    return path


def as_user(appliance: Appliance, code: str) -> Any:
    """What an expression of the user's is in `app`, after his statements; the name of the error when it is refused."""
    *statements, last = code.strip().splitlines()
    program = f"""
import json, os
try:
    {"; ".join(statements) or "pass"}
    found = {last}
except OSError as error:
    found = type(error).__name__
print(json.dumps(found))
"""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program], user=USER, group=USER, extra_groups=[], cwd=appliance.data / "app",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def attempt(job: Job) -> str | None:
    try:
        restore(job)
    except JobError as error:
        return error.message
    return None


def reads_whenever(appliance: Appliance, monkeypatch: pytest.MonkeyPatch, path: Path) -> list[str]:
    """What others may read of a file at any step of a restore."""
    found: list[str] = []

    def looking(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            if path.exists() and as_user(appliance, f"open({str(path)!r}).read()") == SECRET:
                found.append(function.__name__)
            return result

        return call

    for name in ("rename", "fchmod", "fchown"):
        monkeypatch.setattr(os, name, looking(getattr(os, name)))
    return found


# His directory in the place of root's


@pytest.fixture
def private(appliance: Appliance, tmp_path: Path) -> Path:
    """An archive with a directory of root's; the user has one of his own in its place."""
    write(directory(appliance.data / "app/private", 0o700) / "secret", SECRET).chmod(0o644)
    archive = kept(appliance, tmp_path)
    assert as_user(appliance, "open('private/secret').read()") == "PermissionError"
    assert as_user(appliance, "os.rename('private', 'away')\nos.mkdir('private')\nos.listdir('private')") == []
    return archive


@pytest.mark.parametrize("mode", MODES)
def test_a_directory_of_the_users_gets_nothing_of_roots(
    appliance: Appliance, private: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = reads_whenever(appliance, monkeypatch, appliance.data / "app/private/secret")

    restore(Job(appliance, private, mode=mode))

    monkeypatch.undo()
    status = (appliance.data / "app/private").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o700)
    assert (appliance.data / "app/private/secret").read_text() == SECRET
    assert found == []


@pytest.mark.parametrize("mode", MODES)
def test_a_directory_that_the_user_filled_is_refused_or_replaced(
    appliance: Appliance, private: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert as_user(appliance, "open('private/his', 'w').write('x')") == 1
    found = reads_whenever(appliance, monkeypatch, appliance.data / "app/private/secret")

    message = attempt(Job(appliance, private, mode=mode))

    monkeypatch.undo()
    if mode == "merge":
        assert message is not None and message.startswith(
            f"'app/private' cannot be restored: a directory of user {USER}'s is there"
        )
        assert f"({USER}:{USER}, mode 0755)" in message and "(0:0, mode 0700)" in message
        assert message.endswith("or restore with mode=exact, which replaces it")
        assert as_user(appliance, "os.listdir('private')") == ["his"]
    else:
        assert as_user(appliance, "os.listdir('private')") == "PermissionError"
    assert found == []


@pytest.mark.parametrize("mode", MODES)
def test_lists_of_the_users_are_not_handed_on(appliance: Appliance, private: Path, mode: str) -> None:
    for name in LISTS:
        as_user(appliance, f"os.setxattr('private', {name!r}, {HIS_LIST!r})")

    restore(Job(appliance, private, mode=mode))

    place = appliance.data / "app/private"
    write(place / "later", "made by root")
    assert not [name for path in (place, place / "later") for name in os.listxattr(path) if name in LISTS]
    assert as_user(appliance, "open('private/later').read()") == "PermissionError"


def test_a_directory_in_roots_own_loses_lists_and_owner_before_it_is_filled(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(directory(appliance.data / "mine", 0o750) / "secret", SECRET).chmod(0o644)
    listing(appliance, "mine")
    archive = kept(appliance, tmp_path)
    (appliance.data / "mine/secret").unlink()
    own(appliance.data / "mine")
    for name in LISTS:
        os.setxattr(appliance.data / "mine", name, HIS_LIST)
    os.setxattr(appliance.data / "mine", "user.his", b"x")
    found = reads_whenever(appliance, monkeypatch, appliance.data / "mine/secret")

    restore(Job(appliance, archive))

    monkeypatch.undo()
    status = (appliance.data / "mine").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0, 0o750)
    assert os.listxattr(appliance.data / "mine") == []
    assert found == []


def test_a_wider_directory_of_roots_is_closed_before_it_is_filled(
    appliance: Appliance, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory(appliance.data / "app/public", 0o755)
    as_user(appliance, "os.rmdir('private')\nos.rename('public', 'private')")
    found = reads_whenever(appliance, monkeypatch, appliance.data / "app/private/secret")

    restore(Job(appliance, private))

    monkeypatch.undo()
    assert stat.S_IMODE((appliance.data / "app/private").stat().st_mode) == 0o700
    assert found == []


def test_another_directory_above_what_is_listed_is_refused(appliance: Appliance, private: Path) -> None:
    listing(appliance, "app/private/secret")

    with pytest.raises(JobError, match="'app/private' cannot be restored: a directory of user 1234's is there"):
        restore(Job(appliance, private))

    assert as_user(appliance, "os.listdir('private')") == []


# Root's directory in the place of his


SWAP = "os.rename('uploads', 'mine')\nos.rename('vault', 'uploads')\n0"
VAULT = {"secret": SECRET, "plugin.py": "# run by root\n"}


@pytest.fixture
def vault(appliance: Appliance) -> Path:
    """A directory of root's that is not listed."""
    path = directory(appliance.data / "app/vault", 0o700)
    for name, content in VAULT.items():
        write(path / name, content).chmod(0o644)
    listing(appliance, "app/uploads")
    return path


def in_vault(appliance: Appliance) -> dict[str, str]:
    return {path.name: path.read_text() for path in (appliance.data / "app/uploads").iterdir()}


ARCHIVED = {
    "his": (USER, USER, 0o755, None),
    "root's, wider": (0, 0, 0o755, None),
    "root's, with his group": (0, USER, 0o770, None),
    "root's, open to all": (0, 0, 0o1777, None),
    "root's, with a list": (0, 0, 0o700, HIS_LIST),
    "a third user's": (4321, 4321, 0o700, None),
}


@pytest.mark.parametrize("kind", ARCHIVED)
@pytest.mark.parametrize("listed", ["app/uploads", "app/uploads/plugin.py"])
def test_a_directory_of_roots_is_not_given_away(
    appliance: Appliance, tmp_path: Path, vault: Path, kind: str, listed: str
) -> None:
    uid, gid, mode, acl = ARCHIVED[kind]
    uploads = directory(appliance.data / "app/uploads", mode)
    os.chown(uploads, uid, gid)
    uploads.chmod(mode)
    if acl:
        os.setxattr(uploads, posix_acl.ACCESS, acl)
    own(write(uploads / "plugin.py", "evil"))
    listing(appliance, listed)
    archive = kept(appliance, tmp_path)
    as_user(appliance, SWAP)
    before = (appliance.data / "app/uploads").stat()

    message = attempt(Job(appliance, archive))

    after = (appliance.data / "app/uploads").stat()
    assert message is not None and message.startswith(
        "'app/uploads' cannot be restored: a directory of root's is there"
    )
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    assert os.listxattr(appliance.data / "app/uploads") == []
    assert in_vault(appliance) == VAULT


def test_a_directory_that_the_archive_only_implies_gets_nothing_of_others(
    appliance: Appliance, tmp_path: Path, vault: Path
) -> None:
    own(write(appliance.data / "app/uploads/plugin.py", "evil"))
    archive = tmp_path / "a.tar"
    subprocess.run(["tar", "-C", appliance.data, "-cf", archive, "app/uploads/plugin.py"], check=True)
    as_user(appliance, SWAP)

    with pytest.raises(JobError, match=r"'app/uploads/plugin.py' cannot be restored: others may have put"):
        restore(Job(appliance, archive))

    assert in_vault(appliance) == VAULT


def test_a_directory_that_is_exchanged_after_it_was_looked_at_gets_nothing(
    appliance: Appliance, tmp_path: Path, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(directory(appliance.data / "app/uploads", 0o755), write(appliance.data / "app/uploads/plugin.py", "evil"))
    archive = kept(appliance, tmp_path)
    narrow = narrowed_access.narrow

    def exchanged(*arguments: Any) -> None:
        as_user(appliance, SWAP)
        narrow(*arguments)

    monkeypatch.setattr(narrowed_access, "narrow", exchanged)

    message = attempt(Job(appliance, archive))

    assert message == "The restore failed: app/uploads was replaced meanwhile"
    assert in_vault(appliance) == VAULT
    assert (appliance.data / "app/uploads").stat().st_uid == 0


def test_what_root_made_in_a_directory_with_the_sticky_bit_is_roots_still(appliance: Appliance, tmp_path: Path) -> None:
    own(write(directory(appliance.data / "tool", 0o700, USER) / "file", "packed"))
    listing(appliance, "tool")
    archive = kept(appliance, tmp_path)
    appliance.data.chmod(0o1777)
    (appliance.data / "tool").chmod(0o755)
    own(appliance.data / "tool", uid=0)

    restore(Job(appliance, archive))

    status = (appliance.data / "tool").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (USER, 0o700)


def test_his_own_directories_are_restored_whatever_their_modes_are_now(appliance: Appliance, tmp_path: Path) -> None:
    own(write(directory(appliance.data / "app/his", 0o2775, USER) / "file", "packed"))
    archive = kept(appliance, tmp_path)
    as_user(appliance, "os.chmod('his', 0o700)\nopen('his/file', 'w').write('now')")

    restore(Job(appliance, archive))

    assert (appliance.data / "app/his/file").read_text() == "packed"
    assert stat.S_IMODE((appliance.data / "app/his").stat().st_mode) == 0o2775


@pytest.mark.parametrize("taken_back", [False, True])
def test_owner_mode_and_lists_are_those_of_before_or_of_the_archive_wherever_it_is_killed(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    mine = directory(appliance.data / "mine", 0o750)
    write(mine / "file", "packed")
    listing(appliance, "mine")
    archive = kept(appliance, tmp_path)

    def last_fails(self: renames.Renames, number: int, line: Any) -> None:
        MAKE(self, number, line)
        raise OSError(5, "Input/output error")

    for when in kills(100):
        write(mine / "file", "now")
        own(mine)
        os.setxattr(mine, posix_acl.ACCESS, HIS_LIST)
        with monkeypatch.context() as patched:
            if taken_back:
                patched.setattr(renames.Renames, "make", last_fails)
            steps = ("rename", "mkdir", "fchmod", "fchown", "setxattr", "removexattr", "rmdir", "unlink")
            was_killed = killed(lambda: attempt(Job(appliance, archive)), when, steps)
        restoring.recover(appliance)
        swapping.remove_all(appliance, print)
        status, text = mine.stat(), (mine / "file").read_text()
        found = (text, status.st_uid, stat.S_IMODE(status.st_mode), os.listxattr(mine))
        assert found in (("now", USER, 0o770, [posix_acl.ACCESS]), ("packed", 0, 0o750, [])), when
        assert not list(appliance.data.glob(".*")), when
        if not was_killed:
            return
    raise AssertionError("it never came to its end")


MAKE = renames.Renames.make


# What gives way


EVIDENCE = "audit trail of root"

MOVER = """
import os, sys, time
os.chdir(sys.argv[1])
descriptor = os.open("foo", os.O_RDONLY)
print("ready", flush=True)
end = time.monotonic() + 20
while time.monotonic() < end:
    try:
        if os.stat("foo").st_ino == os.fstat(descriptor).st_ino:
            continue
    except OSError:
        pass
    try:
        os.rename("mine", "mine", dst_dir_fd=descriptor)
        print("moved")
    except OSError as error:
        print(type(error).__name__)
    break
"""


@pytest.mark.parametrize("coming", ["file", "directory"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_moved_into_what_gave_way_and_deleted_with_it(
    appliance: Appliance, tmp_path: Path, mode: str, coming: str
) -> None:
    app = appliance.data / "app"
    listing(appliance, "app/foo", "app/many")
    write(app / "foo" if coming == "file" else directory(app / "foo", 0o700) / "file", "packed")
    for number in range(100):
        write(app / f"many/{number}/file", "x")
    archive = kept(appliance, tmp_path)
    write(directory(app / "mine/root-only", 0o700) / "evidence", EVIDENCE)
    own(app / "mine")
    assert as_user(appliance, "os.rename('foo', 'away')\nos.mkdir('foo')\nos.listdir('foo')") == []
    mover = subprocess.Popen(
        ["/usr/bin/python3", "-c", MOVER, app], user=USER, group=USER, extra_groups=[], stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert mover.stdout is not None and mover.stdout.readline() == "ready\n"

    restore(Job(appliance, archive, mode=mode))

    assert mover.communicate(timeout=30)[0] == "FileNotFoundError\n"
    assert (app / "mine/root-only/evidence").read_text() == EVIDENCE
    assert not list(appliance.data.glob(".*"))


def test_what_comes_into_a_free_place_is_not_deleted(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = appliance.data / "app"
    listing(appliance, "app/foo")
    write(app / "foo", "packed")
    archive = kept(appliance, tmp_path)
    write(app / "foo", "now")
    write(directory(app / "mine/root-only", 0o700) / "evidence", EVIDENCE)
    own(app / "mine")
    rename = os.rename

    def gap(source: Any, target: Any, **directories: int) -> None:
        rename(source, target, **directories)
        if source == "foo" and not (app / "foo").exists():
            as_user(appliance, "os.rename('mine', 'foo')\n0")

    monkeypatch.setattr(os, "rename", gap)

    message = attempt(Job(appliance, archive))

    monkeypatch.undo()
    assert message == "The restore failed: app/foo was replaced meanwhile"
    assert (app / "foo").read_text() == "now"
    assert [path.read_text() for path in app.rglob("evidence")] == [EVIDENCE]
    assert not list(appliance.data.glob(".*"))


def test_what_goes_away_is_closed_before_it_is_emptied(
    appliance: Appliance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = appliance.data / "app"
    listing(appliance, "app/tree")
    write(app / "tree", "packed")
    archive = kept(appliance, tmp_path)
    (app / "tree").unlink()
    deep = directory(app / "tree/deep", 0o777, USER)
    os.setxattr(deep, posix_acl.ACCESS, HIS_LIST)
    write(directory(app / "mine/root-only", 0o700) / "evidence", EVIDENCE)
    own(app / "mine")
    opened = os.open(deep, os.O_RDONLY)
    tries: list[str] = []
    listdir = os.listdir

    def looking(where: Any = ".") -> list[str]:
        if isinstance(where, int) and os.fstat(where).st_ino == os.fstat(opened).st_ino:
            code = f"import os\nos.rename('mine', 'mine', dst_dir_fd={opened})"
            run = subprocess.run(
                ["/usr/bin/python3", "-c", code], user=USER, group=USER, extra_groups=[], cwd=app, pass_fds=[opened],
                capture_output=True, text=True,
            )  # fmt: skip
            tries.append(run.stderr.rpartition("\n")[0].rpartition("\n")[2].partition(":")[0])
        return listdir(where)

    monkeypatch.setattr(os, "listdir", looking)
    restore(Job(appliance, archive, mode="exact"))
    monkeypatch.undo()
    os.close(opened)

    assert tries and set(tries) == {"PermissionError"}
    assert (app / "mine/root-only/evidence").read_text() == EVIDENCE
    assert not list(appliance.data.glob(".*"))


# A single file that is mounted


@pytest.fixture
def conf(appliance: Appliance, tmp_path: Path, mount: Mount) -> Path:
    """A file of root's, mounted in the data and in the archive; the user's since then."""
    source = write(directory(tmp_path / "elsewhere", 0o755) / "conf", SECRET)
    source.chmod(0o640)
    mount(write(appliance.data / "app/conf", ""), "--bind", str(source))
    kept(appliance, tmp_path)
    write(source, "his own")
    own(source)
    return source


@pytest.mark.parametrize("fails", [False, True])
def test_a_mounted_file_has_the_lists_of_the_archive_or_of_before(
    appliance: Appliance, tmp_path: Path, conf: Path, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    acl = posix_acl.to_xattr(posix_acl.from_text(f"u::rw-,u:{USER}:rw-,g::---,m::rw-,o::---"))
    as_user(appliance, f"os.setxattr('conf', 'system.posix_acl_access', {acl!r})")

    def last_fails(self: renames.Renames, number: int, line: Any) -> None:
        MAKE(self, number, line)
        raise OSError(5, "Input/output error")

    if fails:
        monkeypatch.setattr(renames.Renames, "make", last_fails)
    attempt(Job(appliance, tmp_path / "kept.tar"))

    status = conf.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == ((USER, 0o660) if fails else (0, 0o640))
    assert as_user(appliance, "open('conf').read()") == ("his own" if fails else "PermissionError")
    assert os.listxattr(conf) == ([posix_acl.ACCESS] if fails else [])
    if fails:
        assert os.getxattr(conf, posix_acl.ACCESS) == acl


def test_a_mounted_file_that_the_user_holds_open_gets_nothing_of_roots(
    appliance: Appliance, tmp_path: Path, conf: Path
) -> None:
    code = "import sys, time\nfile = open('conf')\nprint('open', flush=True)\nsys.stdin.read()\nprint(file.read())"
    reader = subprocess.Popen(
        ["/usr/bin/python3", "-c", code], user=USER, group=USER, extra_groups=[], cwd=appliance.data / "app",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reader.stdout is not None and reader.stdout.readline() == "open\n"

    message = attempt(Job(appliance, tmp_path / "kept.tar"))
    found = reader.communicate(timeout=30)[0]

    assert message == f"The restore failed: user {USER} owns conf, and it is open ('app/conf')"
    assert found == "his own\n"
    assert (conf.read_text(), conf.stat().st_uid) == ("his own", USER)
    restore(Job(appliance, tmp_path / "kept.tar"))
    assert (conf.read_text(), conf.stat().st_uid) == (SECRET, 0)
