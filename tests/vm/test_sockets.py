"""The socket unit: what systemd listens on while the service is away."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from guestkit import SERVICE, TOKEN, Guest

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import wait_until

#: Asks over and over, each time on a new connection, until its file is gone; prints how each request ended.
CLIENT = f"""
import collections, http.client, os, ssl
context = ssl._create_unverified_context()
ended = collections.Counter()
while os.path.exists("/root/asking"):
    try:
        connection = http.client.HTTPSConnection("127.0.0.1", 8443, timeout=30, context=context)
        connection.request("GET", "{PREFIX}/version", headers={{"Authorization": "Bearer {TOKEN}"}})
        ended[str(connection.getresponse().status)] += 1
    except Exception as error:
        ended[type(error).__name__] += 1
    finally:
        connection.close()
print(*sorted(ended))
"""
RESTARTS = 4


def answers_meanwhile(guest: Guest, act: Callable[[], None]) -> set[str]:
    """Return how the requests ended that a client made meanwhile."""
    guest.path("/root/client.py").write_text(CLIENT)
    guest.path("/root/asking").touch()
    said: list[subprocess.CompletedProcess[str]] = []
    asking = threading.Thread(target=lambda: said.append(guest.run("python3", "/root/client.py", timeout=120)))
    asking.start()
    try:
        act()
    finally:
        guest.path("/root/asking").unlink()
        asking.join(60)
    return set(said[0].stdout.split())


def restart(guest: Guest) -> None:
    for _ in range(RESTARTS):
        guest.run("systemctl", "restart", SERVICE)
        wait_until(guest.serves)


def kill(guest: Guest) -> None:
    before = guest.main_pid
    guest.run("kill", "-KILL", str(before))
    wait_until(lambda: guest.show("MainPID") not in ("0", str(before)))
    wait_until(guest.serves)


@pytest.fixture
def served_by_socket(guest: Guest) -> Iterator[Guest]:
    guest.sh(f"systemctl stop {SERVICE}; systemctl start {SERVICE}.socket; systemctl start {SERVICE}")
    yield guest
    guest.sh(f"systemctl stop {SERVICE}.socket {SERVICE}; systemctl start {SERVICE}")


@pytest.mark.short
def test_no_client_notices_a_restart(served_by_socket: Guest) -> None:
    assert answers_meanwhile(served_by_socket, lambda: restart(served_by_socket)) == {"200"}


@pytest.mark.short
def test_only_whoever_was_being_answered_notices_that_it_is_killed(served_by_socket: Guest) -> None:
    ended = answers_meanwhile(served_by_socket, lambda: kill(served_by_socket))

    assert "200" in ended
    assert ended <= {"200", "RemoteDisconnected", "ConnectionResetError", "SSLEOFError"}  # none was refused


def test_the_first_client_starts_the_service(guest: Guest) -> None:
    guest.sh(f"systemctl stop {SERVICE}; systemctl start {SERVICE}.socket")
    try:
        assert guest.serves()
        for each in ("127.0.0.1", "[::1]"):
            assert guest.sh(f"curl -sk -o /dev/null -w '%{{http_code}}' https://{each}:8443{PREFIX}/version") == "403"
    finally:
        guest.sh(f"systemctl stop {SERVICE}.socket {SERVICE}; systemctl start {SERVICE}")
