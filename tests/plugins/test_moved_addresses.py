"""An appliance in a network namespace whose `network.sh` really moves its address: nobody is locked out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from trialkit import SECONDS, kill_job

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, MakeHost, wait_until

IP = shutil.which("ip") or "/usr/sbin/ip"
FIRST, SECOND, UNREACHABLE = "10.99.0.1", "10.99.0.2", "172.31.255.1"
NETWORK_SH = f"""#!/bin/sh -e
. {{conf}}
{IP} address flush dev eth0
{IP} address add "$ip/24" dev eth0
"""


@dataclass
class Namespace:
    """A network namespace that lives as long as its process."""

    holder: subprocess.Popen[bytes]

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs a program in it."""
        return ("nsenter", "--target", str(self.holder.pid), "--net")

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.prefix, *argv], capture_output=True, text=True, check=False)


@pytest.fixture
def namespaces() -> Iterator[tuple[Namespace, Namespace]]:
    """The namespaces of an appliance, whose eth0 is FIRST, and of a client, in one network."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    command = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 600"]
    made = [Namespace(subprocess.Popen(command, stdout=subprocess.PIPE)) for _ in range(2)]
    try:
        appliance, client = made
        if any(each.holder.stdout is None or each.holder.stdout.readline() != b"ready\n" for each in made):
            pytest.skip("no network namespace can be made here")
        pair = ("link", "add", "cli0", "type", "veth", "peer", "name", "eth0", "netns", str(appliance.holder.pid))
        if client.run(IP, *pair).returncode:
            pytest.skip("no pair of interfaces can be made here")
        for namespace, device, address in ((appliance, "eth0", FIRST), (client, "cli0", "10.99.0.254")):
            assert namespace.run(IP, "address", "add", f"{address}/24", "dev", device).returncode == 0
            assert namespace.run(IP, "link", "set", "lo", "up").returncode == 0
            assert namespace.run(IP, "link", "set", device, "up").returncode == 0
        yield appliance, client
    finally:
        for each in made:
            each.holder.kill()
            each.holder.wait()
            if each.holder.stdout:
                each.holder.stdout.close()


@dataclass
class Movable:
    """An appliance that can be moved, and a client in another namespace."""

    host: Host
    client: Namespace
    directory: Path

    def ask(self, address: str, method: str, path: str, *arguments: str, query: str = "") -> Any:
        """Return the JSON that the appliance answers at an address; None if nobody answers there."""
        port = self.host.url.rpartition(":")[2]
        url = f"https://{address}:{port}{PREFIX}{path}?token={self.host.token}&{query}"
        done = self.client.run("curl", "-sk", "--max-time", "2", "-X", method, *arguments, url)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def move(self, to: str, query: str = f"confirm={SECONDS}", asked: str = FIRST) -> str:
        """Post another address; return the id of the job."""
        network = {"interface": "eth0", "hostname": "moved.host", "ip_address": to, "netmask": "/24"}
        settings = self.directory / "settings.json"
        settings.write_text(json.dumps({"network": {**network, "gateway": f"{to.rpartition('.')[0]}.254"}}))
        before = {each.name for each in self.host.appliance.jobs.glob("*.json")}
        assert (
            self.ask(asked, "POST", "/settings", "-F", f"settings=@{settings}", query=query)["Status"] == "202 Accepted"
        )
        new = wait_until(lambda: {each.name for each in self.host.appliance.jobs.glob("*-settings.json")} - before)
        return str(new.pop()).removesuffix(".json")

    def start(self, appliance: Namespace) -> None:
        self.host.start(prefix=appliance.prefix)


@pytest.fixture
def movable(jidoteki_host: MakeHost, namespaces: tuple[Namespace, Namespace], tmp_path: Path) -> Movable:
    appliance, client = namespaces
    host = jidoteki_host(start=False, listen={"host": "0.0.0.0"})  # noqa: S104  # of a namespace of its own
    script = host.appliance.bin / "network.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(NETWORK_SH.format(conf=host.appliance.system_etc / "network.conf"))
    script.chmod(0o755)
    movable = Movable(host, client, tmp_path)
    movable.start(appliance)
    id = movable.move(FIRST, "")
    wait_until(lambda: movable.ask(FIRST, "GET", f"/jobs/{id}")["status"] == "success")
    return movable


def test_a_move_is_confirmed_over_the_new_address(movable: Movable) -> None:
    id = movable.move(SECOND)
    wait_until(lambda: movable.ask(SECOND, "GET", "/version"))
    assert movable.ask(FIRST, "GET", "/version") is None

    confirmed = wait_until(lambda: movable.ask(SECOND, "POST", "/settings/confirm"))

    assert confirmed == {"Status": "200 OK"}
    assert movable.ask(SECOND, "GET", f"/jobs/{id}")["status"] == "success"
    assert movable.ask(SECOND, "GET", "/settings")["network"]["ip_address"] == SECOND


@pytest.mark.parametrize("to", [SECOND, UNREACHABLE])
def test_a_move_that_nobody_confirms_is_undone(movable: Movable, to: str) -> None:
    id = movable.move(to)
    wait_until(lambda: movable.ask(FIRST, "GET", "/version") is None)

    wait_until(lambda: movable.ask(FIRST, "GET", "/version"), 40)

    job = wait_until(lambda: (found := movable.ask(FIRST, "GET", f"/jobs/{id}"))["status"] != "running" and found)
    assert job["error-code"] == "E2001"
    assert movable.ask(SECOND, "GET", "/version") is None
    assert movable.ask(FIRST, "GET", "/settings")["network"]["ip_address"] == FIRST


def test_a_move_is_undone_after_a_power_cut(movable: Movable, namespaces: tuple[Namespace, Namespace]) -> None:
    id = movable.move(UNREACHABLE, "confirm=3600")
    wait_until(lambda: movable.ask(FIRST, "GET", "/version") is None)
    movable.host.stop(signal.SIGKILL)
    kill_job(movable.host, id)

    movable.start(namespaces[0])

    wait_until(lambda: movable.ask(FIRST, "GET", "/version"), 40)
