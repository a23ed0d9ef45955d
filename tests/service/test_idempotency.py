"""`Idempotency-Key`: what was done for a key is not done twice, but answered as before."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import ssl
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from jidoteki.core.service import kept_answers
from jidoteki.core.service.kept_answers import KeptAnswers, TooManyAnswersError
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


def test_where_keys_cannot_be_kept_nothing_is_done(host: Host) -> None:
    host.stop()
    (host.appliance.jobs / "answers.sqlite").mkdir()
    host.start()

    assert post(host, "-F", "text=a").status == 503
    assert host.post("/count", "-F", "text=a").json["times"] == 1


def test_keys_are_bounded_in_number_bytes_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "MAX_OF_A_CREDENTIAL", 3)
    monkeypatch.setattr(kept_answers, "MAX_IN_ALL", 5)
    monkeypatch.setattr(kept_answers, "MAX_BYTES_OF_A_CREDENTIAL", 100)
    now = time.time()
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

    monkeypatch.setattr(kept_answers, "time", SimpleNamespace(time=lambda: now + 25 * 3600))
    assert kept.find(b"a1") is None
    assert begin(1, 2, 3, of="a") == [True] * 3
    assert sqlite3.connect(tmp_path / "answers").execute("SELECT count(*) FROM answers").fetchone() == (3,)
