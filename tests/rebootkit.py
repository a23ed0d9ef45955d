"""Updates that restart the appliance to be tried: their packages, and restarts of an appliance in a directory."""

from __future__ import annotations

import contextlib
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trialkit import ended, kill_job

from jidoteki.core.endpoints.update.build import build_package
from jidoteki.hookspecs import boots
from jidoteki.testing import wait_until
from jidoteki.testing.fixtures import MakeHost

SECONDS = 600
"""Within which an appliance goes down that was asked to."""
NOTE = 'echo {0} "$JIDO_NEW_VERSION" >> "$JIDO_ADMIN_PATH/ran"\n'
#: What each program does beside what a test lets it do: it says that it ran, and `live` says what is in force.
PROGRAMS = {
    "update": NOTE.format("update") + 'echo new > "$JIDO_ADMIN_PATH/live"\n',
    "verify": NOTE.format("verify"),
    "rollback": NOTE.format("rollback") + 'echo old > "$JIDO_ADMIN_PATH/live"\n',
}


class Rebooting:
    """A host whose reboot command only says that it was called.

    :param before: called with its root before it starts.
    :param options: of its configuration.
    """

    def __init__(self, make: MakeHost, before: Callable[[Path], object] = lambda root: None, **options: Any) -> None:
        self.host = make(start=False)
        before(self.host.appliance.root)
        self.admin = self.host.appliance.admin
        self._boot = self.host.appliance.root / boots.PATH
        self._boot.parent.mkdir(parents=True, exist_ok=True)
        self._boot.touch()
        self.boot()
        (self.admin / "reboots").write_text("begun\n")
        command = ["sh", "-c", f'echo asked >> "{self.admin}/reboots"; [ ! -e "{self.admin}/refuses" ]']
        update = {"reboot-timeout": SECONDS, **options.pop("update", {})}
        self.host.configure(commands={"reboot": command, **options.pop("commands", {})}, update=update, **options)
        self.host.start()

    def boot(self) -> None:
        """Begin a new boot, as the kernel tells it; on a full disk, too."""
        with self._boot.open("r+") as file:
            file.write(f"{secrets.token_hex(16)}\n")

    def package(
        self, directory: Path, described: dict[str, Any] | None = None, version: str = "2.0.0", **programs: str
    ) -> Path:
        """Make a package.

        :param programs: the shell commands at the end of each; those that are not named are not there.
        """
        vendor = self.host.appliance.root / "vendor"
        source = directory / f"source-{secrets.token_hex(4)}"
        source.mkdir(parents=True)
        (source / "changelog.txt").write_text("What is new\n")
        for name, commands in programs.items():
            (source / f"{name}.sh").write_text(PROGRAMS.get(name, "") + commands)
        package = source.with_suffix(".enc")
        keys = vendor / "updates.key", vendor / "private.pem"
        build_package(source, version, *keys, package, described={"reboot": True, **(described or {})})
        return package

    def post(self, directory: Path, described: dict[str, Any] | None = None, **options: str) -> str:
        """Post what `package` makes, and return the id of its job."""
        package = self.package(directory, described, **options)
        answer = self.host.post("/update", "-F", f"update=@{package}")
        assert answer.status == 202, answer.text
        return answer.headers["Job-Id"]

    @property
    def reboots(self) -> int:
        """How often the reboot command was called."""
        return len((self.admin / "reboots").read_text().splitlines()) - 1

    @property
    def ran(self) -> list[str]:
        """The programs that ran, in order."""
        path = self.admin / "ran"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def live(self) -> str:
        """What is in force."""
        return (self.admin / "live").read_text().strip()

    def goes_down(self, times: int = 1) -> None:
        """Wait until the reboot command was called that often."""
        wait_until(lambda: self.reboots >= times, 60)

    def kill(self, id: str) -> None:
        """Kill the process of a job."""
        with contextlib.suppress(ProcessLookupError):
            kill_job(self.host, id)

    def go_down(self, id: str) -> None:
        """Let service and job die at once."""
        self.host.stop(signal.SIGKILL)
        self.kill(id)

    def come_back(self, new_boot: bool = True) -> None:
        """Start the service, at the port where it was.

        :param new_boot: whether the system was down, too.
        """
        if new_boot:
            self.boot()
        self.host.start("--port", self.host.url.rpartition(":")[2])

    def restart(self, id: str) -> None:
        """Restart the system, whose power fails."""
        self.go_down(id)
        self.come_back()

    def ended(self, id: str) -> dict[str, Any]:
        """Return the record of a job once it has ended."""
        return ended(self.host, id, 120)


def is_told(rebooting: Rebooting, code: str, action: str, message: str) -> None:
    """Assert that a failure is told in all places but its record."""
    host = rebooting.host
    wait_until(lambda: code in host.get("/health").text)
    audit = host.appliance.log / "jidoteki-audit.log"
    wait_until(lambda: f'{action},"update {code}"' in audit.read_text())
    log = host.appliance.log / "jidoteki-admin-api.log"
    wait_until(lambda: message in log.read_text())
    assert message in host.get("/update/log").text
