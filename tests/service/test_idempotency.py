"""`Idempotency-Key`: a request with a used key is not executed again, but gets the same response."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from pace import slowness

from jidoteki.core.service import kept_answers
from jidoteki.core.service.kept_answers import Kept, KeptAnswers, TooManyAnswersError
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Answer, Host, MakeHost, wait_until
from jidoteki.testing.fixtures import TOKEN

MIB = 1024 * 1024
NETWORK = json.dumps({"network": {"interface": "eth7", "hostname": "test.host"}})
SLOW = "#!/bin/sh\nwhile [ ! -e {} ]; do sleep 0.05; done\n"

COUNTER = '''
"""Counts how often something was done."""

import asyncio

import voluptuous as vol

from jidoteki.hookspecs import ApiError, Document, Endpoint, JsonResponse, Upload, hookimpl

TIMES = []


async def count(request):
    if not request.dry_run:
        TIMES.append(1)
    if "wait" in request.values:
        await asyncio.sleep(float(request.values["wait"]))
    answer = request.values.get("answer", "200")
    if answer == "raise":
        raise ValueError("broken")
    if int(answer) >= 400:
        raise ApiError(int(answer), f"number {len(TIMES)}", "C1", {"X-More": "more"})
    if answer == "299":
        return {"much": "x" * 100000}
    return JsonResponse({"times": len(TIMES)}, int(answer), {"X-Times": str(len(TIMES)), "Server": "mine"})


async def told(request):
    return {"times": len(TIMES)}


@hookimpl
def jidoteki_endpoints(appliance):
    parameters = {
        vol.Optional("answer"): str,
        vol.Optional("text"): str,
        vol.Optional("wait"): str,
        vol.Optional("file"): Upload(),
        vol.Optional("document"): Document(lambda content: content),
    }
    return [
        Endpoint("POST", "/count", count, parameters=parameters, responses={}),
        Endpoint("PUT", "/count", count, parameters=parameters),
        Endpoint("GET", "/count", told),
    ]
'''


@pytest.fixture
def host(jidoteki_host: MakeHost, tmp_path: Path) -> Host:
    plugin = tmp_path / "count.py"
    plugin.write_text(COUNTER)
    return jidoteki_host(load=(plugin,), enable=("count", "settings", "tokens"), authentication={"named-tokens": True})


def post(host: Host, *arguments: str, key: str = "one", path: str = "/count", query: str = "") -> Answer:
    return host.post(path, "-H", f"Idempotency-Key: {key}", *arguments, query=query)


def times(host: Host) -> int:
    return int(host.get("/count").json["times"])


def test_the_same_request_is_answered_as_before_and_not_made_twice(host: Host) -> None:
    first, second = (post(host, "-F", "text=a") for _ in range(2))

    assert (second.status, second.body) == (first.status, first.body) == (200, b'{"times":1}')
    assert second.headers["X-Times"] == "1"
    assert second.headers["Server"] == "mine"
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert times(host) == 1
    host.assert_audited("request.repeated", f"POST {PREFIX}/count")
    assert [line[4] for line in host.audit()].count("request.begun") == 1


def test_without_a_key_it_is_made_as_often_as_it_is_sent(host: Host) -> None:
    assert [host.post("/count", "-F", "text=a").json["times"] for _ in range(2)] == [1, 2]
    assert not (host.appliance.jobs / "answers.sqlite").exists()


def test_it_is_the_content_of_a_form_that_counts_and_not_how_it_is_sent(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(3 * MIB))
    file = ("-F", f"file=@{tmp_path / 'file'}")

    answers = [
        post(host, "-F", "text=a", "-F", "document=d", *file),
        post(host, *file, "-F", "document=d", "-F", "text=a"),
        post(host, "-d", "text=a", key="two"),
        post(host, "-F", "text=a", key="two"),
    ]

    assert [each.json["times"] for each in answers] == [1, 1, 2, 2]


def test_another_request_with_the_same_key_is_refused(host: Host, tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"file{number}").write_bytes(bytes(MIB) + bytes([number]))
    post(host, "-F", "text=a", "-F", f"file=@{tmp_path / 'file0'}")

    others = [
        post(host, "-F", "text=b", "-F", f"file=@{tmp_path / 'file0'}"),
        post(host, "-F", "text=a", "-F", f"file=@{tmp_path / 'file1'}"),
        post(host, "-F", "text=a"),
        post(host, "-F", "document=a", "-F", f"file=@{tmp_path / 'file0'}"),
        post(host, "-F", f"settings={NETWORK}", path="/settings"),
    ]

    assert [each.status for each in others] == [422] * 5
    assert times(host) == 1


def test_keys_are_their_credentials_own(host: Host) -> None:
    token = host.post("/tokens", "-F", "name=other", "-F", "scopes=all").json["token"]
    post(host, "-F", "text=a")

    bearer = ("-H", f"Authorization: Bearer {token}", "-H", "Idempotency-Key: one")
    other = host.curl("POST", "/count", "-F", "text=b", *bearer, auth="none")
    again = post(host, "-F", "text=a")

    assert (other.status, other.json["times"]) == (200, 2)
    assert again.json["times"] == 1


@pytest.mark.parametrize("answer", ["400", "404", "raise"])
def test_errors_are_answers_too(host: Host, answer: str) -> None:
    first, second = (post(host, "-F", f"answer={answer}") for _ in range(2))

    assert (first.status, first.body) == (second.status, second.body)
    assert first.headers.get("X-More") == second.headers.get("X-More")
    assert times(host) == 1


@pytest.mark.parametrize("answer", ["503", "429", "403"])
def test_what_says_to_try_again_may_be_tried_again(host: Host, answer: str) -> None:
    assert post(host, "-F", f"answer={answer}").status == int(answer)
    assert "2" in post(host, "-F", f"answer={answer}").json["Error-Message"]
    assert post(host, "-F", "answer=200").json["times"] == 3


def test_what_is_refused_before_anything_is_done_uses_up_no_key(host: Host) -> None:
    assert post(host, "-F", "unknown=a").status == 400
    assert post(host, "-F", "text=a", query="dryrun=1").status == 400
    assert post(host, "-F", "text=b", query="dry-run=1").json["dry-run"] is True
    assert post(host, "-F", "text=a").json["times"] == 1


def test_a_job_is_started_once_also_while_it_runs(host: Host) -> None:
    script, end = host.appliance.bin / "network.sh", host.appliance.root / "end"
    script.write_text(SLOW.format(end))
    script.chmod(0o755)
    first = post(host, "-F", f"settings={NETWORK}", path="/settings")
    second = post(host, "-F", f"settings={NETWORK}", path="/settings")
    other = post(host, "-F", f"settings={NETWORK}", path="/settings", key="two")
    end.touch()
    wait_until(lambda: host.get(f"/jobs/{first.headers['Job-Id']}").json["status"] == "success")
    later = post(host, "-F", f"settings={NETWORK}", path="/settings", key="two")

    assert first.status == second.status == 202
    assert first.headers["Job-Id"] == second.headers["Job-Id"]
    assert first.headers["Location"] == second.headers["Location"]
    assert (other.status, other.json["error-code"]) == (400, "E1004")
    assert later.status == 202


def test_a_restart_forgets_nothing(host: Host) -> None:
    post(host, "-F", "text=a")

    host.stop(signal.SIGKILL)
    host.start()

    assert post(host, "-F", "text=a").headers["Idempotency-Replayed"] == "true"
    assert post(host, "-F", "text=b").status == 422
    assert times(host) == 0


def test_a_request_that_was_killed_is_not_made_again(host: Host) -> None:
    thread = threading.Thread(target=lambda: _quietly(lambda: post(host, "-F", "wait=60")))
    thread.start()
    wait_until(lambda: times(host) == 1)

    host.stop(signal.SIGKILL)
    thread.join()
    host.start()
    answer = post(host, "-F", "wait=60")

    assert answer.status == 409
    assert "was interrupted" in answer.json["Error-Message"]
    assert times(host) == 0


def _quietly(function: object) -> None:
    try:
        function()  # type: ignore[operator]  # a plain function
    except AssertionError:
        pass


def test_while_it_is_being_carried_out_the_same_key_is_a_conflict(host: Host) -> None:
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(post(host, "-F", "wait=1.5")))
    thread.start()
    wait_until(lambda: times(host) == 1)
    conflict = post(host, "-F", "wait=1.5")
    thread.join()
    after = post(host, "-F", "wait=1.5")

    assert (conflict.status, conflict.headers["Retry-After"]) == (409, "1")
    assert answers[0].status == 200
    assert after.body == answers[0].body


def test_a_client_that_hangs_up_finds_the_answer(host: Host) -> None:
    context = ssl.create_default_context(cafile=host.certificate)
    server = urlsplit(host.url)
    body = "wait=1"
    head = (
        f"POST {PREFIX}/count HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", "Idempotency-Key: one",
        "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}", "", body,
    )  # fmt: skip
    with socket.create_connection((str(server.hostname), int(server.port or 0))) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall("\r\n".join(head).encode())
            wait_until(lambda: times(host) == 1)

    answer = wait_until(lambda: (got := post(host, "-d", body)).status != 409 and got)

    assert answer.json == {"times": 1}
    assert times(host) == 1


def test_what_is_kept_can_be_read_with_the_key_alone(host: Host) -> None:
    made = post(host, "-F", "name=some", "-F", "scopes=read", path="/tokens", key="the-key-itself")
    token = str(made.json["token"])

    content = b"".join(path.read_bytes() for path in host.appliance.jobs.glob("answers.sqlite*"))

    assert content
    for secret in (token, TOKEN, "the-key-itself"):
        assert secret.encode() not in content
    assert post(host, "-F", "name=some", "-F", "scopes=read", path="/tokens", key="the-key-itself").body == made.body
    assert (host.appliance.jobs / "answers.sqlite").stat().st_mode & 0o777 == 0o600


def test_an_answer_that_is_too_long_to_be_kept_is_not_given_again(host: Host) -> None:
    assert post(host, "-F", "answer=299").status == 200
    again = post(host, "-F", "answer=299")

    assert again.status == 409
    assert "was carried out" in again.json["Error-Message"]
    assert times(host) == 1


@pytest.mark.parametrize("key", ["x" * 256, "ä", "a\tb"])
def test_what_is_no_key_is_refused(host: Host, key: str) -> None:
    assert post(host, "-F", "text=a", key=key).status == 400
    assert post(host, "-H", "Idempotency-Key: two", "-F", "text=a").status == 400
    assert times(host) == 0


def test_a_damaged_file_is_set_aside(host: Host) -> None:
    host.stop()
    (host.appliance.jobs / "answers.sqlite").write_bytes(os.urandom(8192))
    host.start()

    assert [post(host, "-F", "text=a").json["times"] for _ in range(2)] == [1, 1]
    assert list(host.appliance.jobs.glob("answers.sqlite.aside-*"))


@pytest.mark.parametrize("page", [0, 1, 2, 3, -2])
@pytest.mark.parametrize("content", [bytes(4096), b"\xa5" * 4096], ids=["zeroed", "other"])
def test_a_page_that_is_damaged_costs_the_keys_at_most(
    tmp_path: Path, page: int, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "answers"
    for number in range(200):
        KeptAnswers(path).begin(f"a{number}".encode(), "a", bytes(32))
    whole = path.read_bytes()
    begin = page % (len(whole) // 4096) * 4096
    path.write_bytes(whole[:begin] + content + whole[begin + 4096 :])

    kept = KeptAnswers(path)
    for number in range(50):
        kept.find(f"a{number}".encode())
        assert kept.begin(f"b{number}".encode(), "a", b"")
        kept.finish(f"b{number}".encode(), b"answer")

    asides = list(tmp_path.glob("answers.aside-*"))
    assert len(asides) <= 1
    assert all(f"it is now {each.name}" in caplog.text for each in asides)


def test_a_page_that_is_damaged_is_met_in_a_request(host: Host) -> None:
    for number in range(60):
        post(host, "-F", "text=a", key=f"old{number}")
    host.stop()
    database = host.appliance.jobs / "answers.sqlite"
    whole = database.read_bytes()
    database.write_bytes(whole[: 2 * 4096] + bytes(4096) + whole[3 * 4096 :])
    host.start()

    assert [post(host, "-F", "text=a", key=key).status for key in ("new", "new", "old1")] == [200] * 3
    assert list(host.appliance.jobs.glob("answers.sqlite.aside-*"))
    wait_until(
        lambda: (
            "answers.sqlite is not what belongs there" in (host.appliance.log / "jidoteki-admin-api.log").read_text()
        )
    )


OTHERS: dict[str, Callable[[Path], object]] = {
    "a directory": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("/dev/null"),
    "a pipe": os.mkfifo,
    "another table": lambda path: _make(path, "CREATE TABLE answers (id BLOB PRIMARY KEY, answer BLOB)"),
    "a view": lambda path: _make(path, "CREATE VIEW answers AS SELECT 1 AS id, 2 AS credential, 3 AS size"),
    "a column more": lambda path: _make(path, kept_answers._TABLE.replace("answer BLOB", "answer BLOB, more TEXT")),
}


def _make(path: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(script)


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_in_the_place_of_the_keys_is_set_aside(tmp_path: Path, kind: str) -> None:
    OTHERS[kind](tmp_path / "answers")
    kept = KeptAnswers(tmp_path / "answers")

    kept.find(b"a")
    assert [kept.begin(b"a", "a", b"f"), kept.begin(b"a", "a", b"f")] == [True, False]
    kept.finish(b"a", b"answer")
    assert KeptAnswers(tmp_path / "answers").find(b"a") == Kept(b"f", b"answer")
    assert list(tmp_path.glob("answers.aside-*"))


def test_keys_that_are_deleted_by_hand_are_begun_anew(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path / "answers")
    kept.begin(b"a", "a", b"")
    (tmp_path / "answers").unlink()

    assert kept.begin(b"b", "a", b"")
    assert KeptAnswers(tmp_path / "answers").find(b"b")


def test_while_the_keys_are_locked_nothing_is_done_and_nobody_waits_long(host: Host) -> None:
    assert post(host, "-F", "text=a", key="first").status == 200
    answers: list[Answer] = []
    requests = [
        threading.Thread(target=lambda key=f"locked{number}": answers.append(post(host, "-F", "text=a", key=key)))
        for number in range(8)
    ]
    with contextlib.closing(sqlite3.connect(host.appliance.jobs / "answers.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        for each in requests:
            each.start()
        for each in requests:
            each.join(60)
        taken = time.monotonic() - began

    assert [each.status for each in answers] == [503] * 8
    assert taken < 5 * slowness()
    assert host.post("/count", "-F", "text=a").json["times"] == 2
    assert post(host, "-F", "text=a", key="locked1").json["times"] == 3


DAY = 24 * 3600.0


class Clock:
    """The clock and the boot of a machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.ran, self.boot = time.time(), 1000.0, "first"
        clock = SimpleNamespace(
            time=lambda: self.wall, clock_gettime=lambda which: self.ran, CLOCK_BOOTTIME=time.CLOCK_BOOTTIME
        )
        monkeypatch.setattr(kept_answers, "time", clock)
        monkeypatch.setattr(kept_answers, "boot_id", lambda: self.boot)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.ran += seconds

    def reboot(self) -> None:
        """Begin another boot."""
        self.boot, self.ran = "second", 1.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("days", [400, 2, -2, -400])
def test_a_clock_that_is_set_forgets_no_key_and_keeps_none_for_longer(tmp_path: Path, clock: Clock, days: int) -> None:
    kept = KeptAnswers(tmp_path / "answers")
    assert kept.begin(b"a", "a", b"")
    clock.wall += days * DAY
    clock.run(10)

    assert not kept.begin(b"a", "a", b"")
    clock.run(DAY)
    assert kept.find(b"a") is None
    assert kept.begin(b"a", "a", b"")


@pytest.mark.parametrize("days", [400, 2, -2, -400])
def test_keys_of_a_wrong_clock_do_not_count_for_ever(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    monkeypatch.setattr(kept_answers, "MAX_OF_A_CREDENTIAL", 1)
    kept = KeptAnswers(tmp_path / "answers")
    assert kept.begin(b"a", "a", b"")
    clock.reboot()
    clock.wall += days * DAY

    assert kept.find(b"a") is None
    assert kept.begin(b"b", "a", b"")


def test_a_reboot_forgets_no_key(tmp_path: Path, clock: Clock) -> None:
    kept = KeptAnswers(tmp_path / "answers")
    assert kept.begin(b"a", "a", b"")
    clock.run(100)
    clock.reboot()
    assert kept.find(b"a")
    clock.run(DAY)
    assert kept.find(b"a") is None


def test_keys_are_bounded_in_number_bytes_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "MAX_OF_A_CREDENTIAL", 3)
    monkeypatch.setattr(kept_answers, "MAX_IN_ALL", 5)
    monkeypatch.setattr(kept_answers, "MAX_BYTES_OF_A_CREDENTIAL", 100)
    clock = Clock(monkeypatch)
    kept = KeptAnswers(tmp_path / "answers")

    def begin(*numbers: int, of: str) -> list[bool]:
        return [kept.begin(f"{of}{number}".encode(), of, b"") for number in numbers]

    assert begin(1, 2, 3, of="a") == [True] * 3
    with pytest.raises(TooManyAnswersError, match="This credential"):
        begin(4, of="a")
    assert begin(1, 1, of="b") == [True, False]
    kept.finish(b"b1", bytes(100))
    with pytest.raises(TooManyAnswersError, match="This credential"):
        begin(2, of="b")
    assert begin(1, of="c") == [True]
    with pytest.raises(TooManyAnswersError, match="There are"):
        begin(1, of="d")
    kept.forget(b"c1")
    assert begin(1, of="d") == [True]

    clock.run(25 * 3600)
    assert kept.find(b"a1") is None
    assert begin(1, 2, 3, of="a") == [True] * 3
    assert sqlite3.connect(tmp_path / "answers").execute("SELECT count(*) FROM answers").fetchone() == (3,)
