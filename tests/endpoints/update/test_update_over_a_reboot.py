"""Updates whose package restarts the appliance, which are verified once more after that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Vendor
from rebootkit import Rebooting, is_told

from jidoteki.core.files import locks
from jidoteki.core.jobs.processes import is_alive
from jidoteki.testing import MakeHost, wait_until
from jidoteki.testing.fixtures import TOKEN
from jidoteki.testing.host import COMMAND

VERIFIED_ONCE = '[ "$(grep -c verify "$JIDO_ADMIN_PATH/ran")" = 1 ]\n'
BACK = "verify.sh failed with exit status 1. The former version is back"
LEFT = (".state", ".trial", ".reverting", ".pending")


@pytest.fixture
def rebooting(jidoteki_host: MakeHost) -> Rebooting:
    return Rebooting(jidoteki_host)


def test_an_update_is_verified_again_after_the_restart(rebooting: Rebooting, tmp_path: Path) -> None:
    id = rebooting.post(tmp_path, update="", verify="", rollback="")
    rebooting.goes_down()

    for path in (f"/jobs/{id}", "/update"):
        job = rebooting.host.get(path).json
        assert (job["status"], job["percentage"]) == ("running", 90)
        assert job["restarting"] == "Restarting the appliance to try the update"
    assert rebooting.host.get("/version").json == {"version": "1.0.0"}
    refused = rebooting.host.post("/update", "-F", "update=@/etc/hostname")
    assert (refused.status, "E1004" in refused.text) == (400, True)
    assert rebooting.host.post(f"/jobs/{id}/cancel").status == 400
    rebooting.restart(id)

    job = rebooting.ended(id)
    assert (job["status"], job["percentage"]) == ("success", 100)
    assert "restarting" not in job
    assert rebooting.ran == ["update", "verify", "verify"]
    assert (rebooting.live, rebooting.reboots) == ("new", 1)
    assert rebooting.host.get("/version").json == {"version": "2.0.0"}
    assert rebooting.host.get("/changelog").text == "What is new\n"
    wait_until(lambda: not [each for each in rebooting.host.appliance.jobs.iterdir() if each.suffix in LEFT])
    assert not (rebooting.host.appliance.tmp / "update").exists()
    assert not list(rebooting.host.appliance.spool.glob("software_package-*"))


def test_what_is_to_survive_is_saved_before_the_restart(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    keep = ["sh", "-c", f'cp "$JIDO_ADMIN_PATH"/jobs/*.state {saved}; ! grep -q asked "$JIDO_ADMIN_PATH/reboots"']
    rebooting = Rebooting(jidoteki_host, commands={"persist": keep})

    id = rebooting.post(tmp_path, update="")
    rebooting.goes_down()

    assert '"step": "rebooting"' in saved.read_text()
    rebooting.kill(id)


@pytest.mark.parametrize(("described", "reboots"), [({}, 2), ({"rollback-reboot": False}, 1)])
def test_one_that_is_not_verified_after_the_restart_is_rolled_back(
    rebooting: Rebooting, tmp_path: Path, described: dict[str, bool], reboots: int
) -> None:
    id = rebooting.post(tmp_path, described, update="", verify=VERIFIED_ONCE, rollback="")
    rebooting.goes_down()
    rebooting.restart(id)
    if reboots == 2:
        rebooting.goes_down(2)
        job = rebooting.host.get(f"/jobs/{id}").json
        assert job["restarting"] == "Restarting the appliance to go back to the former version"
        rebooting.restart(id)

    job = rebooting.ended(id)
    assert (job["status"], job["error-code"], job["error-message"]) == ("failed", "E2003", BACK)
    assert rebooting.ran == ["update", "verify", "verify", "rollback"]
    assert (rebooting.live, rebooting.reboots) == ("old", reboots)
    assert rebooting.host.get("/version").json == {"version": "1.0.0"}
    is_told(rebooting, "E2003", "change.failed", BACK)


def test_one_that_is_not_verified_before_the_restart_needs_none(rebooting: Rebooting, tmp_path: Path) -> None:
    id = rebooting.post(tmp_path, update="", verify="exit 1\n", rollback="")

    assert rebooting.ended(id)["error-code"] == "E2003"
    assert (rebooting.live, rebooting.reboots) == ("old", 0)


def test_an_appliance_that_refuses_to_restart_is_rolled_back(rebooting: Rebooting, tmp_path: Path) -> None:
    (rebooting.admin / "refuses").touch()

    id = rebooting.post(tmp_path, update="", verify="", rollback="")

    job = rebooting.ended(id)
    refused = "The reboot command failed with exit status 1; the system does not reboot. The former version is back"
    assert (job["error-code"], job["error-message"]) == ("E2003", refused)
    assert (rebooting.live, rebooting.reboots) == ("old", 1)


@pytest.mark.parametrize("fault", ["nothing", "the job", "the service", "both"])
def test_one_that_never_restarts_is_rolled_back(jidoteki_host: MakeHost, tmp_path: Path, fault: str) -> None:
    rebooting = Rebooting(jidoteki_host, update={"reboot-timeout": 8})
    id = rebooting.post(tmp_path, update="", verify="", rollback="")
    rebooting.goes_down()

    if fault in ("the service", "both"):
        rebooting.host.stop(signal.SIGKILL)
    if fault in ("the job", "both"):
        rebooting.kill(id)
    if fault in ("the service", "both"):
        rebooting.host.start()

    job = rebooting.ended(id)
    message = "The appliance did not restart within 8 seconds. The former version is back"
    assert (job["error-code"], job["error-message"]) == ("E2003", message)
    assert (rebooting.live, rebooting.reboots) == ("old", 1)
    assert rebooting.host.get("/version").json == {"version": "1.0.0"}


def test_a_way_back_without_its_restart_is_told(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    rebooting = Rebooting(jidoteki_host)
    id = rebooting.post(tmp_path, update="", verify=VERIFIED_ONCE, rollback="")
    rebooting.goes_down()
    (rebooting.admin / "refuses").touch()
    rebooting.restart(id)

    job = rebooting.ended(id)
    said = "but not in force before the appliance restarts: The reboot command failed with exit status 1"
    message = f"{BACK}, {said}; the system does not reboot"
    assert (job["error-code"], job["error-message"]) == ("E2004", message)
    assert (rebooting.live, rebooting.reboots) == ("old", 2)
    is_told(rebooting, "E2004", "change.lost", message)


def test_a_package_that_was_lost_on_the_way_is_told(rebooting: Rebooting, tmp_path: Path) -> None:
    id = rebooting.post(tmp_path, update="", verify="", rollback="")
    rebooting.goes_down()
    rebooting.go_down(id)
    (rebooting.host.appliance.tmp / "update").rename(tmp_path / "lost")
    (rebooting.host.appliance.jobs / "update-programs").rename(tmp_path / "lost too")
    rebooting.come_back()

    job = rebooting.ended(id)
    lost = "The package's verify.sh is not a file. The way back failed, too: The package's rollback.sh is not a file"
    assert (job["error-code"], job["error-message"]) == ("E2004", lost)


def test_a_run_that_died_as_the_service_began_never_seems_to_have_failed(rebooting: Rebooting, tmp_path: Path) -> None:
    id = rebooting.post(tmp_path, update="", verify="", rollback="")
    rebooting.goes_down()
    rebooting.go_down(id)
    held = locks.take(rebooting.host.appliance.jobs / "update.lock", 500)  # as if the process had not quite gone
    rebooting.come_back()
    os.close(held)

    for path in (f"/jobs/{id}", "/update"):
        assert rebooting.host.get(path).json["status"] == "running"
    assert rebooting.ended(id)["status"] == "success"


def test_an_appliance_without_a_reboot_command_refuses_it(vendor: Vendor, new_job, drop, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from jidoteki.core.endpoints.update import UPDATE
    from jidoteki.hookspecs import JobError

    files = {"version.txt": "1.1.0\n", "package.json": '{"reboot": true}'}
    job = new_job(drop(vendor.package(tmp_path / "made", files)))

    assert UPDATE.check
    with pytest.raises(JobError, match="no reboot command is configured"):
        UPDATE.check(job)


def test_who_waits_for_one_is_told_its_end_after_the_restart(rebooting: Rebooting, tmp_path: Path) -> None:
    host = rebooting.host
    package = rebooting.package(tmp_path, update="", verify="", rollback="")
    trust = host.appliance.system_etc / "pki/tls/certs/enterprise.crt"
    argv = [*COMMAND, "call", "POST", "/update", "-F", f"update=@{package}", "--wait", "--cacert", str(trust)]
    environment = {**os.environ, "JIDOTEKI_TOKEN": TOKEN, "JIDOTEKI_URL": host.url}
    caller = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    rebooting.goes_down()

    with ThreadPoolExecutor() as pool:
        polled = pool.submit(host.wait_for_job, "/update")
        rebooting.go_down("000001-update")
        time.sleep(3)  # the connections are lost, and refused
        assert (caller.poll(), polled.done()) == (None, False)
        rebooting.come_back()
        status = polled.result(60)
    printed, said = caller.communicate(timeout=60)

    assert (status["status"], caller.returncode, json.loads(printed)["status"]) == ("success", 0, "success")
    assert "Restarting the appliance to try the update\n" in said


@pytest.mark.parametrize("again", [False, True])
def test_it_does_not_hold_up_a_system_that_goes_down(rebooting: Rebooting, tmp_path: Path, again: bool) -> None:
    """systemd and init(8) wait for processes that ignore SIGTERM, a minute and a half."""
    id = rebooting.post(tmp_path, update="", verify="")
    rebooting.goes_down()
    record = rebooting.host.appliance.jobs / f"{id}.json"
    if again:  # by the process that goes on waiting
        former = json.loads(record.read_text())["pid"]
        rebooting.go_down(id)
        rebooting.come_back(new_boot=False)
        wait_until(lambda: json.loads(record.read_text())["pid"] != former)
    wait_until(lambda: json.loads(record.read_text())["restarting"])
    time.sleep(1)  # it goes on to wait
    pid = json.loads(record.read_text())["pid"]
    assert pid > 1
    rebooting.host.stop(signal.SIGKILL)

    os.kill(pid, signal.SIGTERM)

    wait_until(lambda: not is_alive(pid), 10)
    rebooting.come_back()
    assert rebooting.ended(id)["status"] == "success"
    assert (rebooting.live, rebooting.reboots) == ("new", 1)


def test_nothing_cancels_one_that_goes_on(rebooting: Rebooting, tmp_path: Path) -> None:
    slowly = '[ "$(grep -c verify "$JIDO_ADMIN_PATH/ran")" = 1 ] || sleep 5\n'
    id = rebooting.post(tmp_path, update="", verify=slowly, rollback="")
    rebooting.goes_down()
    rebooting.restart(id)
    wait_until(lambda: rebooting.ran.count("verify") == 2)

    assert rebooting.host.get(f"/jobs/{id}").json["cancellable"] is False
    assert rebooting.host.post(f"/jobs/{id}/cancel").status == 400

    assert rebooting.ended(id)["status"] == "success"


def test_a_way_back_restarts_whatever_is_wrong_with_the_version(rebooting: Rebooting, tmp_path: Path) -> None:
    spoil = 'rm "$JIDO_ADMIN_PATH/etc/version.txt"; mkdir "$JIDO_ADMIN_PATH/etc/version.txt"\n'
    id = rebooting.post(tmp_path, update=spoil, verify=VERIFIED_ONCE, rollback="")
    rebooting.goes_down()
    rebooting.restart(id)
    rebooting.goes_down(2)
    rebooting.restart(id)

    job = rebooting.ended(id)
    message = f"{BACK}, but version.txt cannot be written: Is a directory"
    assert (job["error-code"], job["error-message"]) == ("E2004", message)
    assert (rebooting.live, rebooting.reboots) == ("old", 2)
    is_told(rebooting, "E2004", "change.lost", message)
