"""Changes on trial in each of their states: what posts them, what is in force, and what confirms them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultkit import Reply, ask
from jobcases import NEW_SETTINGS, OLD_SETTINGS, JobCase, State, case_of, settings_form

from jidoteki.testing import Host, wait_until

SECONDS = 10
"""The shortest trial."""
KINDS = {"settings": "network.sh", "certs": "certs.sh"}
"""The job types whose changes can be tried, and the vendor's script of each."""
_ENDINGS = (".former", ".noted", ".trial", ".pending", ".confirmed", ".reverting")


@dataclass(frozen=True)
class Trial:
    """A host on which a change of one kind is tried.

    Its script says in the file `live` what is in force; it is slow the first or the second time where `slow` says so.
    """

    host: Host
    kind: str

    @property
    def case(self) -> JobCase:
        """What is posted, and which files that replaces."""
        return case_of(self.kind)

    @property
    def live(self) -> Path:
        """What the script has put into force."""
        return self.host.appliance.root / "live"

    @property
    def runs(self) -> Path:
        """A line for each run of the script."""
        return self.host.appliance.root / "runs"

    @property
    def keep_slowly(self) -> Path:
        """While it is there, what was changed is kept slowly."""
        return self.host.appliance.admin / "keep-slowly"

    @property
    def _checked(self) -> Path:
        appliance = self.host.appliance
        return {"settings": appliance.system_etc / "network.conf", "certs": self.host.certificate}[self.kind]

    def prepare(self) -> None:
        """Bring the former state into force, with a host that runs."""
        script = self.host.appliance.bin / KINDS[self.kind]
        slow = f"[ -e {self.host.appliance.root}/slow-$(wc -l < {self.runs}) ] && sleep 2"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f"#!/bin/sh\necho run >> {self.runs}\n{slow}\ncp {self._checked} {self.live}\n")
        script.chmod(0o755)
        if self.kind == "settings":
            self.request("POST", "/settings", settings_form(OLD_SETTINGS))
            wait_until(self.live.exists)
            wait_until(lambda: self.record("000001-settings")["status"] == "success")
        else:
            self.live.write_bytes(self._checked.read_bytes())
        self.runs.write_text("")

    def slow(self, run: int) -> None:
        """Let the n-th run of the script take two seconds."""
        (self.host.appliance.root / f"slow-{run}").touch()

    def is_in_force(self, state: State) -> bool:
        """Whether a state is in all files, and in force."""
        return self.case.state(self.host) == state and self.live.read_bytes() == state[self._checked]

    def request(self, method: str, path: str, form: Any = (None, {}), query: str = "", source: str = "") -> Reply:
        """Make a request."""
        asked = "&".join(filter(None, (self.host.query(method, path)[1:], query)))
        return ask(self.host, method, path, asked, form[1], form[0], source or "127.0.0.1")

    def post(self, query: str = f"confirm={SECONDS}") -> Reply:
        """Post the change."""
        method, path, form = self.case.request(self.host)
        return self.request(method, path, form, query)

    def confirm(self, source: str = "") -> int:
        """Confirm the change, and return the status."""
        return self.request("POST", f"/{self.kind}/confirm", source=source).status

    def record(self, id: str) -> Mapping[str, Any]:
        """The record of a run."""
        with contextlib.suppress(OSError, ValueError):
            found: Mapping[str, Any] = json.loads((self.host.appliance.jobs / f"{id}.json").read_text())
            return found
        return {"status": "running", "pid": 0}

    def ended(self, id: str) -> Mapping[str, Any]:
        """The record of a run once it has ended."""
        wait_until(lambda: self.record(id)["status"] != "running", 180, 0.05)
        return self.record(id)

    def is_waiting(self, id: str) -> bool:
        """Whether a run waits for its confirmation, or has ended."""
        return (self.host.appliance.jobs / f"{id}.pending").exists() or self.record(id)["status"] != "running"

    def is_recovered(self, id: str) -> bool:
        """Whether what a run changed need not be put back any more."""
        return not self.record(id).get("unrecovered")

    def leftovers(self) -> list[str]:
        """What trials left."""
        return [each.name for each in self.host.appliance.jobs.iterdir() if each.suffix in _ENDINGS]

    def kill(self, id: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process of a run."""
        pid = int(self.record(id)["pid"])
        if pid > 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


__all__ = ["KINDS", "NEW_SETTINGS", "OLD_SETTINGS", "SECONDS", "Trial"]
