"""The update job: its steps, its error codes, and its results."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from namespaces import Mount, mounted, needs_mounts

from jidoteki.core.appliance import Appliance
from jidoteki.core.endpoints.update import UPDATE
from jidoteki.core.jobs import disks
from jidoteki.hookspecs import JobError

NewJob = Callable[..., Any]
Drop = Callable[..., Path]
Make = Callable[..., bytes]

VERSION = {"version.txt": "1.1.0\n"}
RAN = '#!/bin/sh\necho ran; touch "$JIDO_ADMIN_PATH/ran"\n'


def check(job: Any) -> None:
    assert UPDATE.check is not None
    UPDATE.check(job)


def install(job: Any) -> None:
    """Do what the host does with a job."""
    check(job)
    UPDATE.run(job)


def failure(job: Any) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        install(job)
    return caught.value.code, caught.value.message


@pytest.fixture
def make(vendor: Any, tmp_path: Path) -> Callable[..., bytes]:
    """Return a function that makes packages of files."""

    def one(files: dict[str, str]) -> bytes:
        return bytes(vendor.package(tmp_path / f"made-{len(list(tmp_path.glob('made-*')))}", files))

    return one


def test_a_package_is_installed_step_by_step(appliance: Appliance, new_job: NewJob, drop: Drop, make: Make) -> None:
    package = drop(make({**VERSION, "update.sh": RAN, "changelog.txt": "# News\n"}))
    job = new_job(package)

    install(job)

    assert job.steps == [10, 20, 30, 40, 50, 60, 70, 80]
    assert [re.sub(" at: .*", " at: …", line) for line in job.lines] == [
        "Updating system. Please wait..",
        "Starting update at: …",
        "ran",
        "Completed update at: …",
        "Update successful",
        "Updating system successful",
    ]
    assert (appliance.admin / "ran").exists()
    assert (appliance.etc / "version.txt").read_text() == "1.1.0\n"
    assert (appliance.etc / "changelog.txt").read_text() == "# News\n"
    assert not package.exists()


@pytest.mark.parametrize(
    "script", ["touch here\n", "#!/bin/sh\ntouch here\n", "#!/bin/sh -e\n[ -f version.txt ]\ntouch here\n"]
)
def test_update_sh_runs_in_the_unpacked_directory(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, script: str
) -> None:
    move = 'mv "$PWD/here" "$JIDO_ADMIN_PATH"; ls > "$JIDO_ADMIN_PATH/beside"; pwd > "$JIDO_ADMIN_PATH/where"\n'

    install(new_job(drop(make({**VERSION, "update.sh": script + move}))))

    assert (appliance.admin / "here").stat().st_mode & 0o777 == 0o640
    assert (appliance.admin / "where").read_text() == f"{appliance.tmp}/update\n"
    assert (appliance.admin / "beside").read_text() == "update.sh\nversion.txt\n"
    assert list(appliance.tmp.iterdir()) == []


def test_a_package_without_update_sh_is_installed_too(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make
) -> None:
    job = new_job(drop(make(VERSION)))

    install(job)

    assert (appliance.etc / "version.txt").read_text() == "1.1.0\n"
    assert job.steps == [10, 20, 30, 40, 50, 60, 70, 90]
    assert job.lines[-1] == "No update script found, skipping."


def test_what_is_unpacked_has_the_permissions_that_the_original_gave_it(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make
) -> None:
    script = "#!/bin/sh\nls -l files/tool update.sh version.txt > $JIDO_ADMIN_PATH/listed\n"

    install(new_job(drop(make({**VERSION, "update.sh": script, "files/tool": "#!/bin/sh\n"}))))

    told = {line.split()[-1]: line.split()[0] for line in (appliance.admin / "listed").read_text().splitlines()}
    assert (told["files/tool"], told["version.txt"]) == ("-rwxr-x---", "-rw-r-----")


@pytest.mark.parametrize("spoil", ["directory", "file", "link", "pipe"])
@pytest.mark.parametrize("dry", [False, True])
def test_what_lies_in_the_place_of_the_unpacked_directory_is_cleared_and_not_followed(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, tmp_path: Path, spoil: str, dry: bool
) -> None:
    place, kept = appliance.tmp / "update", tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    match spoil:
        case "directory":
            (place / "files").mkdir(parents=True)
            (place / "files/old").touch()
            (place / "link").symlink_to(kept)
        case "file":
            place.touch()
        case "link":
            place.symlink_to(kept)
        case "pipe":
            os.mkfifo(place)
    job = new_job(drop(make({**VERSION, "update.sh": "find . > $JIDO_ADMIN_PATH/found\n"})))
    job.dry_run = dry

    if dry:
        check(job)
        assert os.path.lexists(place)
    else:
        install(job)
        assert sorted((appliance.admin / "found").read_text().split()) == [".", "./update.sh", "./version.txt"]
        assert not os.path.lexists(place)
    assert [path.name for path in kept.iterdir()] == ["inner"]


MOUNTING = """
import sys
from pathlib import Path
from jidoteki.core.appliance import Appliance
from jidoteki.core.endpoints.update import unpacked

class Job:
    appliance, dry_run, log = Appliance(Path("/"), Path(sys.argv[1])), False, print
    workspace = appliance.tmp / "000001-update"

Job.workspace.mkdir()
unpacked.make(Job())
made = unpacked.accept(Job())
assert list(made.iterdir()) == [] and made.stat().st_mode & 0o777 == 0o700
"""


@needs_mounts
@pytest.mark.parametrize(("where", "fits"), [("update/mnt", True), ("update", False)])
def test_nothing_is_removed_from_what_a_script_left_mounted(
    appliance: Appliance, tmp_path: Path, where: str, fits: bool
) -> None:
    kept, place = tmp_path / "kept", appliance.tmp / where
    for each in (kept, place):
        each.mkdir(parents=True)
    (kept / "vmlinuz").touch()
    mounting = mounted(f"mount --bind {shlex.quote(str(kept))} {shlex.quote(str(place))}")

    done = subprocess.run(
        [*mounting, sys.executable, "-c", MOUNTING, appliance.admin], capture_output=True, text=True, check=False
    )

    assert (done.returncode == 0) == fits, done.stderr
    assert f"Something is mounted at {place}" in done.stdout
    assert (kept / "vmlinuz").exists()


def test_without_a_package_the_newest_that_was_dropped_is_taken(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make
) -> None:
    newest = drop(make({"version.txt": "1.2.0"}), "software_package-a.enc")
    older = drop(make({"version.txt": "1.3.0"}), "software_package-z.enc")
    os.utime(older, (1, 1))
    (appliance.uploads / "software_package-link.enc").symlink_to(older)

    install(new_job())

    assert (appliance.etc / "version.txt").read_text() == "1.2.0\n"
    assert not newest.exists()
    assert older.exists()


def test_a_package_is_gone_before_its_script_can_take_the_system_down(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, tmp_path: Path
) -> None:
    """Else it would be found again at the next boot, for ever."""
    drop(make({**VERSION, "update.sh": f"ls '{appliance.uploads}' > '{tmp_path}/seen'\n"}))

    install(new_job())

    assert (tmp_path / "seen").read_text() == ""


def test_a_package_that_took_the_name_of_the_used_one_stays(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make
) -> None:
    used = drop(make(VERSION))
    job = new_job()
    check(job)
    other = drop(b"another one", "other")
    other.rename(used)

    UPDATE.run(job)

    assert (appliance.etc / "version.txt").read_text() == "1.1.0\n"
    assert used.read_bytes() == b"another one"


def test_a_package_in_the_spool_is_used_up(appliance: Appliance, new_job: NewJob, make: Make) -> None:
    package = appliance.spool / "software_package-1.enc"
    package.write_bytes(make(VERSION))

    install(new_job(package))

    assert not package.exists()


def test_a_handed_over_package_that_became_a_link_is_e1003(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make
) -> None:
    elsewhere = drop(make(VERSION))
    package = appliance.spool / "software_package-1.enc"
    package.symlink_to(elsewhere)

    assert failure(new_job(package))[0] == "E1003"


@pytest.mark.parametrize("name", ["version.txt", "status_error_message.txt"])
def test_an_update_goes_on_with_a_pipe_in_place_of_a_small_file(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, name: str
) -> None:
    (appliance.etc / name).unlink(missing_ok=True)
    os.mkfifo(appliance.etc / name)

    install(new_job(drop(make(VERSION))))

    assert (appliance.etc / "version.txt").read_text() == "1.1.0\n"


def test_no_package_is_e1003_at_20_percent(new_job: NewJob) -> None:
    job = new_job()

    assert failure(job) == ("E1003", "Missing update package")
    assert job.steps == [10, 20]
    assert job.lines[-2] == "Missing update package"
    assert job.lines[-1] == "Failed updating..."


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"version.txt": "1.0.0"}, "The package's version 1.0.0 is not newer than the installed version 1.0.0"),
        ({"version.txt": "0.9.9"}, "The package's version 0.9.9 is not newer than the installed version 1.0.0"),
        ({"other.txt": ""}, "The package has no version.txt"),
        (
            {"pk/version.txt": "2.0.0", "pk/update.sh": ""},
            "The package has no version.txt at its top, but pk/version.txt: pack what is in pk, and not pk itself",
        ),
        ({"version.txt": ""}, "The package's version.txt is not valid"),
        ({"version.txt": "2.0.0\n2.0.1\n"}, "The package's version.txt is not valid"),
    ],
)
def test_a_version_that_is_not_newer_is_e1001(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, files: dict[str, str], message: str
) -> None:
    package = drop(make({**files, "update.sh": RAN}))

    job = new_job(package)

    code, told = failure(job)

    assert code == "E1001" and told.startswith(message)
    assert job.steps[-1] == 60
    assert not (appliance.admin / "ran").exists()
    assert not package.exists()


def test_a_package_without_a_version_is_taken_where_the_configuration_says_so(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make
) -> None:
    package = make({"update.sh": RAN, "changelog.txt": "# News\n"})
    for _ in range(2):
        (appliance.admin / "ran").unlink(missing_ok=True)
        job = new_job(drop(package))
        job.host_config["update"]["unversioned-packages"] = True

        install(job)

        assert (appliance.admin / "ran").exists()
        assert (appliance.etc / "version.txt").read_text() == "1.0.0\n"
    old = new_job(drop(make({"version.txt": "0.9\n"})))
    old.host_config["update"]["unversioned-packages"] = True
    assert failure(old)[0] == "E1001"


@pytest.mark.parametrize("installed", ["", "\n", "\x00broken\x00"])
def test_an_appliance_without_a_readable_version_can_be_updated(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, installed: str
) -> None:
    (appliance.etc / "version.txt").write_text(installed)

    install(new_job(drop(make(VERSION))))

    assert (appliance.etc / "version.txt").read_text() == "1.1.0\n"


@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda content: b"rubbish", lambda content: b""])
def test_a_damaged_package_is_e1005_and_the_next_good_one_works(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, damage: Callable[[bytes], bytes]
) -> None:
    content = make({**VERSION, "update.sh": RAN})
    package = drop(damage(content))

    code, _ = failure(new_job(package))

    assert code == "E1005"
    assert not (appliance.admin / "ran").exists()
    assert not package.exists()
    install(new_job(drop(content)))
    assert (appliance.admin / "ran").exists()


def test_a_package_signed_by_somebody_else_never_runs(
    appliance: Appliance, new_job: NewJob, drop: Drop, vendor: Any, stranger: Any, tmp_path: Path
) -> None:
    archive = vendor.archive(tmp_path / "made", {**VERSION, "update.sh": RAN})
    job = new_job(drop(vendor.seal(archive, stranger.sign(archive))))

    code, message = failure(job)

    assert (code, message.partition(":")[0]) == ("E1005", "The package's signature is not valid")
    assert job.steps[-1] == 40
    assert not (job.workspace / "package").exists() and not (appliance.tmp / "update").exists()
    assert not (appliance.admin / "ran").exists()


@pytest.mark.parametrize(("name", "step"), [("updates.key", 30), ("updates.pub", 40)])
def test_a_missing_key_is_e1005_and_named(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, name: str, step: int
) -> None:
    (appliance.etc / name).unlink()
    job = new_job(drop(make(VERSION)))

    code, message = failure(job)

    assert code == "E1005" and name in message
    assert job.steps[-1] == step


def test_a_failing_update_sh_is_e1002_and_the_version_stays(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make
) -> None:
    package = drop(make({**VERSION, "update.sh": "#!/bin/sh\nexit 3\n", "changelog.txt": "new"}))
    job = new_job(package)

    assert failure(job) == ("E1002", "update.sh failed with exit status 3")
    assert job.steps[-1] == 80
    assert job.lines[-2:] == ["update.sh failed with exit status 3", "Failed updating..."]
    assert (appliance.etc / "version.txt").read_text() == "1.0.0\n"
    assert not (appliance.etc / "changelog.txt").exists()
    assert not package.exists()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'No disk' > $etc_message.txt; echo E1007 > $etc_code.txt", ("E1007", "No disk")),
        ("echo 'No disk' > $etc_message.txt", ("E1002", "No disk")),
        ("echo E1007 > $etc_code.txt", ("E1007", "update.sh failed")),
        ("printf 'a\\nb\\033[2J\\n' > $etc_message.txt; echo '{}' > $etc_code.txt", ("E1002", "a b[2J")),
        ("ln -s /etc/passwd $etc_message.txt", ("E1002", "update.sh failed with exit status 1")),
    ],
)
def test_what_update_sh_says_about_its_own_failure_counts(
    new_job: NewJob, drop: Drop, make: Make, script: str, expected: tuple[str, str]
) -> None:
    names = "etc_message=$JIDO_ADMIN_PATH/etc/status_error_message etc_code=$JIDO_ADMIN_PATH/etc/status_error_code"
    script = script.replace("$etc_message", "${etc_message}").replace("$etc_code", "${etc_code}")

    assert failure(new_job(drop(make({**VERSION, "update.sh": f"{names}\n{script}\nexit 1\n"})))) == expected


def test_what_another_run_said_does_not_count(appliance: Appliance, new_job: NewJob, drop: Drop, make: Make) -> None:
    (appliance.etc / "status_error_message.txt").write_text("old\n")

    code, message = failure(new_job(drop(make({**VERSION, "update.sh": "exit 1\n"}))))

    assert (code, message) == ("E1002", "update.sh failed with exit status 1")


def test_a_directory_in_place_of_update_sh_is_e1002(new_job: NewJob, drop: Drop, make: Make) -> None:
    assert failure(new_job(drop(make({**VERSION, "update.sh/x": ""})))) == (
        "E1002",
        "The package's update.sh is not a file",
    )


def test_a_dry_run_changes_nothing(appliance: Appliance, new_job: NewJob, drop: Drop, make: Make) -> None:
    package = drop(make({**VERSION, "update.sh": RAN}))

    check(new_job(package))

    assert package.exists()
    assert not (appliance.admin / "ran").exists()
    assert (appliance.etc / "version.txt").read_text() == "1.0.0\n"


def test_a_dry_run_of_a_bad_package_leaves_it_to_whoever_brought_it(new_job: NewJob, drop: Drop) -> None:
    package = drop(b"rubbish", ".jidoteki-upload-1")

    with pytest.raises(JobError):
        check(new_job(package))

    assert package.exists()


@pytest.mark.parametrize(
    ("setting", "value", "message"), [("max-unpacked-size", 100, "100 bytes"), ("max-members", 2, "2 members")]
)
def test_the_configured_limits_count(
    new_job: NewJob, drop: Drop, make: Make, setting: str, value: int, message: str
) -> None:
    job = new_job(drop(make({**VERSION, "data": "x" * 200})))
    job.host_config["update"][setting] = value

    code, told = failure(job)

    assert code == "E1005" and message in told


def test_free_space_is_kept(new_job: NewJob, drop: Drop, make: Make) -> None:
    job = new_job(drop(make(VERSION)))
    job.host_config["limits"]["free-space"] = 1 << 60

    code, message = failure(job)

    assert code == "E1000" and message.startswith("The ") and "bytes of the package would leave less" in message


def test_a_full_disk_is_e1000_and_told(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = new_job(drop(make(VERSION)))

    def full(path: Path, content: str, mode: int = 0o644) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(appliance, "replace_file", full)

    assert failure(job) == ("E1000", "The disk is full: free some space, then update again")


def test_a_full_disk_is_told_where_not_even_a_note_can_be_written(
    new_job: NewJob, drop: Drop, make: Make, mount: Mount
) -> None:
    job = new_job(drop(make(VERSION)))
    mount(job.workspace)
    with contextlib.suppress(OSError), (job.workspace / "other").open("wb", buffering=0) as other:
        while True:
            other.write(bytes(4096))

    assert failure(job) == ("E1000", "The disk is full: free some space, then update again")


def test_a_version_counts_once_all_of_it_is_on_disk(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, str]] = []

    def store(job: Any) -> None:
        seen.append(((appliance.admin / "ran").exists(), (appliance.etc / "version.txt").read_text()))

    monkeypatch.setattr(disks, "store", store)

    install(new_job(drop(make({**VERSION, "update.sh": RAN}))))

    assert seen == [(True, "1.0.0\n")]
    assert (appliance.etc / "version.txt").read_text() == "1.1.0\n"


def test_a_disk_that_takes_no_more_leaves_the_version_as_it_was(
    appliance: Appliance, new_job: NewJob, drop: Drop, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def store(job: Any) -> None:
        raise JobError("What was changed is not stored: the file system at / fails")

    monkeypatch.setattr(disks, "store", store)

    code, message = failure(new_job(drop(make({**VERSION, "update.sh": RAN}))))

    assert (code, message) == ("E1000", "What was changed is not stored: the file system at / fails")
    assert (appliance.etc / "version.txt").read_text() == "1.0.0\n"
