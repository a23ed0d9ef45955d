"""Files that are restored when the change that they belong to fails: what one process can show of it."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from jidoteki.hookspecs import Appliance, JobError, former_files, tried_files
from jidoteki.hookspecs.former_files import PUT_BACK, recovery, replaced
from jidoteki.testing import FakeJob


class KilledError(BaseException):
    """In place of a kill: nothing behind it runs."""


def killed_in(job: FakeJob, files: dict[Path, str | bytes | None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave behind what a job leaves that is killed between its change and its end."""
    with monkeypatch.context() as patched:
        patched.setattr(former_files, "_put_back", lambda *arguments: None)
        patched.setattr(former_files, "remove", lambda path: None)
        with pytest.raises(KilledError), replaced(job, files, 0o644):
            raise KilledError


def job(appliance: Appliance, number: int) -> FakeJob:
    return FakeJob(appliance, id=f"{number:06d}-settings")


def test_a_recovery_that_is_impossible_for_a_while_can_be_called_again(
    jidoteki_appliance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance: Appliance = jidoteki_appliance()
    path = appliance.etc / "network.json"
    path.write_text("old")
    killed_in(job(appliance, 1), {path: "new"}, monkeypatch)
    recover = recovery("settings", lambda each: [path])

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(appliance), "replace_files", full)
        with pytest.raises(OSError, match="No space"):
            recover(appliance)
    assert path.read_text() == "new"

    assert recover(appliance) == PUT_BACK
    assert path.read_text() == "old"
    assert list(appliance.jobs.glob("*.former")) == []
    assert recover(appliance) is None


def test_what_an_earlier_run_left_is_void_once_another_one_changes_something(
    jidoteki_appliance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance: Appliance = jidoteki_appliance()
    path = appliance.etc / "network.json"
    path.write_text("a")
    killed_in(job(appliance, 1), {path: "b"}, monkeypatch)

    with replaced(job(appliance, 2), {path: "b"}, 0o640):
        pass
    recovery("settings", lambda each: [path])(appliance)

    assert path.read_text() == "b", "a success is not undone by what was noted before it"


def test_a_file_that_another_program_wrote_stays_and_is_named(
    jidoteki_appliance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance: Appliance = jidoteki_appliance()
    ours, theirs, untouched = (appliance.etc / f"{name}.json" for name in ("network", "app", "storage"))
    untouched.write_text("same")
    killed_in(job(appliance, 1), {ours: "new", theirs: "new", untouched: "same"}, monkeypatch)
    theirs.write_text("theirs")

    said = recovery("settings", lambda each: [ours, theirs, untouched])(appliance)

    assert said == f"{PUT_BACK}, but for what was written meanwhile: {theirs}"
    assert not ours.exists() and theirs.read_text() == "theirs"


def test_a_path_that_no_such_job_replaces_is_ignored(jidoteki_appliance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    appliance: Appliance = jidoteki_appliance()
    path = appliance.etc / "network.json"
    killed_in(job(appliance, 1), {path: "new"}, monkeypatch)

    assert recovery("settings", lambda each: [appliance.etc / "app.json"])(appliance) is None
    assert path.read_text() == "new"


def test_a_link_is_a_link_again_and_what_it_leads_to_was_never_read(
    jidoteki_appliance: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    appliance: Appliance = jidoteki_appliance()
    path = appliance.etc / "network.json"
    (tmp_path / "secret").write_text("a secret")
    path.symlink_to(tmp_path / "secret")

    def change() -> None:
        with replaced(job(appliance, 1), {path: "new"}, 0o640):
            assert path.read_text() == "new" and not path.is_symlink()
            note = json.loads((appliance.jobs / "000001-settings.former").read_text())[str(path)]
            assert (note["former"], note["link"]) == (None, str(tmp_path / "secret"))
            raise JobError("no")

    with pytest.raises(JobError):
        change()
    assert path.readlink() == tmp_path / "secret"

    killed_in(job(appliance, 2), {path: "new"}, monkeypatch)
    assert recovery("settings", lambda each: [path])(appliance) == PUT_BACK
    assert path.readlink() == tmp_path / "secret"
    assert (tmp_path / "secret").read_text() == "a secret"


def test_a_type_whose_name_ends_with_another_ones_keeps_its_notes(
    jidoteki_appliance: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance: Appliance = jidoteki_appliance()
    path = appliance.etc / "other.json"
    killed_in(FakeJob(appliance, id="000001-app-settings"), {path: "new"}, monkeypatch)

    assert recovery("settings", lambda each: [path])(appliance) is None
    with replaced(job(appliance, 2), {appliance.etc / "network.json": "new"}, 0o640):
        pass
    assert recovery("app-settings", lambda each: [path])(appliance) == PUT_BACK
    assert not path.exists()


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("way", ["a failure", "a kill", "a trial"])
def test_a_file_that_comes_back_is_as_open_as_it_was(
    jidoteki_appliance: Any, monkeypatch: pytest.MonkeyPatch, way: str, removed: bool
) -> None:
    """Else the service could not read it the next time, where root writes it."""
    appliance: Appliance = jidoteki_appliance()
    path = appliance.etc / "network.json"
    path.write_text("old")
    path.chmod(0o644)
    changes: dict[Path, str | bytes | None] = {path: None if removed else "new"}
    run = FakeJob(appliance, id="000001-settings", confirm=10 if way == "a trial" else 0)

    if way == "a kill":
        killed_in(run, changes, monkeypatch)
        recovery("settings", lambda each: [path])(appliance)
    else:
        with pytest.raises(JobError), replaced(run, changes, 0o644):
            raise JobError("no")
    if way == "a trial":
        tried_files.put_back(run, [path])

    assert path.read_text() == "old"
    assert path.stat().st_mode & 0o777 == 0o644
