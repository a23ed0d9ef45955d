"""The job object that handlers receive: progress, log, commands, workspace."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jidoteki.core.appliance import Appliance
from jidoteki.core.jobs import cancelling, commands, persisting, status_files, trying
from jidoteki.core.jobs.last_words import LastWords
from jidoteki.core.jobs.logs import Log
from jidoteki.core.jobs.records import Record, Records
from jidoteki.core.plugin_manager.manager import Plugins
from jidoteki.hookspecs import JobCancelledError, JobError, JobType, privileges, programs, scripts

PROGRESS_INTERVAL = 0.2


class Context:
    """A running job; implements `jidoteki.hookspecs.Job`."""

    def __init__(
        self,
        appliance: Appliance,
        record: Record,
        job: JobType,
        plugins: Plugins,
        *,
        config: Mapping[str, Any],
        host_config: Mapping[str, Any],
        input: Mapping[str, Any],
        workspace: Path,
        log: Log | None,
        directory: Path | None = None,
    ) -> None:
        self.id = record.id
        self.appliance = appliance
        self.config = config
        self.host_config = host_config
        self.input = input
        self.workspace = workspace
        self.dry_run = log is None
        self.final_percentage = 100
        self.previewed: dict[str, Any] = {}
        self._directory = directory or workspace.parent
        self._record = record
        self._job = job
        self._plugins = plugins
        self._log = log
        self._records = Records(appliance.jobs)
        self._written = 0.0
        self._said: deque[str] = deque(maxlen=4)
        self._cancelled = False
        self._protected = self.on_trial = self.confirmed = False
        self.was_told = False
        """Whether the cancellation was reported to the job."""
        self.insists_on_type = False
        """Whether a privileged program in a job whose type is not is a mistake; so in the test kit."""
        self._environment = commands.environment(appliance)

    def cancel(self) -> None:
        """Cancel the job at its next checkpoint."""
        self._cancelled = True

    def checkpoint(self) -> None:
        """Raise JobCancelled if the job was cancelled; only once, so that it can clean up."""
        if self._cancelled and not self.was_told and not self._protected:
            self.was_told = True
            raise JobCancelledError

    def protect(self) -> None:
        """Let nothing cancel the job any more, as it puts back what it changed."""
        self._protected = True

    def begin_trial(self) -> None:
        """Begin a change that is ended by another process if this one dies."""
        with privileges.lowered():
            trying.begin(self)
        self.protect()

    def restarting(self, why: str) -> None:
        """Tell clients that the system restarts."""
        self._record.restarting = why
        with privileges.lowered():
            status_files.save(self.appliance.etc, self._job, self._record, self._records, durable=False)

    @property
    def confirm(self) -> int:
        """Seconds within which the change must be confirmed."""
        return self._record.confirm

    def await_confirmation(self, pending: Mapping[str, Any] | None = None) -> None:
        """Wait for the confirmation of the change, once."""
        self.checkpoint()
        if self.confirm and not self.confirmed:
            with privileges.lowered():
                trying.wait(self, self.confirm, pending or {})
            self.confirmed = True

    def preview(self, facts: Mapping[str, Any]) -> None:
        """Add to the result of a dry run."""
        self.checkpoint()
        if self.dry_run:
            self.previewed.update(facts)

    def commit(self) -> None:
        """Pass the point of no return, unless this is a dry run."""
        self.checkpoint()
        if self.dry_run:
            return
        with privileges.lowered():
            committed = cancelling.decide(self._directory, "committed")
        if not committed:
            self._cancelled = True
            self.checkpoint()

    def progress(self, percentage: int, *, final: bool = False) -> None:
        """Record the progress, unless this is a dry run, which has no log."""
        self.checkpoint()
        if final:
            self.final_percentage = percentage
        if self._log is None or percentage == self._record.percentage:
            return
        now = time.monotonic()
        jump = percentage - self._record.percentage
        self._record.percentage = max(0, min(100, percentage))
        if jump < 5 and now - self._written < PROGRESS_INTERVAL:
            return
        self._written = now
        with privileges.lowered():
            status_files.save(self.appliance.etc, self._job, self._record, self._records, durable=False)

    def log(self, message: str) -> None:
        """Add a line to the log."""
        self.checkpoint()
        if self._log:
            self._log.line(message)
            self._said.append(message)

    def log_failure(self, message: str) -> None:
        """Log the reason of a failure, unless the job has just logged it."""
        if self._log and message not in self._said:
            self._log.line(message)

    def log_plain(self, message: str) -> None:
        """Add a line to the log without time and source."""
        self.checkpoint()
        if self._log:
            self._log.line(message, plain=True)

    def command(
        self,
        *argv: str | Path,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        privileged: bool = False,
        listen: Callable[[bytes], None] | None = None,
    ) -> int:
        """Run a program with its output in the log."""
        self._require_type(privileged)
        words = [str(each) for each in argv]
        output = self._logged(listen)
        return self._run(words, timeout=timeout, cwd=cwd, env=env or {}, output=output, privileged=privileged)

    def output(
        self,
        *argv: str | Path,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        privileged: bool = False,
        limit: int = 1024 * 1024,
    ) -> tuple[int, bytes]:
        """Run a program and return its exit status and its output."""
        self._require_type(privileged)
        said = bytearray()

        def keep(chunk: bytes) -> None:
            said.extend(chunk)
            if len(said) > limit:
                raise JobError(f"{os.path.basename(argv[0])} printed more than {limit} bytes")

        status = self._run(
            [str(each) for each in argv], timeout=timeout, cwd=cwd, env=env or {}, output=keep, max_output=limit + 1,
            privileged=privileged,
        )  # fmt: skip
        return status, bytes(said)

    def script(
        self,
        path: Path,
        *arguments: str,
        timeout: float,
        cwd: Path | None = None,
        umask: int = programs.UMASK,
        env: Mapping[str, str] | None = None,
        listen: Callable[[bytes], None] | None = None,
    ) -> int:
        """Run a script by its first line, with privileges and its output in the log."""
        try:
            argv = scripts.command_of(path)
        except scripts.ScriptError as error:
            raise JobError(str(error)) from error
        commands.require_roots(path)
        return self._run(
            [*argv, *arguments], timeout=timeout, cwd=cwd, umask=umask, name=path.name, env=env or {},
            output=self._logged(listen), privileged=True,
        )  # fmt: skip

    def _require_type(self, privileged: bool) -> None:
        if privileged and self.insists_on_type and not self._job.privileged:
            raise TypeError(f"what is to be root's needs JobType({self._job.name!r}, …, privileged=True)")

    def _logged(self, listen: Callable[[bytes], None] | None) -> Callable[[bytes], None]:
        return _both(self._log.write if self._log else _ignore, listen or _ignore)

    def _run(
        self,
        argv: list[str],
        *,
        timeout: float,
        cwd: Path | None,
        env: Mapping[str, str] = MappingProxyType({}),
        umask: int = programs.UMASK,
        name: str = "",
        output: Callable[[bytes], None],
        max_output: int = commands.MAX_OUTPUT,
        privileged: bool = False,
    ) -> int:
        if privileged and "/" in argv[0]:
            commands.require_roots(Path(argv[0]))
        return commands.run(
            argv, timeout=timeout, output=output, env={**self._environment, **env}, cwd=cwd, umask=umask, name=name,
            checkpoint=self.checkpoint, max_output=max_output, privileged=privileged,
        )  # fmt: skip

    def vendor_command(self, name: str, *arguments: str) -> bool:
        """Run `ADMIN/bin/NAME` in the uploads directory if it exists."""
        path = self.appliance.bin / name
        if not scripts.exists(path):
            return False
        uploads = self.appliance.uploads
        cwd = uploads if uploads.is_dir() and os.access(uploads, os.X_OK) else None
        words = LastWords()
        limit = self.host_config["limits"]["command"]
        status = self.script(path, *arguments, timeout=limit, cwd=cwd, listen=words.keep)
        if status:
            raise JobError(words.failure(name, status))
        return True

    def persist(self) -> None:
        """Run the commands that save the system's data, if there are any, with their output in this run's log.

        Where root does that after this run, nothing is run here.
        """
        if persisting.is_apart(self._job, self.host_config):
            return
        for argv in persisting.commands(self.host_config, self.appliance):
            problem = self._persist_by(argv)
            if problem:
                message = f"The change is in force, but {problem}"
                self.log(message)
                raise JobError(message)

    def _persist_by(self, argv: list[str]) -> str:
        """Run a command that saves the system's data; return why it failed, else nothing."""
        words = LastWords()
        output = _both(self._log.write_own if self._log else _ignore, words.keep)
        limit = self.host_config["limits"]["command"]
        try:
            status = self._run(argv, timeout=limit, cwd=None, output=output, privileged=True)
        except JobError as failure:
            return f"the persist command failed: {failure.message}"
        return words.failure("the persist command", status) if status else ""

    def unpack(
        self, archive: Path, into: Path | int, links_below: Path, own: Callable[[], bool] = lambda: False,
        elsewhere: Callable[[str], int | None] = lambda path: None, room: int = 0, true_owners: bool = False,
        seen: Callable[[bytes], object] = lambda chunk: None,
    ) -> None:  # fmt: skip
        """Unpack a tar archive, which may be compressed with gzip, safely."""
        # Imported late: few jobs unpack archives, and an import delays the start of every job.
        from jidoteki.core.jobs import restorable_archives

        restorable_archives.unpack(
            self, archive, into, links_below, own, elsewhere, room, true_owners=true_owners, seen=seen
        )

    def apply(self, name: str, document: dict[str, Any]) -> bool:
        """Offer new settings to the plugins; the first that accepts them applies them."""
        implementations: list[tuple[Any, Callable[..., Any]]] = self._plugins.implementations("jidoteki_apply")
        return any(function(job=self, name=name, document=document) for _, function in implementations)


def _both(write: Callable[[bytes], None], listen: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def both(chunk: bytes) -> None:
        write(chunk)
        listen(chunk)

    return both


def _ignore(output: bytes) -> None:
    return None
