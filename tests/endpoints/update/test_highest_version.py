"""An older package never becomes an update, whatever rewrote `version.txt`: the highest version is remembered."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.core.endpoints.update import UPDATE
from jidoteki.hookspecs import JobError

ALLOWED = "allow-scheme-change-to"


@pytest.fixture
def mark(appliance: Appliance) -> Path:
    return appliance.admin / "jobs/highest-version"


@pytest.fixture
def update(vendor: Any, tmp_path: Path, new_job: Callable[..., Any], drop: Callable[..., Path]) -> Callable[..., Any]:
    """Return a function that installs a package of a version, and gives the job."""

    def install(
        version: str, script: str | None = None, allowed: str | None = None, more: Mapping[str, str] = {}
    ) -> Any:
        work = tmp_path / f"made-{len(list(tmp_path.glob('made-*')))}"
        files = {"version.txt": f"{version}\n", **({"update.sh": script} if script else {}), **more}
        job = new_job(drop(vendor.package(work, files)))
        job.host_config["update"][ALLOWED] = allowed
        assert UPDATE.check is not None
        UPDATE.check(job)
        UPDATE.run(job)
        return job

    return install


def refused(update: Callable[..., Any], *arguments: str, **options: Any) -> str:
    with pytest.raises(JobError) as caught:
        update(*arguments, **options)
    assert caught.value.code == "E1001"
    return caught.value.message


def test_an_update_is_remembered_with_its_version_where_others_cannot_look(
    appliance: Appliance, update: Callable[..., Any], mark: Path
) -> None:
    (appliance.etc / "version.txt").chmod(0o644)

    update("2.0.0", more={"changelog.txt": "new\n"})

    assert mark.read_text() == (appliance.etc / "version.txt").read_text() == "2.0.0\n"
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600
    assert stat.S_IMODE(mark.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((appliance.etc / "version.txt").stat().st_mode) == 0o644


@pytest.mark.parametrize("rewritten", ["1.0.0\n", "", "\x00\x01", "0.0.1\n2.0.0\n", "release-1\n", "9" * 65])
def test_a_rewritten_version_txt_lets_no_older_package_in(
    appliance: Appliance, update: Callable[..., Any], rewritten: str
) -> None:
    update("2.0.0")
    (appliance.etc / "version.txt").write_text(rewritten)

    for older in ("1.5.0", "2.0.0", "v2.0.0", "2.0.0+more", "2.0.0-rc.1"):
        refused(update, older)
    assert (appliance.etc / "version.txt").read_text() == rewritten


def test_a_removed_version_txt_lets_no_older_package_in(appliance: Appliance, update: Callable[..., Any]) -> None:
    update("2.0.0")
    (appliance.etc / "version.txt").unlink()

    message = refused(update, "1.9.9")

    assert message == (
        "The package's version 1.9.9 is not newer than 2.0.0, the highest version that was installed here "
        f"({appliance.jobs / 'highest-version'})"
    )


def test_a_script_that_lowers_version_txt_and_removes_the_record_changes_neither(
    appliance: Appliance, update: Callable[..., Any], mark: Path
) -> None:
    script = '#!/bin/sh\ncd "$JIDO_ADMIN_PATH"\necho 0.1 > etc/version.txt\nrm -f jobs/highest-version\n'

    update("2.0.0", script)

    assert mark.read_text() == (appliance.etc / "version.txt").read_text() == "2.0.0\n"


def test_a_script_that_lowers_version_txt_and_fails_lets_no_older_package_in(
    appliance: Appliance, update: Callable[..., Any], mark: Path
) -> None:
    with pytest.raises(JobError, match="exit status 1"):
        update("2.0.0", "#!/bin/sh\necho 0.1 > $JIDO_ADMIN_PATH/etc/version.txt\nexit 1\n")

    assert (appliance.etc / "version.txt").read_text() == "0.1\n"
    assert mark.read_text() == "1.0.0\n"
    refused(update, "0.9.0")
    update("2.0.0")


def test_a_package_that_brings_a_record_of_its_own_is_not_believed(
    appliance: Appliance, update: Callable[..., Any], mark: Path
) -> None:
    update("2.0.0", more={"highest-version": "0.1\n", "jobs/highest-version": "0.1\n"})

    assert mark.read_text() == "2.0.0\n"
    assert sorted(path.name for path in appliance.etc.iterdir()) == ["updates.key", "updates.pub", "version.txt"]


def test_before_the_first_update_version_txt_alone_counts_the_first_of_its_lines(
    appliance: Appliance, update: Callable[..., Any]
) -> None:
    (appliance.etc / "version.txt").write_text("1.5.0\n1.0.0\n")

    assert refused(update, "1.2.0") == "The package's version 1.2.0 is not newer than the installed version 1.5.0"
    update("1.6.0")


def test_a_newer_package_is_judged_by_the_record_where_version_txt_is_not_valid(
    appliance: Appliance, update: Callable[..., Any]
) -> None:
    update("2.0.0")
    (appliance.etc / "version.txt").write_text("\x1b[2J")

    job = update("2.0.1")

    assert job.lines[1] == "The installed version.txt is not valid: it does not count"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text(""),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text("1\n" * 4000),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("nothing"),
    ],
    ids=["empty", "binary", "long", "link", "dangling"],
)
def test_a_broken_record_is_told_and_made_anew(
    appliance: Appliance, update: Callable[..., Any], mark: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(mark)

    assert "is not newer than the installed version 1.0.0" in refused(update, "0.9.0")
    job = update("1.1.0")

    assert [line for line in job.lines if line.startswith(str(mark)) and line.endswith("it does not count")]
    assert mark.read_text() == "1.1.0\n" and not mark.is_symlink()


def test_root_goes_back_by_hand(appliance: Appliance, update: Callable[..., Any], mark: Path) -> None:
    update("2.0.0")
    mark.unlink()
    (appliance.etc / "version.txt").write_text("1.4.0\n")

    update("1.5.0")

    assert mark.read_text() == "1.5.0\n"


def test_a_change_of_scheme_is_refused_unless_that_version_is_named(
    appliance: Appliance, update: Callable[..., Any], mark: Path
) -> None:
    (appliance.etc / "version.txt").write_text("release-8\n")

    assert "cannot be compared with the installed version release-8" in refused(update, "1.0.0")
    assert "cannot be compared" in refused(update, "1.0.0", allowed="1.0.1")
    update("1.0.0", allowed="1.0.0")
    assert "is not newer" in refused(update, "1.0.0", allowed="1.0.0")
    assert "cannot be compared" in refused(update, "release-9", allowed="1.0.0")
    update("1.1.0", allowed="1.0.0")
    assert "is not newer" in refused(update, "1.0.0", allowed="1.0.0")
    assert mark.read_text() == "1.1.0\n"


def test_the_record_counts_though_version_txt_is_of_another_scheme(
    appliance: Appliance, update: Callable[..., Any]
) -> None:
    update("2.0.0")
    (appliance.etc / "version.txt").write_text("release-1\n")

    message = refused(update, "release-2")

    assert "cannot be compared with 2.0.0, the highest version that was installed here" in message
    assert json.dumps(message).isascii()


def test_what_a_script_installed_counts_though_the_update_could_not_be_ended(
    appliance: Appliance, update: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Appliance, "replace_files", full)
        with pytest.raises(JobError, match="The disk is full"):
            update("3.0.0", "#!/bin/sh\nexit 0\n")

    assert "3.0.0, whose installation was begun here" in refused(update, "2.0.0")
    update("3.0.0")
    assert (appliance.etc / "version.txt").read_text() == "3.0.0\n"


@pytest.mark.parametrize("name", ["version.txt", "highest-version"])
def test_an_update_whose_version_cannot_be_recorded_is_recorded_nowhere(
    appliance: Appliance, update: Callable[..., Any], mark: Path, name: str
) -> None:
    update("3.0.0")
    held = {each.name: each for each in (appliance.etc / "version.txt", mark)}[name]
    if subprocess.run(["chattr", "+i", held], check=False, capture_output=True).returncode:
        pytest.skip("this system can have no immutable file")
    try:
        with pytest.raises(JobError, match=f"version 4.0.0 cannot be recorded: {held}: {name} is immutable"):
            update("4.0.0")
    finally:
        subprocess.run(["chattr", "-i", held], check=True)

    assert (appliance.etc / "version.txt").read_text() == mark.read_text() == "3.0.0\n"
    update("4.0.0")
    assert (appliance.etc / "version.txt").read_text() == mark.read_text() == "4.0.0\n"


def test_a_version_whose_script_failed_keeps_no_other_one_out(update: Callable[..., Any]) -> None:
    with pytest.raises(JobError, match="exit status 1"):
        update("3.0.0", "#!/bin/sh\nexit 1\n")

    update("2.0.0")


def test_a_changelog_that_cannot_be_written_does_not_make_an_update_forgotten(
    appliance: Appliance, update: Callable[..., Any], mark: Path
) -> None:
    (appliance.etc / "changelog.txt").unlink(missing_ok=True)
    (appliance.etc / "changelog.txt").mkdir()

    update("3.0.0", more={"changelog.txt": "new\n"})

    assert mark.read_text() == "3.0.0\n"
