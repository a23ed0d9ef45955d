"""Two of everything at once: exactly one wins, the rest get the documented refusal."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from faultkit import Reply, Scaled, Tally, ask, multipart, some
from injection import Gate, injected_host
from jobcases import JOB_TYPES, case_of, records, settings_form, start, temporaries, wait_for_the_last

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

PARALLEL = 50


def at_once(host: Host, gate: Gate, job_type: str, number: int) -> Counter[int]:
    """The statuses of equal requests; the job that one of them starts is let go once all the others have an answer."""
    case = case_of(job_type)
    case.request(host)
    gate.shut()
    with ThreadPoolExecutor(number) as pool:
        asked = [pool.submit(start, host, case) for _ in range(number)]
        wait_until(lambda: sum(each.done() for each in asked) >= number - 1, 50)
        gate.open()
        return Counter(each.result().status for each in asked)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("job_type", some(JOB_TYPES, ("settings", "restore", "update")))
def test_of_many_requests_at_once_exactly_one_starts_the_job(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, job_type: str
) -> None:
    host = jidoteki_host(start=False)
    case_of(job_type).prepare(host)
    gate = Gate(host)
    injected_host(host, gate, "--http-port", "0")
    number = scaled(12, PARALLEL)

    old = case_of(job_type).state(host)
    won = 200 if job_type in ("license", "restore") else 202  # these two wait for their job

    for round in range(scaled(3, 200)):
        case_of(job_type).reset(old)
        answers = at_once(host, gate, job_type, number)
        last = wait_for_the_last(host, job_type)
        tally.case(answers == {won: 1, 400: number - 1}, f"{job_type}: {answers}")
        tally.case(last["status"] == "success", f"{job_type}: {last}")
        tally.case(last["id"] == f"{round + 1:06}-{job_type}", f"{job_type}: more than one ran: {last}")
    assert tally.failed == []


@pytest.mark.timeout(600)
def test_of_two_first_setups_one_wins(jidoteki_host: MakeHost, tally: Tally, scaled: Scaled) -> None:
    host = jidoteki_host(token=None, start=False).start("--http-port", "0")

    def set_up(number: int) -> int:
        body, headers = multipart(("newtoken", f"token{number}".encode()), files=False)
        return ask(host, "POST", "/setup", "", headers, body, f"127.0.9.{number}").status

    for number in range(scaled(5, 200)):
        (host.appliance.etc / "api.token").unlink(missing_ok=True)
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(set_up, range(8 * (number % 25) + 1, 8 * (number % 25) + 9)))
        tally.case(sorted(statuses) == [200] + [403] * 7, f"round {number}: {statuses}")
    assert tally.failed == []


@pytest.mark.timeout(600)
def test_a_storm_of_start_and_stop_leaves_no_half_backup(jidoteki_host: MakeHost, tally: Tally, scaled: Scaled) -> None:
    host = jidoteki_host(start=False)
    case_of("backup").prepare(host)
    (host.appliance.data / "db/large").write_bytes(bytes(8 * 1024 * 1024))
    host.start("--http-port", "0")

    def storm(number: int) -> Reply:
        body, headers = multipart(("action", b"START" if number % 2 else b"STOP"), files=False)
        return ask(host, "POST", "/backup", host.query("POST", "/backup")[1:], headers, body)

    for _ in range(scaled(1, 20)):
        with ThreadPoolExecutor(16) as pool:
            for reply in pool.map(storm, range(scaled(16, PARALLEL))):
                tally.case(reply.status in (202, 400, 404), reply)
    wait_until(lambda: all(each["status"] != "running" for job_type in ("backup", "backup-delete")
                           for each in records(host, job_type)))  # fmt: skip
    described = (host.appliance.uploads / "backup.json").exists()
    tally.case(described == (host.appliance.uploads / "backup.tar").exists(), "archive and description do not agree")
    wait_until(lambda: not temporaries(host.appliance))
    assert tally.failed == []


@pytest.mark.timeout(600)
def test_fifty_different_settings_at_once_never_mix(jidoteki_host: MakeHost, tally: Tally, scaled: Scaled) -> None:
    host = jidoteki_host(start=False).start("--http-port", "0")

    def post(number: int) -> int:
        document = {
            "network": {"interface": f"eth{number}", "hostname": f"host{number}.example"},
            "app": {"name": f"app{number}"},
        }
        body, headers = settings_form(document)
        return ask(host, "POST", "/settings", host.query("POST", "/settings")[1:], headers, body).status

    for _ in range(scaled(1, 20)):
        with ThreadPoolExecutor(scaled(20, PARALLEL)) as pool:
            answers = Counter(pool.map(post, range(scaled(20, PARALLEL))))
        wait_for_the_last(host, "settings")
        shown = json.loads(ask(host, "GET", "/settings", host.query("GET", "/settings")[1:]).body)
        number = shown["app"]["name"].removeprefix("app")
        tally.case(set(answers) <= {202, 400} and answers[202] >= 1, answers)
        tally.case(shown["network"]["hostname"] == f"host{number}.example", shown)
        tally.case(shown["network"]["interface"] == f"eth{number}", shown)
    assert tally.failed == []


@pytest.mark.timeout(600)
def test_a_restore_during_a_backup_is_refused_or_waits(jidoteki_host: MakeHost, tally: Tally, scaled: Scaled) -> None:
    host = jidoteki_host(start=False)
    case_of("restore").prepare(host)
    host.start("--http-port", "0")
    old, new = b"old" * 5000, b"new" * 5000

    for _ in range(scaled(2, 40)):
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda job_type: start(host, case_of(job_type)), ["backup", "restore"]))
        wait_until(lambda: all(each["status"] != "running" for each in records(host, "backup")))
        contents = {(host.appliance.data / name).read_bytes() for name in ("db/one", "db/two", "more")}
        tally.case({each.status for each in answers} <= {200, 202, 400}, answers)
        tally.case(contents in ({old}, {new}), "the data are mixed")
    assert tally.failed == []
