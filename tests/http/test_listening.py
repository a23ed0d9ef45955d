"""The addresses that the service listens on: one, several, IPv6 and IPv4 together."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import time

import pytest

from jidoteki.core.http import listener
from jidoteki.core.http.listener import EVERYWHERE, sockets
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")

#: Runs a program as if the kernel had no IPv6.
WITHOUT_IPV6 = """
import errno, runpy, socket, sys
class Socket(socket.socket):
    def __init__(self, family=socket.AF_INET, *arguments, **options):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, *arguments, **options)
socket.socket = Socket
del sys.argv[1:4]
from jidoteki.core.cli import main
main()
"""


def status_at(host: Host, address: str) -> str:
    port = host.url.rpartition(":")[2]
    done = subprocess.run(
        ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}",
         f"https://{address}:{port}{PREFIX}/version{host.query('GET', '/version')}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


@needs_ipv6
@pytest.mark.parametrize(
    "hosts",
    [
        *("::", ["::"], ["0.0.0.0", "::"], ["127.0.0.1", "::1"], ["::", "0.0.0.0", "127.0.0.1"]),
        *(["127.0.0.1", "::"], ["::1", "127.0.0.1", "::", "0.0.0.0"]),
    ],
)
def test_both_families_are_served_on_one_port(jidoteki_host: MakeHost, hosts: str | list[str]) -> None:
    host = jidoteki_host(listen={"host": hosts})

    assert [status_at(host, each) for each in ("[::1]", "127.0.0.1")] == ["200", "200"]
    assert "Not listening" not in host.errors()


@needs_ipv6
def test_clients_have_the_address_of_their_family(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(listen={"host": "::"})

    status_at(host, "127.0.0.1")
    status_at(host, "[::1]")

    log = host.appliance.log / "jidoteki-access.log"
    wait_until(lambda: log.exists() and log.read_text().count("/version") >= 2)
    assert "ffff" not in log.read_text()


def test_one_address_is_announced_as_ever(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(listen={"host": "127.0.0.1"})

    assert host.url.startswith("https://127.0.0.1:")


def test_everywhere_is_both_families() -> None:
    opened = sockets(EVERYWHERE, 0)
    try:
        assert [each.family for each in opened][:1] == [socket.AF_INET]
        assert len(opened) == (2 if has_ipv6() else 1)
        assert len({each.getsockname()[1] for each in opened}) == 1
    finally:
        for each in opened:
            each.close()


@pytest.mark.parametrize("hosts", [["0.0.0.0", "::"], "::"])
def test_without_ipv6_there_is_ipv4(jidoteki_host: MakeHost, hosts: str | list[str]) -> None:
    host = jidoteki_host(start=False, listen={"host": hosts})
    host.start(prefix=(sys.executable, "-c", WITHOUT_IPV6))

    assert status_at(host, "127.0.0.1") == "200"
    assert "Traceback" not in host.errors() and "ERROR" not in host.errors()


def test_an_address_that_the_machine_does_not_have_costs_the_others_nothing(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(listen={"host": ["192.0.2.7", "127.0.0.1"]})

    assert status_at(host, "127.0.0.1") == "200"
    wait_until(lambda: "Not listening on 192.0.2.7" in host.errors())


def test_an_address_that_comes_later_is_served_without_a_restart(jidoteki_host: MakeHost) -> None:
    """As one that the machine gets by DHCP after the start, or whose port another program had."""
    host = jidoteki_host(start=False, listen={"host": ["127.0.0.1", "127.0.0.2"]})
    with socket.create_server(("127.0.0.2", 0)) as other:
        host.start("--port", str(other.getsockname()[1]))
        wait_until(lambda: "Not listening on 127.0.0.2" in host.errors())
        assert status_at(host, "127.0.0.1") == "200"

    wait_until(lambda: status_at(host, "127.0.0.2") == "200", 15)
    assert host.errors().count("Not listening") == 1


#: Runs a program where the look-up of a name fails at first, and then waits for a server that does not answer.
SLOW_NAMES = """
import socket, sys, time
former = socket.create_server
looked_up = 0
def create_server(address, **options):
    global looked_up
    if address[0] == "slow.invalid":
        looked_up += 1
        if looked_up > 1:
            print("looking up", file=sys.stderr, flush=True)
            time.sleep(5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return former(address, **options)
socket.create_server = create_server
del sys.argv[1:4]
from jidoteki.core.cli import main
main()
"""


def test_requests_are_answered_while_a_name_to_listen_on_is_looked_up(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False, listen={"host": ["127.0.0.1", "slow.invalid"]})
    host.start(prefix=(sys.executable, "-c", SLOW_NAMES))
    wait_until(lambda: "looking up" in host.errors(), 15)

    began = time.monotonic()
    assert host.get("/version").status == 200

    assert time.monotonic() - began < 2


def test_no_address_at_all_is_an_error(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False, listen={"host": ["192.0.2.7", "192.0.2.8"]})

    with pytest.raises(AssertionError, match="Cannot assign requested address"):
        host.start()
    assert host.process and host.process.wait(10) == 1
    host.process = None


@pytest.mark.parametrize("listen", [{"host": ["127.0.0.1", "::1"]}, {"port": 1}])
def test_a_changed_address_is_said_to_need_a_restart(jidoteki_host: MakeHost, listen: dict[str, object]) -> None:
    host = jidoteki_host(listen={"host": "127.0.0.1"})
    log = host.appliance.log / "jidoteki-admin-api.log"

    host.reload()
    assert "next start" not in log.read_text()
    host.configure(listen={"host": "127.0.0.1", **listen})
    host.reload()

    wait_until(lambda: "listen.host and listen.port were changed: they count from the next start on" in log.read_text())
    assert host.get("/version").status == 200


@needs_ipv6
def test_a_free_port_is_free_at_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    listening, tried = listener._listening, []

    def taken_twice(host: str, port: int) -> socket.socket:
        tried.append(port)
        if port and len(tried) < 5:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return listening(host, port)

    monkeypatch.setattr(listener, "_listening", taken_twice)
    opened = sockets(EVERYWHERE, 0)
    for each in opened:
        each.close()

    assert len(opened) == 2
