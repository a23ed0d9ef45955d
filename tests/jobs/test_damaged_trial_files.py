"""Changes on trial whose files in `ADMIN/jobs` are lost or damaged: they come back, or it is said that they do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from namespaces import Mount
from trialkit import NEW, OLD, begin, ended, files, kill_job, leftovers, post, prepare

from jidoteki.core.files import locks
from jidoteki.hookspecs import trials
from jidoteki.testing import Host, MakeHost, wait_until

BACK = "What was changed is back as it was"
NOT_BACK = "What was changed could not be put back, which is tried again when the service starts"
UNWRITABLE = "the disk is full, or cannot be written"
NOTHING_WAITS = "Nothing waits for a confirmation"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


def cut_power(host: Host, id: str) -> None:
    """Kill the service, then the job, before that can end by itself."""
    host.stop(signal.SIGKILL)
    kill_job(host, id)


def assert_told_in_five_places(host: Host, id: str, sentence: str) -> None:
    """Check the record, the audit log, the event, `/health` and the log."""
    job = ended(host, id)
    assert (job["status"], job["error-code"], job["error-message"]) == ("failed", "E2001", sentence)
    host.assert_audited("change.reverted", "settings E2001")
    told = wait_until(lambda: host.request("GET", "/health").json.get("reverted"))
    assert [(each["job"], each["error-code"], each["error-message"]) for each in told] == [(id, "E2001", sentence)]
    wait_until(
        lambda: f"job.end: {id} failed E2001: {sentence}" in (host.appliance.log / "jidoteki-admin-api.log").read_text()
    )
    assert sentence.partition(". ")[0] in job["log"]


@pytest.mark.parametrize("damage", ["empty", "truncated", "removed", "a directory"])
def test_settings_whose_record_is_lost_come_back_when_the_service_starts(host: Host, damage: str) -> None:
    live = prepare(host)
    former = files(host)
    id = begin(host, "confirm=3600")
    cut_power(host, id)
    record = host.appliance.jobs / f"{id}.json"
    content = record.read_text()
    record.unlink()
    if damage == "a directory":
        record.mkdir()
    elif damage != "removed":
        record.write_text("" if damage == "empty" else content[:40])

    host.start()

    reason = "The job ended unexpectedly: it was killed, or the power failed"
    assert_told_in_five_places(host, id, f"{reason}. {BACK}")
    assert files(host) == former
    assert "old.host" in live.read_text()
    wait_until(lambda: leftovers(host) == [])
    answer = host.request("POST", "/settings/confirm")
    said = f"{NOTHING_WAITS}: the last change, {id}, was put back"
    assert (answer.status, answer.json["Error-Message"]) == (400, said)
    assert host.request("GET", "/settings").json == OLD
    assert ended(host, post(host, NEW).headers["Job-Id"])["status"] == "success"


def test_settings_whose_record_is_lost_come_back_though_their_process_takes_its_time_to_die(host: Host) -> None:
    prepare(host)
    former = files(host)
    id = begin(host, "confirm=3600")
    cut_power(host, id)
    (host.appliance.jobs / f"{id}.json").write_text("")

    held = locks.take(host.appliance.jobs / "settings.lock", 500)
    threading.Timer(1, os.close, [held]).start()
    host.start()

    assert ended(host, id)["error-code"] == "E2001"
    assert files(host) == former


def test_a_run_that_writes_its_lost_record_itself_before_it_ends_has_ended_so(host: Host) -> None:
    prepare(host)
    id = begin(host, "confirm=3600")
    new = files(host)
    cut_power(host, id)
    path = host.appliance.jobs / f"{id}.json"
    record = json.loads(path.read_text()) | {"status": "success", "percentage": 100, "ended": time.time()}
    path.write_text("")
    held = locks.take(host.appliance.jobs / "settings.lock", 500)

    def end() -> None:
        host.appliance.replace_file(path, json.dumps(record) + "\n", 0o600)
        os.close(held)

    threading.Timer(1, end).start()
    host.start()

    assert ended(host, id)["status"] == "success"
    assert files(host) == new


def test_settings_that_were_confirmed_stay_where_their_record_is_lost(host: Host) -> None:
    prepare(host)
    id = begin(host, "confirm=3600")
    new = files(host)
    cut_power(host, id)
    (host.appliance.jobs / f"{id}.json").write_text("")
    (host.appliance.jobs / f"{id}.trial").rename(host.appliance.jobs / f"{id}.confirmed")

    host.start()

    assert "The change was confirmed and stays" in ended(host, id)["error-message"]
    assert files(host) == new
    wait_until(lambda: leftovers(host) == [])


def test_a_change_on_no_trial_whose_record_is_lost_is_undone_and_told(host: Host) -> None:
    prepare(host, "sleep 60")
    former = files(host)
    id = post(host, NEW).headers["Job-Id"]
    wait_until(lambda: files(host) != former and (host.appliance.jobs / f"{id}.former").exists())
    cut_power(host, id)
    (host.appliance.jobs / f"{id}.json").write_text("")

    host.start()

    assert ended(host, id)["error-message"].endswith("The former settings are back in their files")
    assert files(host) == former


def test_a_record_that_is_lost_while_the_job_lives_is_left_to_that(host: Host) -> None:
    prepare(host)
    id = begin(host, "confirm=20")
    host.stop(signal.SIGKILL)
    (host.appliance.jobs / f"{id}.json").write_text("")

    host.start()
    assert not (host.appliance.jobs / f"{id}.reverting").exists()
    assert host.request("POST", "/settings/confirm").json["Error-Message"] == NOTHING_WAITS

    wait_until(lambda: (host.appliance.jobs / f"{id}.json").stat().st_size, 60)
    assert_told_in_five_places(host, id, f"Nobody confirmed the change within 20 seconds. {BACK}")


@pytest.mark.parametrize("damage", ["removed", "truncated", "empty", "a directory"])
def test_it_is_said_that_settings_cannot_be_put_back_where_the_former_are_lost(host: Host, damage: str) -> None:
    prepare(host)
    id = begin(host, "confirm=3600")
    note = host.appliance.jobs / f"{id}.former"
    content = note.read_text()
    note.unlink()
    if damage == "a directory":
        note.mkdir()
    elif damage != "removed":
        note.write_text("" if damage == "empty" else content[:40])

    kill_job(host, id)

    message = ended(host, id, 90)["error-message"]
    assert f". {NOT_BACK}: The former files could not be put back: " in message
    assert BACK not in message
    assert json.loads((host.appliance.jobs / f"{id}.json").read_text())["unrecovered"] is True
    assert ended(host, post(host, NEW).headers["Job-Id"])["status"] == "success"
    wait_until(lambda: leftovers(host) == [])


def test_a_change_that_failed_before_it_replaced_a_file_is_as_it_was(host: Host) -> None:
    prepare(host)
    former = files(host)
    conf = host.appliance.system_etc / "network.conf"
    conf.unlink()
    conf.mkdir()

    job = ended(host, post(host, NEW, "confirm=10").headers["Job-Id"])

    assert job["error-message"].startswith("The settings cannot be written and stay as they were")
    assert job["error-message"].endswith(BACK)
    conf.rmdir()
    conf.write_bytes(former["network.conf"][1])
    conf.chmod(0o644)
    assert files(host) == former


@pytest.mark.parametrize("killed", [False, True])
def test_settings_come_back_where_the_note_of_their_trial_is_lost(host: Host, killed: bool) -> None:
    live = prepare(host)
    former = files(host)
    id = begin(host, "confirm=3600")
    if killed:
        kill_job(host, id, signal.SIGSTOP)
    (host.appliance.jobs / f"{id}.trial").unlink()
    if killed:
        kill_job(host, id)

    job = ended(host, id)

    reason = "The job ended unexpectedly" if killed else "The record of the trial is lost"
    assert job["error-message"].startswith(reason) and job["error-message"].endswith(BACK), job["error-message"]
    assert job["error-code"] == "E2001"
    assert files(host) == former
    assert "old.host" in live.read_text()
    wait_until(lambda: leftovers(host) == [])


@pytest.mark.parametrize("ending", ["trial", "pending"])
def test_a_directory_in_the_place_of_a_file_of_a_trial_is_set_aside(host: Host, ending: str) -> None:
    prepare(host)
    former = files(host)
    id = begin(host)
    path: Path = host.appliance.jobs / f"{id}.{ending}"
    path.unlink()
    path.mkdir()

    job = ended(host, id)

    assert job["error-message"] == f"Nobody confirmed the change within 10 seconds. {BACK}"
    assert files(host) == former
    wait_until(lambda: leftovers(host) == [])
    assert [each for each in host.appliance.jobs.iterdir() if each.name.startswith(id) and ".aside-" in each.name]
    assert ended(host, post(host, NEW).headers["Job-Id"])["status"] == "success"


def test_a_job_that_is_stopped_over_its_deadline_is_ended_and_its_change_put_back(host: Host) -> None:
    live = prepare(host)
    former = files(host)
    id = begin(host)
    deadline = json.loads((host.appliance.jobs / f"{id}.pending").read_text())["deadline"]
    kill_job(host, id, signal.SIGSTOP)
    wait_until(lambda: host.request("GET", "/settings").json.get("pending", {}).get("seconds-left") == 0, 30)
    wait_until(lambda: trials.now() > deadline, 5, 0.01)

    late = host.request("POST", "/settings/confirm")

    assert (late.status, late.json["Error-Message"]) == (400, NOTHING_WAITS)
    assert_told_in_five_places(host, id, f"Nobody confirmed the change within 10 seconds. {BACK}")
    assert files(host) == former
    assert "old.host" in live.read_text()
    wait_until(lambda: leftovers(host) == [])


def test_the_answer_that_nothing_waits_is_not_kept_for_the_same_request(host: Host) -> None:
    prepare(host)
    key = ("-H", "Idempotency-Key: one")
    early = host.post("/settings/confirm", *key)
    id = begin(host, "confirm=600")

    again = host.post("/settings/confirm", *key)

    assert (early.status, early.json["Error-Message"]) == (400, NOTHING_WAITS)
    assert again.status == 200, again.text
    assert ended(host, id)["status"] == "success"


@pytest.mark.parametrize("deadline", ["1e400", "-1e400", "NaN", "9" * 400])
def test_a_deadline_that_is_no_time_keeps_no_settings_from_being_shown(host: Host, deadline: str) -> None:
    prepare(host)
    id = begin(host, "confirm=600")
    (host.appliance.jobs / f"{id}.pending").write_text(f'{{"deadline": {deadline}, "pending": {{"settings": {{}}}}}}')

    assert host.request("GET", "/settings").json == OLD
    assert host.request("POST", "/settings/confirm").status == 400


def make_read_only(mount: Mount, directory: Path) -> None:
    mount(directory, "--bind", str(directory))
    mount(directory, "-o", "remount,bind,ro")


def test_a_disk_that_is_read_only_keeps_no_settings_from_coming_back(host: Host, mount: Mount) -> None:
    live = prepare(host)
    former = files(host)
    jobs = host.appliance.jobs
    id = begin(host)
    make_read_only(mount, jobs)

    wait_until(lambda: "old.host" in live.read_text(), 30)

    assert files(host) == former
    wait_until(lambda: "cannot be recorded" in (host.appliance.log / "jidoteki-admin-api.log").read_text(), 30)
    subprocess.run(["umount", jobs], check=True)
    assert_told_in_five_places(host, id, f"How the job ended could not be recorded: {UNWRITABLE}. {BACK}")
    assert files(host) == former
    wait_until(lambda: leftovers(host) == [])


def test_where_all_but_network_conf_is_read_only_the_former_network_comes_back(host: Host, mount: Mount) -> None:
    live = prepare(host)
    former = files(host)
    id = begin(host)
    make_read_only(mount, host.appliance.admin)

    wait_until(lambda: "old.host" in live.read_text(), 30)

    assert files(host)["network.conf"] == former["network.conf"]
    subprocess.run(["umount", host.appliance.admin], check=True)
    assert ended(host, id)["error-code"] == "E2001"
    wait_until(lambda: files(host) == former, 30)
