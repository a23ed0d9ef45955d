"""The service without systemd: with OpenRC on System V's init as process 1, with runit, and with an init.d script."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import NOT_BOOTED
from guestkit import ADMIN, TOKEN, WITHOUT_SYSTEMD, CannotBootError, Guest, base, booted, copied, enter
from walks import commands

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import wait_until

PROVISION, OPENRC, RUNIT, SCRIPT = commands("vendors.md", "Without systemd")
EXAMPLES = "/usr/share/doc/jidoteki-admin-api/examples"
ACTIONS = ("start", "stop", "restart", "reload", "status")
#: Asks twice on one connection; the second time when its file is gone.
CLIENT = f"""
import http.client, os, ssl, time
connection = http.client.HTTPSConnection("127.0.0.1", 8443, timeout=30, context=ssl._create_unverified_context())
def ask():
    connection.request("GET", "{PREFIX}/version", headers={{"Authorization": "Bearer {TOKEN}"}})
    answer = connection.getresponse()
    answer.read()
    return answer.status
print(ask(), flush=True)
kept = connection.sock
while os.path.exists("/root/waiting"):
    time.sleep(0.05)
print(ask(), connection.sock is kept)
"""


class Supervisor(NamedTuple):
    """What starts the service."""

    install: str
    """The commands of the documentation."""
    act: dict[str, str]
    """The command for each action."""
    says: str
    """In the status of a service that runs."""
    says_not: str
    """In that of one that does not."""
    remove: str
    restarts: bool = True
    """Whether it restarts what crashed."""


RC, SV, INIT = (
    "rc-service jidoteki-admin-api",
    "sv -w 20 {} jidoteki-admin-api",
    "/usr/local/etc/init.d/jidoteki-admin-api",
)
SUPERVISORS = {
    "openrc": Supervisor(
        OPENRC,
        {action: f"{RC} {action}" for action in ACTIONS},
        "started",
        "stopped",
        "rc-update del jidoteki-admin-api default; rm /etc/init.d/jidoteki-admin-api",
    ),
    "runit": Supervisor(
        RUNIT,
        {action: SV.format({"start": "up", "stop": "down", "reload": "hup"}.get(action, action)) for action in ACTIONS},
        "run: jidoteki-admin-api",
        "down: jidoteki-admin-api",
        "rm /etc/service/jidoteki-admin-api",
    ),
    "init.d": Supervisor(
        SCRIPT,
        {action: f"{INIT} {action}" for action in ACTIONS},
        "is running",
        "is not running",
        f"rm {INIT}",
        restarts=False,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def machine_of_others(suite: str, deb: Path, vendor: Path) -> Iterator[Guest]:
    """A guest without systemd, with the product provisioned for root, and runit beside OpenRC."""
    if suite != "bookworm":
        pytest.skip("one system without systemd is enough")
    try:
        tree = base(suite, "others", packages=WITHOUT_SYSTEMD)
    except CannotBootError as error:
        pytest.skip(f"{NOT_BOOTED}: {error}")
    with copied(tree) as copy:
        # What the package has of the product itself: its other files are for systemd.
        subprocess.run(["dpkg-deb", "--extract", deb, copy], check=True)
        for each in (copy / "usr/lib/systemd/system").glob("jidoteki*"):
            each.unlink()
        (copy / "root/keys").mkdir()
        for name in ("updates.key", "updates.pub"):
            (copy / "root/keys" / name).write_bytes((vendor / name).read_bytes())
        enter(copy, "sh", "-ec", f"cd /root\n{PROVISION}")
        (copy / ADMIN.lstrip("/") / "etc/api.token").write_text(TOKEN)
        with (copy / "etc/inittab").open("a") as inittab:
            inittab.write("SV:123456:respawn:/usr/bin/runsvdir -P /etc/service\n")
        with booted(copy, init="/sbin/init") as guest:
            wait_until(lambda: guest.run("pgrep", "-x", "runsvdir", check=False).returncode == 0)
            wait_until(lambda: guest.sh("rc-status --runlevel") in ("default\n", "2\n"), 60)
            yield guest


@pytest.fixture(scope="module", params=SUPERVISORS)
def supervisor(request: pytest.FixtureRequest, machine_of_others: Guest) -> Iterator[Supervisor]:
    """One that was installed by the commands of the documentation."""
    supervisor = SUPERVISORS[request.param]
    machine_of_others.sh(f"cd {EXAMPLES}\n{supervisor.install}")
    yield supervisor
    machine_of_others.sh(f"{supervisor.act['stop']}; {supervisor.remove}")


@pytest.fixture
def guest(machine_of_others: Guest, supervisor: Supervisor) -> Guest:
    """The guest, whose service runs and serves."""
    guest = machine_of_others

    def status() -> str:
        return guest.run("sh", "-c", f"{supervisor.act['status']} 2>&1", check=False).stdout

    # runit takes a few seconds to notice that there is a service.
    wait_until(lambda: supervisor.says in status() or supervisor.says_not in status())
    if supervisor.says not in status():
        guest.sh(supervisor.act["start"])
    wait_until(guest.serves)
    return guest


def pid(guest: Guest) -> int:
    """Return the process of the service, 0 if there is none."""
    found = guest.run("pgrep", "--oldest", "--full", "jidoteki serv[e]$", check=False).stdout
    return int(found or 0)


def test_it_runs_as_root_and_says_so(guest: Guest, supervisor: Supervisor) -> None:
    assert guest.sh("cat /proc/1/comm") == "init\n"
    assert guest.sh(f"ps -o user= -p {pid(guest)}") == "root\n"
    assert supervisor.says in guest.sh(supervisor.act["status"])


def test_a_reload_keeps_connections(guest: Guest, supervisor: Supervisor) -> None:
    before = pid(guest)
    configuration = guest.path("/usr/local/etc/jidoteki-admin-api.json")
    kept = configuration.read_text()
    guest.path("/root/client.py").write_text(CLIENT)
    guest.sh("touch /root/waiting; python3 /root/client.py >/root/said 2>&1 & echo $! >/root/client.pid")
    wait_until(lambda: guest.path("/root/said").read_text() == "200\n")
    configuration.write_text(kept.replace('"settings"', '"settings", "metrics"'))

    guest.sh(supervisor.act["reload"])

    wait_until(lambda: "metrics" in guest.request("GET", "/endpoints")[1])
    guest.path("/root/waiting").unlink()
    wait_until(lambda: guest.path("/root/said").read_text().count("\n") > 1)
    assert guest.path("/root/said").read_text() == "200\n200 True\n"
    assert pid(guest) == before
    configuration.write_text(kept)


def test_a_restart_brings_another_process(guest: Guest, supervisor: Supervisor) -> None:
    before = pid(guest)

    guest.sh(supervisor.act["restart"])

    wait_until(guest.serves)
    assert pid(guest) not in (0, before)


def test_a_stop_is_the_end_within_ten_seconds(guest: Guest, supervisor: Supervisor) -> None:
    started = time.monotonic()

    guest.sh(supervisor.act["stop"])

    assert pid(guest) == 0
    assert time.monotonic() - started < 10
    said = guest.run("sh", "-c", supervisor.act["status"], check=False)
    assert supervisor.says_not in said.stdout
    time.sleep(2)
    assert pid(guest) == 0


@pytest.mark.parametrize("time_", ["first", "second"])
def test_a_crash_is_restarted_where_there_is_a_supervisor(guest: Guest, supervisor: Supervisor, time_: str) -> None:
    before = pid(guest)

    guest.run("kill", "-KILL", str(before))

    if supervisor.restarts:
        wait_until(lambda: pid(guest) not in (0, before))
        wait_until(guest.serves)
    else:
        assert supervisor.says_not in guest.run("sh", "-c", supervisor.act["status"], check=False).stdout
        guest.sh(supervisor.act["start"])
        assert guest.serves()
