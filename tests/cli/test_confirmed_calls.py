"""`jidoteki call --confirm` and `Client.confirm`: what cuts off the client that changed it is put back."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
import trialkit
from trialkit import NEW, OLD, prepare

from jidoteki.client import ApiResponseError, Client, UnreachableError, confirming
from jidoteki.testing import Host, MakeHost
from jidoteki.testing.host import COMMAND

NOWHERE = "https://127.0.0.1:1"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    prepare(host)
    return host


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(NEW))
    return path


def post(host: Host, settings: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return call(host, "POST", "/settings", "-F", f"settings=@{settings}", *options)


def call(host: Host, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user who trusts the certificate and has the token."""
    environment = {**os.environ, "JIDOTEKI_TOKEN": str(host.token), "JIDOTEKI_URL": host.url}
    argv = [*COMMAND, "call", *arguments, "--cacert", str(host.certificate)]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False
    )


@pytest.mark.parametrize("options", [("--confirm",), ("--confirm", "30")])
def test_a_change_is_confirmed_once_it_is_complete(host: Host, settings: Path, options: tuple[str, ...]) -> None:
    trialkit.vendor_script(host, "sleep 2")

    done = post(host, settings, *options)

    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "success"), done.stderr
    assert host.request("GET", "/settings").json == NEW


def test_a_change_is_confirmed_at_another_address(host: Host, settings: Path) -> None:
    done = post(host, settings, "--confirm", "30", "--confirm-at", host.url.replace("127.0.0.1", "localhost"))

    assert done.returncode == 0, done.stderr
    assert host.request("GET", "/settings").json == NEW


def test_nobody_at_the_new_address_ends_with_what_the_old_one_says(host: Host, settings: Path) -> None:
    done = post(host, settings, "--confirm", "10", "--confirm-at", NOWHERE)

    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"Waiting until the change can be confirmed at {NOWHERE}"
    told = "jidoteki: Nobody confirmed the change within 10 seconds. What was changed is back as it was (E2001)"
    assert done.stderr.splitlines()[-1] == told
    assert host.request("GET", "/settings").json == OLD


def test_a_change_that_fails_tells_why_it_was_put_back(host: Host, settings: Path) -> None:
    trialkit.vendor_script(host, f"grep -q new.host {host.appliance.system_etc}/network.conf && exit 3")

    done = post(host, settings, "--confirm", "30")

    assert done.returncode == 1
    assert "network.sh failed with exit status 3. What was changed is back as it was (E2001)" in done.stderr
    assert host.request("GET", "/settings").json == OLD


def test_a_dry_run_waits_for_nothing(host: Host, settings: Path) -> None:
    done = call(host, "POST", "/settings?dry-run=1", "-F", f"settings=@{settings}", "--confirm")

    assert json.loads(done.stdout)["dry-run"] is True
    assert host.request("GET", "/settings").json == OLD


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("GET", "/settings", "--confirm"), "--confirm is for POST"),
        (("POST", "/settings", "--confirm-at", NOWHERE), "--confirm-at needs --confirm"),
        (("POST", "/settings", "--confirm", "9"), "10<=x<=3600"),
    ],
)
def test_a_confirm_that_cannot_be_meant_so_is_refused(host: Host, arguments: tuple[str, ...], told: str) -> None:
    done = call(host, *arguments)

    assert done.returncode == 2
    assert told in done.stderr


async def test_the_client_confirms_what_waits_and_nothing_else(host: Host, settings: Path) -> None:
    async with Client(host.url, host.token, cafile=host.certificate) as api:
        with pytest.raises(ApiResponseError, match="Nothing waits for a confirmation"):
            await api.confirm("/settings")
        answer = await api.request("POST", "/settings?confirm=60", files={"settings": settings})

        confirmed = await api.confirm("/settings?confirm=60")

        assert confirmed.data == {"Status": "200 OK"}
        assert (await api.wait_for(answer))["status"] == "success"


async def test_the_client_tries_no_longer_than_the_trial_takes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirming, "MARGIN", -9)
    async with Client(host.url, host.token, cafile=host.certificate) as api, api.at(NOWHERE) as there:
        with pytest.raises(UnreachableError):
            await asyncio.wait_for(there.confirm("/settings?confirm=10", interval=0.1), 30)


async def test_the_client_gives_up_where_the_appliance_is_away(host: Host) -> None:
    async with Client(host.url, host.token, cafile=host.certificate) as api, api.at(NOWHERE) as there:
        with pytest.raises(UnreachableError):
            await there.confirm("/settings", seconds=0.5, interval=0.1)
