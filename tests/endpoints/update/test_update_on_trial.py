"""Updates that are verified, and rolled back where that fails."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkkit import findings
from conftest import Vendor
from places import ROOT

from jidoteki.core.appliance import Appliance
from jidoteki.core.endpoints.update import UPDATE, recorded_versions, trial
from jidoteki.core.endpoints.update.build import build_package
from jidoteki.core.jobs import disks
from jidoteki.hookspecs import JobError
from jidoteki.testing import Host, MakeHost, wait_until

NewJob = Callable[..., Any]
Drop = Callable[..., Path]
Prepared = Callable[..., Any]

INTO_TREE = 'echo new > "$JIDO_ADMIN_PATH/live"\n'
WAY_BACK = 'echo "$JIDO_FORMER_VERSION" > "$JIDO_ADMIN_PATH/live"\n'


@pytest.fixture
def prepared(new_job: NewJob, drop: Drop, vendor: Vendor, tmp_path: Path) -> Prepared:
    """Return a function that makes the job of a package with these programs."""

    def make(**programs: str) -> Any:
        files = {name if "/" in name else f"{name}.sh": text for name, text in programs.items()}
        return new_job(drop(vendor.package(tmp_path / "made", {"version.txt": "1.1.0\n", **files})))

    return make


def install(job: Any) -> None:
    assert UPDATE.check
    UPDATE.check(job)
    UPDATE.run(job)


def failure(job: Any) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        install(job)
    return caught.value.code, caught.value.message


def live(appliance: Appliance) -> str:
    return (appliance.admin / "live").read_text().strip()


def version(appliance: Appliance) -> str:
    return (appliance.etc / "version.txt").read_text().strip()


def test_one_that_the_disk_does_not_take_is_rolled_back(
    prepared: Prepared, appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, stored = prepared(update=INTO_TREE, rollback=WAY_BACK), []

    def store(job: Any) -> None:
        stored.append(job)
        if len(stored) == 2:  # the first one is before update.sh
            raise JobError("What was changed is not stored: the file system at / fails")

    monkeypatch.setattr(disks, "store", store)

    code, message = failure(job)

    assert (code, message) == (
        "E1000",
        "What was changed is not stored: the file system at / fails. The former version is back",
    )
    assert live(appliance) == version(appliance) == "1.0.0"


def test_an_update_that_is_verified_stays(prepared: Prepared, appliance: Appliance) -> None:
    verify = 'echo verified $JIDO_NEW_VERSION; grep -q new "$JIDO_ADMIN_PATH/live"\n'

    job = prepared(update=INTO_TREE, verify=verify, rollback=WAY_BACK)
    install(job)

    assert (live(appliance), version(appliance)) == ("new", "1.1.0")
    assert "verified 1.1.0" in job.lines and job.lines[-1] == "Updating system successful"
    assert not (appliance.jobs / "begun-version").exists()


def test_one_that_is_not_verified_is_rolled_back(prepared: Prepared, appliance: Appliance) -> None:
    job = prepared(update=INTO_TREE, verify="exit 3\n", rollback=WAY_BACK)

    assert failure(job) == ("E2003", "verify.sh failed with exit status 3. The former version is back")
    assert (live(appliance), version(appliance)) == ("1.0.0", "1.0.0")
    assert not (appliance.jobs / "begun-version").exists()
    assert job.lines[-1] == "Failed updating..."


def test_one_that_the_vendors_program_does_not_verify_is_rolled_back(prepared: Prepared, appliance: Appliance) -> None:
    job = prepared(update=INTO_TREE, verify="exit 0\n", rollback=WAY_BACK)
    job.host_config["update"]["verify"] = ["/opt/vendor/verify", "--all"]
    job.exit_statuses = {"verify": 4}
    job.outputs = {"verify": b"trying\nthe database does not answer.\n"}

    assert failure(job) == (
        "E2003",
        "/opt/vendor/verify failed with exit status 4: the database does not answer. The former version is back",
    )
    assert live(appliance) == "1.0.0"
    assert ("command", "/opt/vendor/verify", "--all") in job.calls


def test_a_failing_update_is_rolled_back(prepared: Prepared, appliance: Appliance) -> None:
    wrote = 'echo 9 > "$JIDO_ADMIN_PATH/etc/version.txt"\n'

    assert failure(prepared(update=f"{INTO_TREE}{wrote}exit 7\n", rollback=WAY_BACK)) == (
        "E1002",
        "update.sh failed with exit status 7. The former version is back",
    )
    assert (live(appliance), version(appliance)) == ("1.0.0", "1.0.0")


def test_a_disk_that_becomes_read_only_keeps_no_way_back_from_its_run(
    prepared: Prepared, appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    job = prepared(update=INTO_TREE, verify="exit 1\n", rollback=WAY_BACK)
    monkeypatch.setattr(Path, "chmod", refuse)

    assert failure(job) == ("E2003", "verify.sh failed with exit status 1. The former version is back")
    assert live(appliance) == "1.0.0"


def test_without_a_way_back_it_is_said_that_there_is_none(prepared: Prepared, appliance: Appliance) -> None:
    assert failure(prepared(update=INTO_TREE, verify="exit 1\n")) == (
        "E2003",
        "verify.sh failed with exit status 1. The package has no rollback.sh: what it changed stays",
    )
    assert (live(appliance), version(appliance)) == ("new", "1.0.0")
    assert (appliance.jobs / "begun-version").read_text() == "1.1.0\n"


def test_each_program_knows_the_versions_and_is_quoted_when_it_fails(prepared: Prepared) -> None:
    versions = 'printf "\\033[31m$JIDO_FORMER_VERSION to $JIDO_NEW_VERSION\\n"; exit 3\n'

    assert failure(prepared(update=versions, rollback=f"echo No way.; {versions}")) == (
        "E2004",
        "update.sh failed with exit status 3: [31m1.0.0 to 1.1.0. "
        "The way back failed, too: rollback.sh failed with exit status 3: [31m1.0.0 to 1.1.0",
    )


def test_what_verify_sh_says_last_is_told(prepared: Prepared) -> None:
    assert failure(prepared(update="", verify="echo The new system is silent.; exit 3\n", rollback="")) == (
        "E2003",
        "verify.sh failed with exit status 3: The new system is silent. The former version is back",
    )


def test_a_way_back_that_fails_is_said(prepared: Prepared, appliance: Appliance) -> None:
    assert failure(prepared(update=INTO_TREE, verify="exit 1\n", rollback="exit 5\n")) == (
        "E2004",
        "verify.sh failed with exit status 1. The way back failed, too: rollback.sh failed with exit status 5",
    )
    assert live(appliance) == "new"


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({"rollback.sh/x": ""}, "rollback.sh is not a file"),
        ({"verify.sh/x": ""}, "verify.sh is not a file"),
        ({"rollback": "#!/bin/sh\r\nexit 0\r\n"}, "rollback.sh cannot be run: its first line ends with CR LF"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_program_that_can_run_nowhere_is_found_before_anything_is_changed(
    prepared: Prepared, appliance: Appliance, programs: dict[str, str], reason: str, dry_run: bool
) -> None:
    job = prepared(update=INTO_TREE, **programs)
    job.dry_run = dry_run

    code, message = failure(job)

    assert code == "E1005" and message.startswith(f"The package's {reason}")
    assert not (appliance.admin / "live").exists()


def test_the_way_back_is_begun_three_times_at_most(prepared: Prepared, appliance: Appliance) -> None:
    job = prepared(update=INTO_TREE, verify="exit 1\n", rollback="exit 0\n")
    state = {"former": "1.0.0", "new": "1.1.0", "way_back": True, "step": "rolling back", "ways_back": 3}
    (appliance.jobs / f"{job.id}.state").write_text(json.dumps({**state, "message": "It failed", "code": "E2003"}))
    assert UPDATE.resume

    with pytest.raises(JobError) as caught:
        UPDATE.resume(job, "It was killed")

    assert (caught.value.code, caught.value.message) == ("E2004", "It failed. rollback.sh did not end, 3 times")


def test_what_is_not_accepted_never_lies_where_updates_are_installed(
    prepared: Prepared, appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepared(update=INTO_TREE, rollback=WAY_BACK)
    lay: list[bool] = []
    monkeypatch.setattr(recorded_versions, "compare", lambda *given: lay.append((appliance.tmp / "update").exists()))
    assert UPDATE.check

    UPDATE.check(job)

    assert lay == [False] and not (appliance.tmp / "update").exists()
    UPDATE.run(job)
    assert (live(appliance), version(appliance)) == ("new", "1.1.0")


def test_nothing_is_rolled_back_of_a_trial_that_never_began(prepared: Prepared, appliance: Appliance) -> None:
    job = prepared(update=INTO_TREE, rollback=WAY_BACK)
    (appliance.tmp / "update").mkdir()
    (appliance.tmp / "update/rollback.sh").write_text('touch "$JIDO_ADMIN_PATH/ran"\n')
    assert UPDATE.resume

    with pytest.raises(JobError) as caught:
        UPDATE.resume(job, "The power failed")

    assert caught.value.code == "E2004"
    assert not (appliance.admin / "ran").exists()


@pytest.mark.parametrize("remove", ['rm -rf "$PWD"', "rm *.sh", "rm *.sh; mkdir rollback.sh; ln -s gone verify.sh"])
@pytest.mark.parametrize("verify", ["exit 0\n", "exit 3\n"])
def test_an_update_may_remove_its_package(prepared: Prepared, appliance: Appliance, remove: str, verify: str) -> None:
    job = prepared(update=f"{INTO_TREE}{remove}\n", verify=f"echo verified\n{verify}", rollback=WAY_BACK)

    if verify == "exit 0\n":
        install(job)
    else:
        assert failure(job) == ("E2003", "verify.sh failed with exit status 3: verified. The former version is back")

    assert "verified" in job.lines
    assert live(appliance) == ("new" if verify == "exit 0\n" else "1.0.0")
    assert not (appliance.tmp / "update").exists()
    assert not (appliance.jobs / "update-programs").exists()


def test_an_update_that_removes_its_package_and_fails_is_rolled_back(prepared: Prepared, appliance: Appliance) -> None:
    assert failure(prepared(update=f'{INTO_TREE}rm -rf "$PWD"\nexit 1\n', rollback=WAY_BACK)) == (
        "E1002",
        "update.sh failed with exit status 1. The former version is back",
    )
    assert live(appliance) == "1.0.0"


def test_what_lies_in_the_place_of_kept_programs_is_removed(prepared: Prepared, appliance: Appliance) -> None:
    job = prepared(update=INTO_TREE, rollback=WAY_BACK)
    (appliance.jobs / "update-programs").symlink_to("/dev/null")

    install(job)

    assert live(appliance) == "new"


@pytest.mark.parametrize("marked", [True, False])
def test_a_full_disk_leaves_one_way_back(
    prepared: Prepared, appliance: Appliance, monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    job = prepared(update=INTO_TREE, rollback=WAY_BACK)
    path, real, begun = appliance.jobs / f"{job.id}.state", trial.replace_file, []
    state = {"former": "1.0.0", "new": "1.1.0", "way_back": True, "step": "updating"}
    path.write_text(json.dumps(state))

    def replace(job: Any, path: Path, content: str, mode: int = 0o644) -> None:
        if path.suffix == ".state":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(job, path, content, mode)

    def die(*argv: Any, **options: Any) -> int:
        begun.append(argv)
        raise SystemExit

    monkeypatch.setattr(trial, "replace_file", replace)
    job.script = die
    if not marked:  # as on a file system that became read-only
        monkeypatch.setattr(os, "fchmod", lambda descriptor, mode: os.close(-1))
    said = []
    for _ in range(3):
        (appliance.tmp / "update").mkdir()
        (appliance.tmp / "update/rollback.sh").write_text("exit 0\n")
        assert UPDATE.resume
        with pytest.raises((JobError, SystemExit)) as caught:
            UPDATE.resume(job, "It was killed")
        said.append(str(caught.value))

    assert len(begun) == marked
    end = "did not end, nor can it be counted" if marked else "is not begun, as it cannot be counted: No space left"
    assert end in said[-1] and said[1] == said[-1]


# In the service, with processes that die


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


WAIT = 'echo $$ > "$JIDO_ADMIN_PATH/at-{0}"; [ -e "$JIDO_ADMIN_PATH/go" ] || sleep 60\n'
STEPS = {
    "update": ("E1002", "The former version is back"),
    "verify": ("E2003", "The former version is back"),
    "rollback": ("E2003", "verify.sh failed with exit status 1. The former version is back"),
}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_job_that_is_killed_at_any_step_is_rolled_back(host: Host, tmp_path: Path, step: str, restart: bool) -> None:
    admin, vendor, source = host.appliance.admin, host.appliance.root / "vendor", tmp_path / "source"
    source.mkdir()
    waits = {name: WAIT.format(name) if name == step else "" for name in STEPS}
    fails = "exit 1\n" if step == "rollback" else ""
    (source / "update.sh").write_text(waits["update"] + INTO_TREE)
    (source / "verify.sh").write_text(waits["verify"] + fails)
    (source / "rollback.sh").write_text(waits["rollback"] + WAY_BACK)
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", tmp_path / "package.enc")
    id = host.post("/update", "-F", f"update=@{tmp_path / 'package.enc'}").headers["Job-Id"]
    wait_until((admin / f"at-{step}").exists)

    if restart:
        host.stop(signal.SIGKILL)
    pid = json.loads((host.appliance.jobs / f"{id}.json").read_text())["pid"]
    assert pid > 1
    (admin / "go").touch()
    os.kill(pid, signal.SIGKILL)
    if restart:
        host.start()

    wait_until(lambda: host.get(f"/jobs/{id}").json["status"] != "running", 120)
    job = host.get(f"/jobs/{id}").json
    code, message = STEPS[step]
    assert (job["status"], job["error-code"]) == ("failed", code)
    assert job["error-message"].endswith(message)
    assert (admin / "live").read_text() == "1.0.0\n"
    assert host.get("/version").json == {"version": "1.0.0"}
    left = (".state", ".trial", ".reverting")
    wait_until(lambda: not [each for each in host.appliance.jobs.iterdir() if each.suffix in left])
    assert not (host.appliance.tmp / "update").exists()


def test_one_that_was_put_back_late_is_not_resumed_at_each_start(host: Host, tmp_path: Path) -> None:
    vendor, source = host.appliance.root / "vendor", tmp_path / "source"
    source.mkdir()
    (source / "update.sh").write_text("exit 1\n")
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", tmp_path / "package.enc")
    id = host.post("/update", "-F", f"update=@{tmp_path / 'package.enc'}").headers["Job-Id"]
    host.wait_for_job("/update")
    host.stop()
    record, jobs = host.appliance.jobs / f"{id}.json", host.appliance.jobs
    record.write_text(json.dumps(json.loads(record.read_text()) | {"unrecovered": True}))
    state = {"former": "1.0.0", "new": "2.0.0", "way_back": False, "step": "rolling back", "code": "E2003"}
    (jobs / f"{id}.state").write_text(json.dumps(state))
    (jobs / f"{id}.reverting").touch()

    host.start()

    wait_until(lambda: not (jobs / f"{id}.reverting").exists())
    wait_until(lambda: json.loads(record.read_text())["status"] == "failed")
    assert not json.loads(record.read_text()).get("unrecovered")


def test_a_lost_update_is_told_everywhere(host: Host, tmp_path: Path) -> None:
    vendor, source = host.appliance.root / "vendor", tmp_path / "source"
    source.mkdir()
    for name, ending in {"update.sh": 0, "verify.sh": 1, "rollback.sh": 2}.items():
        (source / name).write_text(f"exit {ending}\n")
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", tmp_path / "package.enc")

    id = host.post("/update", "-F", f"update=@{tmp_path / 'package.enc'}").headers["Job-Id"]
    status = host.wait_for_job("/update")

    message = "verify.sh failed with exit status 1. The way back failed, too: rollback.sh failed with exit status 2"
    assert (status["error-code"], status["error-message"]) == ("E2004", message)
    wait_until(lambda: "reverted" in host.get("/health").text)
    assert "E2004" in host.get("/health").text
    audit = host.appliance.log / "jidoteki-audit.log"
    wait_until(lambda: 'change.lost,"update E2004"' in audit.read_text())
    wait_until(lambda: f"{id}: {message}" in (host.appliance.log / "jidoteki-admin-api.log").read_text())
    told = [each for each in findings(host.appliance) if each["subject"] == "job"]
    assert [(each["level"], each["message"]) for each in told] == [("error", f"{id} ended with E2004: {message}")]
    assert str(host.appliance.jobs / f"{id}.log") in told[0]["advice"]


# The example of the documentation


def documented(name: str, slots: Path) -> str:
    """Return a program of the A/B appliance in `docs/vendors.md`."""
    page = (ROOT / "docs/vendors.md").read_text()
    lines = page[page.index(f"    # {name}") :].splitlines()[1:]
    block = itertools.takewhile(lambda line: line.startswith("    ") and not line.startswith("    # "), lines)
    return "\n".join(line[4:] for line in block).replace("/slots", str(slots)) + "\n"


@pytest.mark.parametrize("healthy", [True, False])
def test_an_a_b_appliance_is_switched_back(prepared: Prepared, appliance: Appliance, healthy: bool) -> None:
    slots = appliance.admin / "slots"
    for tree in ("a", "b"):
        (slots / tree).mkdir(parents=True)
    (slots / "a/version").write_text("1.0.0\n")
    (slots / "b/version").write_text("0.9.0\n")
    (slots / "current").symlink_to("a")
    programs = {name: documented(f"{name}.sh", slots) for name in ("update", "verify", "rollback")}
    job = prepared(**programs, **{"system/version": "1.1.0\n", "system/healthy": f"#!/bin/sh\nexit {not healthy:d}\n"})

    if healthy:
        install(job)
    else:
        assert failure(job) == ("E2003", "verify.sh failed with exit status 1. The former version is back")

    assert (slots / "b/version").read_text() == "1.1.0\n"
    assert [(slots / each).stat().st_mode & 0o055 for each in ("b", "b/version")] == [0o055, 0o044]
    assert (slots / "current").readlink() == Path("b" if healthy else "a")
    assert version(appliance) == ("1.1.0" if healthy else "1.0.0")
