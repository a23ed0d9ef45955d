"""Updates on trial of which it cannot be told how far they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rebootkit import Rebooting, is_told

from jidoteki.testing import MakeHost, wait_until

State = dict[str, Any]

GOOD = '[ ! -e "$JIDO_ADMIN_PATH/bad" ]\n'
DAMAGES: dict[str, Callable[[State], str]] = {
    "a step of another version": lambda state: json.dumps({**state, "step": "probing"}),
    "something that is nested too deeply": lambda state: "[" * 60_000,
    "a count that is a text": lambda state: json.dumps({**state, "step": "rolling back", "ways_back": "1"}),
}


@pytest.fixture
def rebooting(jidoteki_host: MakeHost) -> Rebooting:
    return Rebooting(jidoteki_host)


def restart_damaged(rebooting: Rebooting, id: str, damage: Callable[[State], str]) -> None:
    """Restart into a system that no `verify.sh` takes, after damaging what is known of the trial."""
    rebooting.goes_down()
    rebooting.go_down(id)
    path = rebooting.host.appliance.jobs / f"{id}.state"
    path.write_text(damage(json.loads(path.read_text())))
    (rebooting.admin / "bad").touch()
    rebooting.come_back()


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_that_nobody_can_verify_is_rolled_back(rebooting: Rebooting, tmp_path: Path, damage: str) -> None:
    update = 'rm -rf "$PWD"\n' if "nested" in damage else ""  # what the package says of itself is kept, too
    id = rebooting.post(tmp_path, update=update, verify=GOOD, rollback="")
    restart_damaged(rebooting, id, DAMAGES[damage])
    rebooting.goes_down(2)
    rebooting.restart(id)

    job = rebooting.ended(id)
    assert (job["status"], job["error-code"]) == ("failed", "E2003")
    assert job["error-message"].startswith("How far the update was ")
    assert job["error-message"].endswith(". The former version is back")
    assert rebooting.ran == ["update", "verify", "rollback"]
    assert (rebooting.live, rebooting.reboots) == ("old", 2)
    assert rebooting.host.get("/version").json == {"version": "1.0.0"}
    is_told(rebooting, "E2003", "change.failed", job["error-message"])


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_without_a_way_back_is_told_everywhere(rebooting: Rebooting, tmp_path: Path, damage: str) -> None:
    id = rebooting.post(tmp_path, update="", verify=GOOD)
    restart_damaged(rebooting, id, DAMAGES[damage])

    job = rebooting.ended(id)
    assert (job["status"], job["error-code"]) == ("failed", "E2004")
    assert job["error-message"].endswith(". There is no rollback.sh: what was changed stays")
    assert (rebooting.live, rebooting.reboots) == ("new", 1)
    assert rebooting.host.get("/version").json == {"version": "1.0.0"}
    is_told(rebooting, "E2004", "change.lost", job["error-message"])


KILL = """
pid=$(grep -o '"pid": *[0-9]*' "$JIDO_ADMIN_PATH"/jobs/*-update.json | grep -o '[0-9]*$')
[ "$pid" -gt 1 ] && kill -9 "$pid"
sleep 1
"""


def test_a_way_back_that_cannot_be_counted_is_begun_once(rebooting: Rebooting, tmp_path: Path) -> None:
    id = rebooting.post(tmp_path, {"reboot": False}, update="", verify="sleep 60\n", rollback=KILL)
    wait_until(lambda: "verify" in rebooting.ran)
    rebooting.go_down(id)
    path = rebooting.host.appliance.jobs / f"{id}.state"
    path.unlink()
    (path / "in-the-way").mkdir(parents=True)

    rebooting.come_back()

    job = rebooting.ended(id)
    assert job["error-code"] == "E2004"
    assert job["error-message"].endswith(". rollback.sh did not end, nor can it be counted")
    assert rebooting.ran.count("rollback") == 1
    is_told(rebooting, "E2004", "change.lost", job["error-message"])
