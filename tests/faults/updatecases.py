"""Updates on trial in each of their states, on an appliance that restarts when it is asked to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from faultkit import ask
from rebootkit import Rebooting

from jidoteki.testing import Answer, Host, wait_until

HOLD: Final = """n=$(grep -c {0} "$JIDO_ADMIN_PATH/ran"); : > "$JIDO_ADMIN_PATH/at-{0}-$n"
while [ -e "$JIDO_ADMIN_PATH/hold-{0}-$n" ]; do sleep 0.1; done
"""
"""The n-th run of a program waits here while a file says so."""
FAILS_SECOND: Final = '[ "$(grep -c verify "$JIDO_ADMIN_PATH/ran")" = 1 ] || exit 1\n'
PATIENCE: Final = 240
_LEFT = (".state", ".trial", ".reverting", ".pending")


@dataclass(frozen=True)
class State:
    """A state in which a fault strikes.

    :param held: the program that is held up there, and in which of its runs; None while the appliance is to restart.
    :param reboots: how many restarts were asked for by then.
    :param fails: whether the second verification fails.
    """

    held: tuple[str, int] | None
    reboots: int
    fails: bool = False


STATES: Final = {
    "updating": State(("update", 1), 0),
    "verifying": State(("verify", 1), 0),
    "going down": State(None, 1),
    "verifying again": State(("verify", 2), 1),
    "rolling back": State(("rollback", 1), 1, True),
    "going down again": State(None, 2, True),
}


@dataclass
class UpdateTrial:
    """An update on trial.

    :param forms: where packages are made.
    """

    rebooting: Rebooting
    forms: Path
    _obeyed: int = field(default=0, init=False)

    @property
    def host(self) -> Host:
        """The host."""
        return self.rebooting.host

    def begin(self, state: State) -> str:
        """Begin an update, and return its id once it is in a state."""
        if state.held:
            self._held(state).touch()
        verify = HOLD.format("verify") + (FAILS_SECOND if state.fails else "")
        id = self.rebooting.post(
            self.forms, update=HOLD.format("update"), verify=verify, rollback=HOLD.format("rollback")
        )
        self._obey(id, state.reboots - (state.held is None))
        if state.held:
            wait_until((self.rebooting.admin / "at-{}-{}".format(*state.held)).exists, PATIENCE)
        else:
            self.rebooting.goes_down(state.reboots)
        return id

    def release(self, state: State) -> None:
        """Let go on what is held up."""
        if state.held:
            self._held(state).unlink(missing_ok=True)

    def _held(self, state: State) -> Path:
        assert state.held
        return self.rebooting.admin / "hold-{}-{}".format(*state.held)

    def _obey(self, id: str, times: int) -> None:
        while self._obeyed < times:
            self.rebooting.goes_down(self._obeyed + 1)
            self._obeyed += 1
            self.rebooting.restart(id)

    def ended(self, id: str) -> Mapping[str, Any]:
        """The record of a run once it has ended; the appliance restarts as often as it is asked to."""
        deadline = time.monotonic() + PATIENCE
        while self.record(id)["status"] == "running" and time.monotonic() < deadline:
            self._obey(id, min(self.rebooting.reboots, self._obeyed + 1))
            time.sleep(0.05)
        return self.record(id)

    def go_under(self, id: str) -> None:
        """Restart the system, with or without having been asked to."""
        self._obeyed = self.rebooting.reboots
        self.rebooting.restart(id)

    def post(self) -> Answer:
        """Post another update."""
        return self.host.post("/update", "-F", "update=@/etc/hostname")

    def record(self, id: str) -> Mapping[str, Any]:
        """The record of a run."""
        with contextlib.suppress(OSError, ValueError):
            found: Mapping[str, Any] = json.loads((self.host.appliance.jobs / f"{id}.json").read_text())
            return found
        return {"status": "running", "pid": 0}

    def kill(self, id: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process of a run."""
        pid = int(self.record(id)["pid"])
        if pid > 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def leftovers(self) -> list[str]:
        """What the trial left."""
        return [each.name for each in self.host.appliance.jobs.iterdir() if each.suffix in _LEFT]

    def untold(self, id: str, record: Mapping[str, Any]) -> Iterator[str]:
        """Where the failure of a run is not told, of those places that tell of E2003 and E2004."""
        log, code = self.host.appliance.log, record["error_code"]
        if f",{chr(34)}update {code}" not in (log / "jidoteki-audit.log").read_text():
            yield "the audit log"
        if id not in (log / "jidoteki-admin-api.log").read_text():
            yield "the log of the service"
        if record["error_message"] not in (log / "update.log").read_text():
            yield "the log of updates"
        if code not in ask(self.host, "GET", "/health", self.host.query("GET", "/health")[1:]).body.decode():
            yield "/health"


__all__ = ["PATIENCE", "STATES", "State", "UpdateTrial"]
