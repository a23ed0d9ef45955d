"""The audit log keeps the evidence of changes, whatever strangers and small tokens do beside it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from faultkit import ask, client_of

from jidoteki.core.logs.audit_sums import MAX_CLIENTS, Often
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost


def lines(host: Host, action: str) -> list[list[str]]:
    return [line for line in host.audit() if line[4] == action]


def test_failures_of_many_addresses_take_few_lines_and_every_one_is_counted(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False, limits={"failed-authentication-pause": 0.1}).start("--http-port", "0")

    def guess(number: int) -> int:
        client = client_of(host, f"127.0.2.{number}")
        for _ in range(3):
            client.request("GET", f"{PREFIX}/backup/download?token=wrong")
            answer = client.getresponse()
            answer.read()
        client.close()
        return answer.status

    with ThreadPoolExecutor(30) as pool:
        statuses = set(pool.map(guess, range(1, 101)))
    host.stop()

    failures = lines(host, "authentication.failure")
    assert statuses == {403}
    assert len(failures) <= 2 * MAX_CLIENTS + 1
    more = sum(int(line[5].split(" and ")[1].split()[0]) for line in failures if " more within" in line[5])
    others = sum(int(line[5].split()[0]) for line in failures if "further clients" in line[5])
    assert len([line for line in failures if "within" not in line[5]]) + more + others == 300


def test_an_ipv6_site_is_one_client_among_those_that_get_lines_of_their_own() -> None:
    often = Often()

    told = [often.note("guess", (f"2001:db8::{number}", "-", ""), "a", "GET /x") for number in range(50)]

    assert sum(map(len, told)) == MAX_CLIENTS
    assert [(line.target, line.count) for line in often.tell(at_once=True)] == [
        (f"{50 - MAX_CLIENTS} of further clients within 60 seconds", 50 - MAX_CLIENTS)
    ]
    assert often.tell(at_once=True) == []


def test_threads_lose_no_count() -> None:
    often = Often()
    threads = [
        threading.Thread(target=lambda: [often.note("guess", ("n", "-", ""), "a", "t") for _ in range(500)])
        for _ in range(8)
    ]

    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert [line.count for line in often.tell(at_once=True)] == [3999]


def test_refused_scopes_and_downloads_leave_a_line(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True, "signatures": False})
    token = host.post("/tokens", "-F", "name=robot", "-F", "scopes=GET /logs").json["token"]

    for _ in range(5):
        assert ask(host, "GET", "/version", f"token={token}").status == 403
    assert ask(host, "GET", "/logs", f"token={token}").status == 200
    host.stop()

    refused, downloads = lines(host, "authorization.refused"), lines(host, "download")
    target = f"GET {PREFIX}/version"
    assert [line[3] for line in (*refused, *downloads)] == ["robot"] * 3
    assert [line[5] for line in refused] == [target, f"{target} and 4 more within 60 seconds"]
    assert downloads[0][5] == f"GET {PREFIX}/logs"


@pytest.mark.parametrize("name", ["admin", "first-setup", "first-run", "local", "root"])
def test_no_token_takes_a_name_that_means_somebody_else_in_the_log(jidoteki_host: MakeHost, name: str) -> None:
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True, "signatures": False})

    assert host.post("/tokens", "-F", f"name={name}", "-F", "scopes=all").status == 400


def test_sums_are_told_after_a_minute_without_another_request(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    for _ in range(2):
        ask(host, "GET", "/version", "token=wrong", source="127.0.0.2")

    time.sleep(1)
    assert len(lines(host, "authentication.failure")) == 1
    wait_until(lambda: len(lines(host, "authentication.failure")) == 2, 75, 1)
