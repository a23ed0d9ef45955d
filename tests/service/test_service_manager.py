"""What the service tells the service manager, over a socket as systemd has it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jidoteki.core.service.service_manager import ServiceManager
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that messages arrive at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        yield listening


def told(manager: socket.socket, wanted: str) -> list[str]:
    """Return the messages up to the one that begins with a text."""
    said = [manager.recv(4096).decode()]
    while not said[-1].startswith(wanted):
        said.append(manager.recv(4096).decode())
    return said


def start(host: Host, manager: socket.socket, watchdog: float = 0.6) -> list[str]:
    """Start a host as systemd does, and return what it said until it was ready."""
    name = manager.getsockname()
    host.start(env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": str(int(watchdog * 1e6))})
    return told(manager, "READY=1")


def test_a_start_is_told_once_requests_are_answered(jidoteki_host: MakeHost, manager: socket.socket) -> None:
    host = jidoteki_host(start=False)

    said = start(host, manager)

    assert said[0].startswith("EXTEND_TIMEOUT_USEC=")
    assert host.get("/version").status == 200


SLOW = """
import pathlib, time
from jidoteki.hookspecs import hookimpl

@hookimpl
def jidoteki_startup(appliance, service):
    (appliance.root / "starts").touch()
    time.sleep(8)
"""


def test_no_more_time_is_asked_for_once_a_start_is_to_end(
    jidoteki_host: MakeHost, manager: socket.socket, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    host = jidoteki_host(load=[tmp_path / "slow.py"], start=False)
    environment = {"NOTIFY_SOCKET": manager.getsockname()}
    starting = threading.Thread(target=host.start, kwargs={"env": environment})
    starting.start()
    wait_until((host.appliance.root / "starts").exists)
    assert host.process

    host.process.send_signal(signal.SIGTERM)
    before = told(manager, "EXTEND_TIMEOUT_USEC=")
    after = told(manager, "STOPPING=1")
    starting.join(30)

    assert (len(before), [each for each in after if each.startswith("EXTEND")]) == (1, [])
    assert host.process.wait(20) == 0


def test_the_watchdog_hears_of_a_loop_that_turns_and_of_none_that_stands(
    jidoteki_host: MakeHost, manager: socket.socket
) -> None:
    host = jidoteki_host(start=False)
    start(host, manager)
    beats = [told(manager, "WATCHDOG=1") for _ in range(3)]
    assert host.process

    host.process.send_signal(signal.SIGSTOP)
    try:
        manager.settimeout(1.5)
        with pytest.raises(TimeoutError):
            told(manager, "nothing else")
    finally:
        host.process.send_signal(signal.SIGCONT)

    assert beats == [["WATCHDOG=1"]] * 3
    manager.settimeout(20)
    assert told(manager, "WATCHDOG=1")


def test_a_reload_and_the_end_are_told(jidoteki_host: MakeHost, manager: socket.socket) -> None:
    host = jidoteki_host(start=False)
    start(host, manager, watchdog=3600)

    host.reload()
    reloaded = told(manager, "READY=1")
    host.stop()

    assert reloaded[-2].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert told(manager, "STOPPING=1")


def test_a_reload_that_fails_ends_as_well(jidoteki_host: MakeHost, manager: socket.socket) -> None:
    host = jidoteki_host(start=False)
    start(host, manager, watchdog=3600)
    host.appliance.configuration.write_text("{")

    host.reload()

    assert told(manager, "RELOADING=1")
    assert told(manager, "READY=1")


def test_a_manager_that_is_gone_is_no_hindrance(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host(start=False)

    host.start(env={"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "600000"})

    wait_until(lambda: "The service manager cannot be told READY" in host.errors())
    assert host.get("/version").status == 200


def test_names_in_the_abstract_namespace_are_understood() -> None:
    name = f"jidoteki-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)

        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready()

        assert listening.recv(100) == b"READY=1"


def test_programs_of_the_service_cannot_speak_in_its_name() -> None:
    environ = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}

    ServiceManager(environ)

    assert environ == {"PATH": "/bin"}


def test_the_watchdog_of_another_process_is_not_told(manager: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
    others = ServiceManager(dict(environ))
    own = ServiceManager({**environ, "WATCHDOG_PID": str(os.getpid())})
    for each in (others, own):
        each.ready()
        each.turned()
        each.turned()

    said = [manager.recv(100) for _ in range(3)]

    assert said == [b"READY=1", b"READY=1", b"WATCHDOG=1"]


def test_without_a_manager_nothing_is_said() -> None:
    silent = ServiceManager({})

    for each in (silent.turned, silent.ready, silent.turned, silent.reloading, silent.stopping):
        each()
