"""Listening sockets that outlive the service, handed over as systemd does."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jidoteki.core.service import handed_sockets
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

#: Runs a program with the listed descriptors from 3 on, and what systemd says of them.
HANDING = """
import fcntl, os, sys
numbers = [int(each) for each in sys.argv[1].split(",")]
kept = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in numbers]
for index, each in enumerate(kept):
    os.dup2(each, 3 + index)
os.environ.update(LISTEN_FDS=str(len(kept)), LISTEN_FDNAMES=sys.argv[2], LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_server((address, 0), family=socket.AF_INET, backlog=1024) as server:
        server.set_inheritable(True)
        yield server


def start(host: Host, servers: list[socket.socket], names: str, *arguments: str) -> None:
    """Start a host as systemd does with sockets; standard files aside, nothing else is inherited."""
    inherited = tuple(each.fileno() for each in servers)
    popen = subprocess.Popen
    numbers = ",".join(map(str, inherited))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda *given, **options: popen(*given, **options, pass_fds=inherited))
        host.start(*arguments, prefix=(sys.executable, "-c", HANDING, numbers, names))


def status_at(host: Host, server: socket.socket, scheme: str = "https") -> str:
    url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}{PREFIX}/version{host.query('GET', '/version')}"
    argv = ["curl", "-sk", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", url]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def test_sockets_are_served_by_their_names(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    with listening() as https, listening() as http:
        start(host, [https, http], "jidoteki-admin-api.socket:http")

        assert host.url == f"https://127.0.0.1:{https.getsockname()[1]}"
        assert status_at(host, https) == "200"
        assert status_at(host, http, "http") == "200"


def test_a_chosen_port_is_served_beside_them(jidoteki_host: MakeHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host = jidoteki_host(start=False)
    with listening() as https:
        start(host, [https], "", "--port", str(port))

        assert status_at(host, https) == "200"
        host.url = f"https://127.0.0.1:{port}"
        assert host.get("/version").status == 200


def test_an_address_that_is_served_is_not_opened_again(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    with listening("0.0.0.0") as https:  # noqa: S104  # what a socket unit has
        start(host, [https], "", "--host", "127.0.0.1", "--port", str(https.getsockname()[1]))

        assert status_at(host, https) == "200"
        assert "Not listening" not in host.errors()


def test_clients_wait_while_it_restarts(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    with listening() as https:
        start(host, [https], "")
        host.stop()
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(status_at(host, https)))
        asking.start()
        time.sleep(0.5)

        start(host, [https], "")

        asking.join(20)
        assert answers == ["200"]


RESTARTS = 5
CLIENTS = 4


def asking(server: socket.socket, path: str, ended: Counter[str], until: threading.Event) -> None:
    """Ask over and over, each time on a new connection; count how each request ended."""
    context = ssl._create_unverified_context()  # noqa: S323  # the certificate is not what this is about
    while not until.is_set():
        connection = http.client.HTTPSConnection("127.0.0.1", server.getsockname()[1], timeout=30, context=context)
        try:
            connection.request("GET", path)
            ended[str(connection.getresponse().status)] += 1
        except OSError as error:
            ended[repr(error)] += 1
        finally:
            connection.close()


def test_no_client_notices_that_it_restarts(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    ended: Counter[str] = Counter()
    until = threading.Event()
    with listening() as https:
        start(host, [https], "")
        of_a_client = (https, f"{PREFIX}/version{host.query('GET', '/version')}", ended, until)
        clients = [threading.Thread(target=asking, args=of_a_client) for _ in range(CLIENTS)]
        for each in clients:
            each.start()
        try:
            for _ in range(RESTARTS):
                time.sleep(0.2)
                host.stop()
                start(host, [https], "")
        finally:
            until.set()
            for each in clients:
                each.join(60)

    assert list(ended) == ["200"], ended


def test_a_request_that_was_on_its_way_is_answered(jidoteki_host: MakeHost) -> None:
    """Between the connection and its first request the service is told to end."""
    host = jidoteki_host()
    port = int(host.url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=host.certificate)
    asked = f"GET {PREFIX}/version{host.query('GET', '/version')} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as connected:
            assert host.process
            host.process.terminate()
            wait_until(lambda: "Ending" in (host.appliance.log / "jidoteki-admin-api.log").read_text())
            connected.sendall(asked.encode())

            assert connected.recv(4096).startswith(b"HTTP/1.1 200")
    started = time.monotonic()
    assert host.process.wait(10) == 0
    assert time.monotonic() - started < 2
    host.process = None


WRONG = {
    "a pipe": ("import os; r, w = os.pipe(); os.dup2(r, 3)", "is no socket"),
    "a datagram socket": ("s = socket.socket(type=socket.SOCK_DGRAM); os.dup2(s.fileno(), 3)", "it is not for TCP"),
    "a socket of files": ("s = socket.socket(socket.AF_UNIX); os.dup2(s.fileno(), 3)", "it is not for TCP"),
    "one that does not listen": ("s = socket.socket(); os.dup2(s.fileno(), 3)", "it does not listen"),
    "nothing": ("os.closerange(3, 9)", "is no socket"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_listened_on_is_left_out_and_told(kind: str) -> None:
    command, told = WRONG[kind]
    script = f"""
import json, os, socket
from jidoteki.core.service import handed_sockets
{command}
environ = {{"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}}
found = handed_sockets.take(environ)
print(json.dumps([len(found.https), len(found.http), environ]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == [0, 0, {}]
    assert told in done.stderr


@pytest.mark.parametrize(
    ("count", "process"), [("1", "1"), ("1", ""), ("-1", ""), ("x", "own"), ("", "own"), ("0", "own")]
)
def test_sockets_of_other_processes_are_not_touched(count: str, process: str) -> None:
    environ = {"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid()) if process == "own" else process}

    found = handed_sockets.take(environ)

    assert found == handed_sockets.HandedSockets()
    assert environ == {}
