"""`POST /settings?confirm=N`: settings come back unless somebody confirms them, and everybody is told."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trialkit
from trialkit import NEW, OLD, begin, ended, files, kill_job, leftovers, post, prepare

from jidoteki.testing import Host, MakeHost, wait_until


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


def test_settings_that_are_confirmed_stay(host: Host) -> None:
    live = prepare(host)
    id = begin(host)

    answer = host.request("POST", "/settings/confirm")

    assert (answer.status, answer.json) == (200, {"Status": "200 OK"})
    assert answer.headers.get("Job-Id") is None
    assert ended(host, id)["status"] == "success"
    assert host.request("GET", "/settings").json == NEW
    assert "new.host" in live.read_text()
    wait_until(lambda: leftovers(host) == [])
    host.assert_audited("request.done", f"POST /api/v1/admin/settings/confirm 200 {id}")


def test_the_next_settings_can_be_posted_as_soon_as_the_last_are_confirmed(host: Host) -> None:
    prepare(host)
    begin(host)

    assert host.request("POST", "/settings/confirm").status == 200
    assert post(host, OLD).status == 202


def test_settings_that_nobody_confirms_come_back_and_it_is_told_in_five_places(host: Host) -> None:
    live = prepare(host)
    former = files(host)
    id = begin(host)

    job = ended(host, id)

    sentence = "Nobody confirmed the change within 10 seconds. What was changed is back as it was"
    assert (job["status"], job["error-code"], job["error-message"]) == ("failed", "E2001", sentence)
    assert files(host) == former
    assert "old.host" in live.read_text()
    wait_until(lambda: leftovers(host) == [])
    host.assert_audited("change.reverted", "settings E2001")
    told = wait_until(lambda: host.request("GET", "/health").json.get("reverted"))
    assert [(each["job"], each["error-code"], each["error-message"]) for each in told] == [(id, "E2001", sentence)]
    wait_until(
        lambda: f"job.end: {id} failed E2001: {sentence}" in (host.appliance.log / "jidoteki-admin-api.log").read_text()
    )


def test_health_tells_that_settings_came_back_until_others_stay(host: Host) -> None:
    prepare(host, 'grep -q new "$(dirname "$0")/../../../../usr/local/etc/network.conf" && exit 3')
    ended(host, post(host, NEW, "confirm=10").headers["Job-Id"])
    wait_until(lambda: "reverted" in host.request("GET", "/health").json)
    host.stop()
    host.start()
    assert host.request("GET", "/health").json["reverted"]

    trialkit.vendor_script(host)
    ended(host, post(host, NEW).headers["Job-Id"])

    wait_until(lambda: "reverted" not in host.request("GET", "/health").json)


def test_while_they_wait_the_former_settings_are_shown_and_those_on_trial_beside_them(host: Host) -> None:
    prepare(host)
    begin(host, "confirm=600")

    shown = host.request("GET", "/settings").json

    assert {key: shown[key] for key in OLD} == OLD
    assert shown["pending"]["settings"] == NEW
    assert 590 <= shown["pending"]["seconds-left"] <= 600


def test_what_is_shown_meanwhile_can_be_posted_back(host: Host) -> None:
    prepare(host)
    begin(host, "confirm=600")
    shown = host.request("GET", "/settings").json
    host.request("POST", "/settings/confirm")

    ended(host, post(host, shown).headers["Job-Id"])

    assert host.request("GET", "/settings").json == OLD


def test_a_dry_run_of_a_reboot_says_what_it_puts_back(host: Host) -> None:
    prepare(host)
    begin(host, "confirm=600")

    changes = host.request("POST", "/reboot", query="dry-run=1").json["changes"]

    assert {"path": "settings", "from": "waiting for a confirmation", "to": "put back"} in changes
    assert len(changes) == 2


def test_a_script_that_fails_is_quoted(host: Host) -> None:
    prepare(host, "printf 'Link\\tis \\033[1mdown.\\n\\n'; exit 9")

    job = ended(host, post(host, NEW).headers["Job-Id"])

    assert job["error-message"].startswith("network.sh failed with exit status 9: Link is [1mdown")


def test_a_second_post_meanwhile_is_refused(host: Host) -> None:
    prepare(host)
    begin(host, "confirm=600")

    for query in ("", "confirm=20", "dry-run=1"):
        answer = post(host, NEW, query)
        assert (answer.status, answer.json["error-code"]) == (400, "E1004")
        told = answer.json["Error-Message"]
        waits = r"its change waits (5[0-9]{2}|600) seconds more for a confirmation, and is put back then"
        makes = r"POST /settings/confirm makes it final"
        assert re.fullmatch(f"Settings is already running; {waits}: {makes}", told), told


def test_the_loop_of_the_page_confirms_a_change_and_ends_where_nothing_waits(host: Host, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/api.md").read_text().partition("## Changes that come back")[2]
    block = re.findall(r"(?:^    .*\n)+", page, re.MULTILINE)[0]
    loop = "".join(block.splitlines(keepends=True)[1:])
    loop = loop.replace("https://HOST:8443", host.url).replace("yourtoken", str(host.token))

    def run() -> str:
        return subprocess.run(["sh", "-c", loop], capture_output=True, text=True, timeout=60, check=False).stdout

    prepare(host, "sleep 2")
    id = post(host, NEW, "confirm=60").headers["Job-Id"]
    assert "200 OK" in run()
    assert ended(host, id)["status"] == "success"
    assert "Nothing waits for a confirmation" in run()


def test_a_confirmation_is_refused_where_nothing_waits_for_one(host: Host) -> None:
    prepare(host)

    answer = host.request("POST", "/settings/confirm")

    assert (answer.status, answer.json["Error-Message"]) == (400, "Nothing waits for a confirmation")


def test_a_confirmation_that_is_sent_again_says_what_became_of_the_change(host: Host) -> None:
    def again() -> str:
        answer = host.request("POST", "/settings/confirm")
        assert answer.status == 400
        return str(answer.json["Error-Message"])

    prepare(host)
    put_back = begin(host)
    assert ended(host, put_back)["error-code"] == "E2001"
    assert again() == f"Nothing waits for a confirmation: the last change, {put_back}, was put back"
    final = begin(host)
    assert host.request("POST", "/settings/confirm").status == 200
    assert ended(host, final)["status"] == "success"
    assert again() == f"Nothing waits for a confirmation: the last change, {final}, is final"


def test_a_confirmation_before_the_change_is_complete_is_to_be_sent_again(host: Host, tmp_path: Path) -> None:
    prepare(host, f"touch {tmp_path}/runs; sleep 2")
    id = post(host, NEW, "confirm=10").headers["Job-Id"]
    wait_until((tmp_path / "runs").exists)

    answer = host.request("POST", "/settings/confirm")

    assert (answer.status, answer.json["error-code"]) == (400, "E1004")
    wait_until((host.appliance.jobs / f"{id}.pending").exists)
    assert host.request("POST", "/settings/confirm").status == 200


def test_a_dry_run_of_a_confirmation_confirms_nothing(host: Host) -> None:
    prepare(host)
    begin(host, "confirm=600")

    assert host.request("POST", "/settings/confirm", query="dry-run=1").json["dry-run"] is True

    assert "pending" in host.request("GET", "/settings").json


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("confirm=9", "confirm must be a number of seconds from 10 to 3600"),
        ("confirm=3601", "confirm must be a number of seconds from 10 to 3600"),
        ("confirm=0", "confirm must be a number of seconds from 10 to 3600"),
        ("confirm=", "confirm must be a number of seconds from 10 to 3600"),
        ("confirm=1e2", "confirm must be a number of seconds from 10 to 3600"),
        ("confirm=%D9%A1%D9%A2", "confirm must be a number of seconds from 10 to 3600"),
        ("confirm=20&confirm=30", "confirm is given twice"),
        ("confrim=20", "confrim is unknown; did you mean confirm? Nothing was done"),
        ("Confirm=20", "Confirm is unknown; did you mean confirm? Nothing was done"),
    ],
)
def test_a_confirm_that_cannot_be_meant_so_is_refused_and_nothing_is_done(
    host: Host, query: str, sentence: str
) -> None:
    answer = post(host, NEW, query)

    assert (answer.status, answer.json["Error-Message"]) == (400, sentence)
    assert host.request("GET", "/settings").status == 404


def test_a_confirm_is_refused_where_it_would_have_no_effect(host: Host) -> None:
    answer = host.post("/storage", "-F", 'settings={"storage":{"type":"local"}}', query="confirm=60")

    assert answer.status == 400
    assert answer.json["Error-Message"] == "confirm is not for POST /storage. Nothing was done"


def test_a_vendor_may_let_all_settings_wait(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(plugins={"settings": {"confirm": 90}})
    trialkit.vendor_script(host)

    begin(host, "")

    assert host.request("GET", "/settings").json["pending"]["seconds-left"] > 80
    assert host.request("POST", "/settings/confirm").status == 200
    assert host.request("GET", "/settings").json == NEW


@pytest.mark.parametrize("seconds", [-1, 5, 3601, "90", True])
def test_a_default_that_cannot_be_is_refused(jidoteki_host: MakeHost, seconds: Any) -> None:
    host = jidoteki_host(plugins={"settings": {"confirm": seconds}})

    assert host.request("GET", "/settings").status == 503


def test_the_first_settings_come_back_as_none(host: Host) -> None:
    live = trialkit.vendor_script(host, 'echo "$1" > told')
    id = post(host, NEW, "confirm=10").headers["Job-Id"]

    job = ended(host, id)

    assert job["error-code"] == "E2001"
    assert host.request("GET", "/settings").status == 404
    assert not (host.appliance.system_etc / "network.conf").exists()
    assert (host.appliance.uploads / "told").read_text() == "dhcp\n"
    assert live.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_settings_of_a_killed_job_come_back_at_once(host: Host, number: signal.Signals) -> None:
    live = prepare(host)
    former = files(host)
    id = begin(host, "confirm=3600")

    kill_job(host, id, number)
    job = ended(host, id)

    assert (job["status"], job["error-code"]) == ("failed", "E2001")
    assert job["error-message"].endswith(". What was changed is back as it was")
    assert files(host) == former
    assert "old.host" in live.read_text()
    wait_until(lambda: leftovers(host) == [])
    host.assert_audited("change.reverted", "settings E2001")


def test_settings_whose_script_fails_come_back_with_the_script_run_for_them(host: Host) -> None:
    conf = host.appliance.system_etc / "network.conf"
    live = prepare(host, f"cp {conf} {host.appliance.root}/live; grep -q new.host {conf} && exit 3")
    former = files(host)

    job = ended(host, post(host, NEW, "confirm=3600").headers["Job-Id"])

    assert job["error-code"] == "E2001"
    assert job["error-message"] == "network.sh failed with exit status 3. What was changed is back as it was"
    assert files(host) == former
    assert "old.host" in live.read_text()


def test_a_script_that_fails_puts_the_former_files_back_without_a_confirm_as_well(host: Host) -> None:
    prepare(host, "exit 3")
    former = files(host)

    job = ended(host, post(host, NEW).headers["Job-Id"])

    assert (job["status"], job["error-code"]) == ("failed", "E1000")
    assert files(host) == former


def test_settings_wait_on_while_the_service_is_restarted(host: Host) -> None:
    prepare(host)
    id = begin(host, "confirm=600")
    host.stop(signal.SIGKILL)
    host.start()

    assert host.request("GET", "/settings").json["pending"]["settings"] == NEW
    assert host.request("POST", "/settings/confirm").status == 200
    assert ended(host, id)["status"] == "success"
    assert host.request("GET", "/settings").json == NEW


def test_settings_come_back_after_a_power_cut(host: Host) -> None:
    live = prepare(host)
    former = files(host)
    id = begin(host, "confirm=3600")
    host.stop(signal.SIGKILL)
    kill_job(host, id)

    host.start()
    job = ended(host, id)

    assert job["error-code"] == "E2001"
    assert files(host) == former
    assert "old.host" in live.read_text()
    host.assert_audited("change.reverted", "settings E2001")


def test_settings_that_were_confirmed_stay_whatever_happens_next(host: Host) -> None:
    prepare(host)
    id = begin(host, "confirm=3600")
    new = files(host)
    kill_job(host, id, signal.SIGSTOP)
    (host.appliance.jobs / f"{id}.trial").rename(host.appliance.jobs / f"{id}.confirmed")
    kill_job(host, id)

    job = ended(host, id)

    assert "The change was confirmed and stays" in job["error-message"]
    assert files(host) == new
    wait_until(lambda: leftovers(host) == [])


def test_putting_back_is_tried_again_at_once_and_when_the_service_starts(host: Host, tmp_path: Path) -> None:
    live = prepare(host, f"test -e {tmp_path}/broken && exit 4")
    id = begin(host, "confirm=3600")
    (tmp_path / "broken").touch()
    kill_job(host, id)
    job = ended(host, id, 90)
    said = job["error-message"]
    assert "could not be put back, which is tried again when the service starts: network.sh failed" in said
    assert "new.host" in live.read_text()
    host.stop()
    (tmp_path / "broken").unlink()

    host.start()

    wait_until(lambda: "old.host" in live.read_text())
    assert ended(host, id)["error-message"].endswith("What was changed is back as it was")
    wait_until(lambda: leftovers(host) == [])


def test_new_settings_may_be_posted_when_the_former_could_not_be_put_back(host: Host, tmp_path: Path) -> None:
    live = prepare(host, f"test -e {tmp_path}/broken && exit 4")
    id = begin(host, "confirm=3600")
    (tmp_path / "broken").touch()
    kill_job(host, id)
    ended(host, id, 90)
    (tmp_path / "broken").unlink()

    assert ended(host, post(host, NEW).headers["Job-Id"])["status"] == "success"

    wait_until(lambda: leftovers(host) == [])
    assert "new.host" in live.read_text()


def test_a_reboot_puts_back_what_waits_before_it_goes_on(host: Host, tmp_path: Path) -> None:
    host.configure(commands={"reboot": ["touch", str(tmp_path / "rebooted")]})
    host.reload()
    live = prepare(host)
    id = begin(host, "confirm=3600")

    assert host.request("POST", "/reboot").status == 202

    wait_until((tmp_path / "rebooted").exists)
    assert "old.host" in live.read_text()
    assert ended(host, id)["error-message"].startswith("The system goes down before the change was confirmed")


def test_what_somebody_wrote_meanwhile_keeps_nothing_from_coming_back(host: Host) -> None:
    prepare(host)
    former = files(host)
    id = begin(host, "confirm=3600")
    (host.appliance.system_etc / "network.conf").write_text("mode=static\n")

    kill_job(host, id)
    ended(host, id)

    assert files(host) == former


def test_a_request_that_is_sent_again_begins_no_second_trial(host: Host, tmp_path: Path) -> None:
    prepare(host)
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(NEW))
    arguments = ("-F", f"settings=@{settings}", "-H", "Idempotency-Key: one")

    first = host.post("/settings", *arguments, query="confirm=600")
    again = host.post("/settings", *arguments, query="confirm=600")
    other = host.post("/settings", *arguments, query="confirm=60")

    assert (first.status, again.status, other.status) == (202, 202, 422)
    assert again.headers["Job-Id"] == first.headers["Job-Id"]


def test_events_tell_what_came_back(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    listener, told = tmp_path / "listener.py", tmp_path / "told"
    listener.write_text(
        "from jidoteki.hookspecs import hookimpl\n@hookimpl\ndef jidoteki_event(event):\n"
        f"    with open({str(told)!r}, 'a') as file:\n"
        "        file.write(f'{event.kind} {event.action} {event.id} {event.outcome} {event.code}\\n')\n"
    )
    host = jidoteki_host(load=[listener])
    prepare(host)
    id = begin(host, "confirm=3600")
    kill_job(host, id)
    ended(host, id)

    wait_until(lambda: f"job job.end {id} failed E2001\n" in told.read_text())
    wait_until(lambda: f"audit change.reverted {id} None None\n" in told.read_text())
