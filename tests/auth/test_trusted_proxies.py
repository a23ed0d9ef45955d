"""Behind a reverse proxy: whose address counts for guesses, limits and logs, and whose word about it does not."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from jidoteki.core.addresses import network_of, parse
from jidoteki.core.http.clients import Proxies
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost


class _Request:
    """As much of a request as tells where it comes from."""

    def __init__(self, remote: str, *headers: tuple[str, str]) -> None:
        self.remote = remote
        self.headers = CIMultiDict(headers)


def client_of(
    remote: str,
    *headers: tuple[str, str],
    trusted: tuple[str, ...] = ("10.0.0.0/8", "::1"),
    header: str = "X-Forwarded-For",
) -> str:
    return Proxies(trusted, header, 5).client_of(_Request(remote, *headers))  # type: ignore[arg-type]  # a fake


FOR = "X-Forwarded-For"


@pytest.mark.parametrize(
    ("remote", "headers", "client"),
    [
        ("192.0.2.1", [(FOR, "198.51.100.7")], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [(FOR, "198.51.100.7")], "198.51.100.7"),
        ("10.0.0.1", [(FOR, "203.0.113.9, 198.51.100.7")], "198.51.100.7"),
        ("10.0.0.1", [(FOR, "203.0.113.9, 198.51.100.7, 10.1.2.3")], "198.51.100.7"),
        ("10.0.0.1", [(FOR, "203.0.113.9"), (FOR, "198.51.100.7")], "198.51.100.7"),
        ("10.0.0.1", [(FOR, "10.9.9.9, 10.1.2.3")], "10.9.9.9"),
        ("10.0.0.1", [(FOR, "198.51.100.7:4711")], "198.51.100.7"),
        ("10.0.0.1", [(FOR, "[2001:db8::7]:4711")], "2001:db8::7"),
        ("10.0.0.1", [(FOR, "2001:db8::7")], "2001:db8::7"),
        ("10.0.0.1", [(FOR, "::ffff:198.51.100.7")], "198.51.100.7"),
        ("::ffff:10.0.0.1", [(FOR, "198.51.100.7")], "198.51.100.7"),
        ("10.0.0.1", [(FOR, "198.51.100.7, unknown")], "10.0.0.1"),
        ("10.0.0.1", [(FOR, "198.51.100.7, , 10.1.1.1")], "10.1.1.1"),
        ("10.0.0.1", [("Forwarded", "for=198.51.100.7")], "10.0.0.1"),
    ],
)
def test_the_last_address_that_is_no_trusted_proxy_counts(
    remote: str, headers: list[tuple[str, str]], client: str
) -> None:
    assert client_of(remote, *headers) == client


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("for=198.51.100.7", "198.51.100.7"),
        ('for=203.0.113.9, For="198.51.100.7:80";proto=https', "198.51.100.7"),
        ('by=10.0.0.1;for="[2001:db8::7]:4711";host=a', "2001:db8::7"),
        ('proto=https;host="x;for=6.6.6.1";for=203.0.113.2', "203.0.113.2"),
        ('host="x, for=6.6.6.2";for=203.0.113.3', "203.0.113.3"),
        ('for=6.6.6.6;x=", for=203.0.113.2;host="a"', "10.0.0.1"),
        ("for=6.6.6.6;for=203.0.113.2", "10.0.0.1"),
        ('for=203.0.113.2;host="a', "10.0.0.1"),
        ('for="203.0.113\\.2"', "203.0.113.2"),
        ("for=_hidden", "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
    ],
)
def test_the_standard_header_is_read_where_it_is_configured(said: str, client: str) -> None:
    headers = (("Forwarded", said), (FOR, "192.0.2.99"))

    assert client_of("10.0.0.1", *headers, header="Forwarded") == client


@given(st.text(max_size=200))
def test_whatever_a_header_says_the_client_is_an_address(said: str) -> None:
    assert parse(client_of("10.0.0.1", (FOR, said)))


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_an_ipv6_host_is_one_client_whatever_address_it_picks(address: object, host: int) -> None:
    number = int(address) >> 64 << 64  # type: ignore[call-overload]  # hypothesis gives objects
    if number >> 32 == 0xFFFF or not number:
        return

    from ipaddress import IPv6Address

    assert network_of(str(IPv6Address(number))) == network_of(str(IPv6Address(number | host)))


def ask(host: Host, client: str, token: str) -> tuple[int, float]:
    """One request through the proxy, which here is this very machine."""
    began = time.monotonic()
    answer = host.get("/version", "-H", f"X-Forwarded-For: {client}", auth="none", query=f"token={token}")
    return answer.status, time.monotonic() - began


def test_a_guesser_behind_the_proxy_keeps_nobody_else_waiting(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(listen={"trusted-proxies": ["127.0.0.1"]})

    with ThreadPoolExecutor(20) as pool:
        guesses = [pool.submit(ask, host, "198.51.100.66", f"wrong{number}") for number in range(20)]
        time.sleep(0.5)
        others = [ask(host, "198.51.100.7", str(host.token)) for _ in range(5)]
        for each in guesses:
            each.cancel()
        statuses = {each.result()[0] for each in guesses if not each.cancelled()}

    assert [status for status, _ in others] == [200] * 5
    assert sum(seconds for _, seconds in others) < 7  # a turn of 2 seconds each would take longer
    assert statuses == {403, 429}
    lines = [line for line in host.audit() if line[4] == "authentication.failure"]
    assert {line[2] for line in lines} == {"198.51.100.66"}


def test_the_logs_name_the_client_and_not_the_proxy(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(listen={"trusted-proxies": ["127.0.0.1"]})

    ask(host, "198.51.100.7", str(host.token))
    host.post("/backup", "-F", "action=STOP", "-H", "X-Forwarded-For: 198.51.100.8")
    host.post("/backup", "-F", "action=STOP", "-H", "X-Forwarded-For: 198.51.100.9", source="127.0.0.2")
    host.stop()

    assert "198.51.100.7 GET" in (host.appliance.log / "jidoteki-access.log").read_text()
    assert [line[2] for line in host.audit() if line[4] == "request.begun"] == ["198.51.100.8", "127.0.0.2"]


def test_one_client_behind_the_proxy_cannot_have_all_requests_at_once(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(listen={"trusted-proxies": ["127.0.0.1"]}, limits={"connections-per-address": 3})

    with ThreadPoolExecutor(9) as pool:
        guesses = [pool.submit(ask, host, "198.51.100.66", f"wrong{number}") for number in range(6)]
        time.sleep(0.8)
        other = ask(host, "198.51.100.7", str(host.token))
        statuses = sorted(each.result()[0] for each in guesses)

    assert other[0] == 200
    assert statuses.count(429) >= 2
