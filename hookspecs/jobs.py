"""Background jobs: how a plugin declares them, and what a job handler receives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from jidoteki.hookspecs.appliance import Appliance

DEFAULT_GRACE: Final = 0.4
MAX_GRACE: Final = 30.0
Status = Literal["running", "success", "failed", "cancelled"]


class JobError(Exception):
    """A failure that ends the job, with a sentence for the reader of its status and a code for scripts."""

    def __init__(self, message: str, code: str = "E1000") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class JobCancelledError(BaseException):
    """The cancellation of a job, raised once inside it: it must not be suppressed, but `finally` works.

    Cleanup code may log and run commands; after `JobType.grace` seconds the job and its child processes are killed.
    """


class Job(Protocol):
    """One run of a job, in a process of its own. Its methods block; it may be cancelled inside any of them."""

    @property
    def id(self) -> str:
        """The id of this run, as in the `Job-Id` header."""

    @property
    def appliance(self) -> Appliance:
        """The appliance that the job works on."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The plugin's section of the configuration, validated and with its defaults."""

    @property
    def host_config(self) -> Mapping[str, Any]:
        """The whole configuration of the host, validated and with its defaults."""

    @property
    def input(self) -> Mapping[str, Any]:
        """The values that the request handler passed to `start_job`."""

    @property
    def dry_run(self) -> bool:
        """Whether only `check` is called, for a dry run."""

    def preview(self, facts: Mapping[str, Any]) -> None:
        """Add facts from `check`, JSON values by name, to the response of a dry run; otherwise do nothing."""

    @property
    def confirm(self) -> int:
        """Seconds within which the change must be confirmed, as the request asked; 0 if it is final at once."""

    def await_confirmation(self, pending: Mapping[str, Any] | None = None) -> None:
        """Wait for the confirmation of a change that is complete; return at once if none is asked for.

        A run that returns without having called it waits then. What fails before puts the change back.

        :param pending: what is to be confirmed, JSON values by name, for `Request.trial`.
        :raises JobError: E2001, nobody confirmed it in time, or the system goes down; let it through.
        """

    def begin_trial(self) -> None:
        """Begin a change that `JobType.resume` ends if this run dies: from here on nothing cancels it.

        :raises JobCancelledError: the run was cancelled before.
        :raises JobError: that cannot be recorded, so nothing may be changed.
        """

    def restarting(self, why: str) -> None:
        """Tell clients that the system restarts in a moment, for they wait longer then; for a job with `resume`.

        :param why: a sentence for people.
        """

    @property
    def workspace(self) -> Path:
        """A temporary directory of this run, empty at first; removed after it, whatever its outcome."""

    def commit(self) -> None:
        """Pass the point of no return: from here on this run cannot be cancelled.

        :raises JobCancelledError: the run was cancelled before.
        """

    def progress(self, percentage: int, *, final: bool = False) -> None:
        """Record the job's progress, 0 to 100.

        :param final: whether a success shows this in place of 100, for tools that expect it.
        """

    def log(self, message: str) -> None:
        """Add a line to the job's log, prefixed with the time and the job's source."""

    def log_plain(self, message: str) -> None:
        """Add a line to the job's log without a prefix, for tools that expect none."""

    def command(
        self,
        *argv: str | Path,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        privileged: bool = False,
        listen: Callable[[bytes], None] | None = None,
    ) -> int:
        """Run a program without a shell, in a minimal environment; its output is added to the job's log.

        It runs with the appliance's usual priority; the job itself, and programs that it starts in any other way, with
        the lowest.

        :param timeout: seconds; then the program and its children are killed.
        :param env: variables to add to the minimal environment.
        :param privileged: start it as root, where this job runs in a unit of its own (`JobType.privileged`); otherwise
            as the user of this process. Root starts nothing that somebody else may change.
        :param listen: called with each piece of its output that is in the log, too: up to 8 MiB, and the last lines.
        :return: its exit status; the negative signal number if a signal ended it.
        :raises JobError: it cannot be started, or timed out.
        """

    def output(
        self,
        *argv: str | Path,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        privileged: bool = False,
        limit: int = 1024 * 1024,
    ) -> tuple[int, bytes]:
        """Run a program as `command` does, and return its output in place of adding it to the log.

        :param limit: bytes of standard output and standard error together.
        :return: its exit status and its output.
        :raises JobError: as `command` does, or it printed more.
        """

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
        """Run a script with the interpreter named in its first line, or else `/bin/sh`; it need not be executable.

        Otherwise as `command` with `privileged`.

        :raises JobError: it cannot be run, or timed out.
        """

    def vendor_command(self, name: str, *arguments: str) -> bool:
        """Run the script `ADMIN/bin/NAME`, if it exists, in the uploads directory, which others write to.

        :return: False when it does not exist.
        :raises JobError: it cannot be run, failed or timed out.
        """

    def unpack(
        self, archive: Path, into: Path | int, links_below: Path, own: Callable[[], bool] = lambda: False,
        elsewhere: Callable[[str], int | None] = lambda path: None, room: int = 0, true_owners: bool = False,
        seen: Callable[[bytes], object] = lambda chunk: None,
    ) -> None:  # fmt: skip
        """Unpack a tar archive into the empty directory `into`, with owners, modes, times, attributes and ACLs.

        It may be compressed with gzip. Members that could reach outside `into` are refused: the rules are those of
        `can_restore`, except that hard links to earlier members are made, and named pipes skipped. Names that begin
        with `.jidoteki-` are reserved and refused, except for the archive's list of what it lacks. An attribute or
        access control list that cannot be restored here is named in the log, and grants nobody more than it did
        before. A directory that is not a member, but contains one, has the bit `restorable.IMPLIED` in its mode.

        :param archive: a regular file, not a symbolic link to one.
        :param into: a path, or a descriptor where others may write to a parent directory.
        :param links_below: the directory that absolute symbolic links must point into.
        :param own: returns whether this appliance made the archive, called when that matters; see `can_restore`.
        :param elsewhere: called once for each directory with its path in the archive; returns a descriptor of another
            directory to receive its content, or None. It stays open; no space has to stay free there.
        :param room: bytes of space there.
        :param true_owners: whether to refuse an archive with a member whose owner this process cannot set.
        :param seen: called with all bytes of the file, as they are read, for its hash: it may change meanwhile.
        :raises JobError: the archive is damaged or holds a refused member; `into` is then incomplete.
        """

    def apply(self, name: str, document: dict[str, Any]) -> bool:
        """Offer new settings to the plugins that implement `jidoteki_apply`; return whether one applied them."""


@dataclass(frozen=True, slots=True)
class StatusFiles:
    """The files in `ADMIN/etc` by which other tools follow a job; None for those that a job type does not have."""

    progress: str | None = None
    """JSON, `{"status", "percentage"}`. Other tools that do the same work may write it, too, with further keys."""
    status: str | None = None
    """The status as plain text."""
    error_message: str | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class JobType:
    """A type of background job.

    `run` does the work. `check` checks the input and changes nothing: it is called before `run` in the job's process,
    and alone for a dry run. Both may raise JobError. Two jobs of one type never run at once, nor do jobs of two types
    of which one names the other in `exclusive_with`.
    """

    name: str
    run: Callable[[Job], None]
    check: Callable[[Job], None] | None = None
    exclusive_with: Sequence[str] = ()
    log: str | None = None
    """The log's file name in `ADMIN/log`; by default `NAME.log`."""
    source: str = "SYSTEM"
    """The word in the second brackets of a log line."""
    status_files: StatusFiles = field(default_factory=StatusFiles)
    location: str | None = None
    """The path of the endpoint that shows the job's status; by default `/NAME`."""
    busy_code: str | None = None
    """The error code of the refusal while a job of this type, or of one that excludes it, runs; by default E1004."""
    timeout: float = 3600
    """Seconds after which the job is killed and counts as failed; without those that it waits for a confirmation."""
    recover: Callable[[Appliance], str | None] | Callable[[Appliance, Mapping[str, Any]], str | None] | None = None
    """Called in the service after a run was killed or lost in a power cut, before the next one can start; with the
    plugin's section of the configuration if it has a second parameter that is named `config` or has no default.
    A sentence that it returns, on the state of the unfinished work, is added to the reason of the failure. One that
    raises is called again when the service or the next job of this type starts."""
    grace: float = DEFAULT_GRACE
    """Seconds, at most 30, that a cancelled run has for cleanup; the request that cancels it waits for that."""
    cancellable: bool = False
    """Whether a run can be cancelled by its id, until it calls `Job.commit`. It must then leave a consistent state: by
    cleaning up in `finally`, and in `recover` after a kill."""
    makes_room: bool = False
    """Whether it may start on a full disk, with the disk space that the host reserves: it frees some, or reboots."""
    revert: Callable[[Job], None] | None = None
    """Put back what a run of `Endpoint.confirm` changed, and put that into force; called when it failed, was killed,
    lost in a power cut or a reboot, or not confirmed in time. It has the id of that run and no input: what it needs is
    what the run stored, in files `ID.NAME` in `ADMIN/jobs` (`former_files` does). It must be repeatable: it is called
    again after it was killed or raised, at once and at the next start; where nothing was changed, too. `recover` is not
    called for these runs."""
    resume: Callable[[Job, str], None] | None = None
    """Go on with a run that died after `Job.begin_trial`: in a new process, under its id, with no input, and with the
    reason of its death. It ends the run as `run` does, and is called again where it dies itself, up to five times and
    at the next start. `recover` is not called for these runs. For a job type without `revert`."""
    privileged: bool = False
    """Whether it needs root: with `jobs.run-as` of `unit` it runs as `jidoteki-job@ID.service`. There it acts as the
    service's user nevertheless, but for scripts, vendor commands, privileged programs and `privileges.raised`; so does
    `recover`, which is called in such a process, too."""
    input: Callable[[Mapping[str, Any]], object] | None = None
    """Checks the input of a privileged job once more in its process: a function that raises voluptuous.Invalid for
    another one than the request handler gives it. Without it there is no input."""
    persist: bool = False
    """Whether a success changes data that must survive a reboot: the configured `persist` command runs after it, and a
    reboot waits for it; it cannot start while the system is shutting down."""


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The outcome of a job."""

    id: str
    status: Status
    error_message: str | None = None
    error_code: str | None = None
    preview: Mapping[str, Any] = field(default_factory=dict)
    """The facts of `Job.preview` in a dry run."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The record of one run of a job, running or ended."""

    id: str
    """As in the `Job-Id` header."""
    type: str
    """The name of its JobType."""
    status: Status
    percentage: int
    started: float
    """Seconds since the epoch."""
    ended: float | None
    """Seconds since the epoch; None while it is running, and if the time is unknown."""
    client: str
    """The client address of the request."""
    user: str
    """The owner of the token that started it."""
    error_message: str | None = None
    error_code: str | None = None
    cancellable: bool = False
    """Whether `Request.cancel_run` can cancel it now."""
    restarting: str | None = None
    """A sentence, while it waits for the system to restart: see `Job.restarting`."""


@dataclass(frozen=True, slots=True)
class Event:
    """An audit line, or a job's start or end, for `jidoteki_event`."""

    kind: Literal["audit", "job"]
    time: float
    """Seconds since the epoch."""
    action: str
    """`job.start`, `job.end`, `request.begun`, `request.done`, `authentication.failure`, `authorization.refused` (by a
    token's scopes), `authorization.revoked` (the token was changed during the request), `download`,
    `change.reverted` (what a job changed on trial was put back)."""
    target: str
    client: str
    user: str
    id: str
    """The id of the request or of the job."""
    count: int = 1
    """How often it happened: what clients can repeat at will is reported once, then once a minute with a count."""
    outcome: Status | None = None
    """The job's status; None, as are all fields below, if the event is not a job's."""
    code: str | None = None
    """The error code of a failed job."""
    message: str | None = None
    """The error message of a failed job."""
    duration: float | None = None
    """Seconds from the job's start to its end, by the wall clock; None until then."""
