"""A fake of the object that job handlers receive, for the test's own process: it records calls and runs nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jidoteki.core.config import loading
from jidoteki.hookspecs import Appliance, JobCancelledError, JobError, trials

if TYPE_CHECKING:
    from jidoteki.hookspecs import Job

NOWHERE = Path("/nonexistent")


@dataclass
class FakeJob:
    """A fake job for handlers that the test calls itself: `run(FakeJob(appliance, {"host": "a.example"}))`.

    It implements `jidoteki.hookspecs.Job`. No program is run and nothing is unpacked; use `jidoteki_client` or
    `jidoteki_host` for both, and for `jidoteki_apply` of other plugins.

    :param appliance: such as `jidoteki_appliance` makes.
    :param input: the values that the request handler would pass to `start_job`.
    :param workspace: an empty directory; by default one that does not exist.
    :param config: the plugin's section of the configuration.
    :param host_config: the host's configuration; by default that of an appliance without a configuration file.
    :param dry_run: whether only `check` is called.
    :param id: the id of this run.
    :param confirm: seconds within which the change must be confirmed.
    :param confirmed: whether somebody confirms it.
    :param pending: what `await_confirmation` was told is to be confirmed; None if it was not called.
    :param exit_statuses: of programs and scripts, by file name; 0 for others.
    :param outputs: of programs run by `output`, and of scripts that are listened to, by file name; empty for others.
    :param applied: whether a plugin applies the settings that `apply` offers.
    :param cancelled: whether the job is cancelled: its next step raises JobCancelledError, once.
    :param committed: whether it has passed the point of no return.
    :param previewed: the facts passed to `preview`.
    :param lines: the logged lines.
    :param percentages: the values passed to `progress`.
    :param calls: other calls, in order: the name of the method, and its positional arguments.
    """

    appliance: Appliance
    input: Mapping[str, Any] = field(default_factory=dict)
    workspace: Path = NOWHERE
    config: Mapping[str, Any] = field(default_factory=dict)
    host_config: Mapping[str, Any] = field(default_factory=loading.defaults)
    dry_run: bool = False
    id: str = "000001-fake"
    confirm: int = 0
    confirmed: bool = True
    pending: Mapping[str, Any] | None = None
    exit_statuses: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    applied: bool = False
    cancelled: bool = False
    committed: bool = False
    previewed: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    percentages: list[int] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def preview(self, facts: Mapping[str, Any]) -> None:
        """Add to `previewed` in a dry run."""
        self._step()
        if self.dry_run:
            self.previewed.update(facts)

    def commit(self) -> None:
        """Be cancelled if that was told before; then nothing cancels it."""
        self._step()
        self.committed = True

    def begin_trial(self) -> None:
        """Be cancelled if that was told before; then nothing cancels it."""
        self.commit()

    def restarting(self, why: str) -> None:
        """Add to `calls`."""
        self._step()
        self.calls.append(("restarting", why))

    def await_confirmation(self, pending: Mapping[str, Any] | None = None) -> None:
        """Set `pending`, and wait for nothing.

        :raises JobError: it is to be confirmed, and not `confirmed`.
        """
        self._step()
        if self.confirm:
            self.pending = dict(pending or {})
            if not self.confirmed:
                raise JobError(f"Nobody confirmed the change within {self.confirm} seconds", trials.CODE)

    def progress(self, percentage: int, *, final: bool = False) -> None:
        """Add to `percentages`."""
        self._step()
        self.percentages.append(percentage)

    def log(self, message: str) -> None:
        """Add to `lines`."""
        self._step()
        self.lines.append(message)

    def log_plain(self, message: str) -> None:
        """Add to `lines`."""
        self.log(message)

    def command(
        self,
        *argv: str | Path,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        privileged: bool = False,
        listen: Callable[[bytes], None] | None = None,
    ) -> int:
        """Record the call, and return the status in `exit_statuses`; tell `listen` what `outputs` has."""
        self._tell(listen, argv[0])
        return self._ran("command", argv[0], *argv)

    def output(
        self,
        *argv: str | Path,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        privileged: bool = False,
        limit: int = 1024 * 1024,
    ) -> tuple[int, bytes]:
        """Record the call, and return the values in `exit_statuses` and `outputs`.

        :raises JobError: the output is longer than `limit`.
        """
        status = self._ran("output", argv[0], *argv)
        name = os.path.basename(argv[0])
        printed = self.outputs.get(name, b"")
        if len(printed) > limit:
            raise JobError(f"{name} printed more than {limit} bytes")
        return status, printed

    def script(
        self,
        path: Path,
        *arguments: str,
        timeout: float,
        cwd: Path | None = None,
        umask: int = 0o022,
        env: Mapping[str, str] | None = None,
        listen: Callable[[bytes], None] | None = None,
    ) -> int:
        """Record the call, and return the status in `exit_statuses`; tell `listen` what `outputs` has."""
        self._tell(listen, path)
        return self._ran("script", path, path, *arguments)

    def vendor_command(self, name: str, *arguments: str) -> bool:
        """Record the call; a script of any name exists.

        :raises JobError: its status in `exit_statuses` is not 0.
        """
        status = self._ran("vendor_command", name, name, *arguments)
        if status:
            raise JobError(f"{name} failed with exit status {status}")
        return True

    def unpack(
        self, archive: Path, into: Path | int, links_below: Path, own: Callable[[], bool] = lambda: False,
        elsewhere: Callable[[str], int | None] = lambda path: None, room: int = 0, true_owners: bool = False,
        seen: Callable[[bytes], object] = lambda chunk: None,
    ) -> None:  # fmt: skip
        """Record the call; nothing is unpacked."""
        self._step()
        self.calls.append(("unpack", archive, into, links_below))

    def apply(self, name: str, document: dict[str, Any]) -> bool:
        """Record the call, and return `applied`."""
        self._step()
        self.calls.append(("apply", name, document))
        return self.applied

    def _tell(self, listen: Callable[[bytes], None] | None, program: str | Path) -> None:
        if listen and (printed := self.outputs.get(os.path.basename(program))):
            listen(printed)

    def _ran(self, method: str, program: str | Path, *arguments: str | Path) -> int:
        self._step()
        self.calls.append((method, *arguments))
        return self.exit_statuses.get(os.path.basename(program), 0)

    def _step(self) -> None:
        if self.cancelled and not self.committed:
            self.cancelled = False
            raise JobCancelledError


if TYPE_CHECKING:
    # The type checker verifies that it implements the contract.
    def _satisfy(job: FakeJob) -> Job:
        return job
