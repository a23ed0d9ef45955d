"""Background jobs: what a plugin declares, and what its job handler is handed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from jidoteki.hookspecs.appliance import Appliance

DEFAULT_GRACE: Final = 0.4
MAX_GRACE: Final = 30.0
Status = Literal["running", "success", "failed", "cancelled"]


class JobFailed(Exception):
    """Ends a job as failed, with a sentence for the person who reads its status and a code for scripts."""

    def __init__(self, message: str, code: str = "E1000") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class JobCancelled(BaseException):
    """Raised once, inside the job, at the first step after it was told to end: not to be kept, but `finally` works.

    What cleans up may log and run commands; after `JobType.grace` seconds the job is killed with all that it started.
    """


class Job(Protocol):
    """One run of a job, in a process of its own. Its methods block; it may be cancelled inside any of them."""

    @property
    def id(self) -> str:
        """The id of this run, as in the `Job-Id` header."""

    @property
    def appliance(self) -> Appliance:
        """The appliance to work on."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The plugin's section of the configuration, validated and with its defaults."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The whole configuration of the host, validated and with its defaults."""

    @property
    def input(self) -> Mapping[str, Any]:
        """What the request handler passed to `start_job`."""

    @property
    def dry_run(self) -> bool:
        """True when `check` alone is called, for a request that asks what would happen."""

    def preview(self, facts: Mapping[str, Any]) -> None:
        """In a dry run, add to its answer what `check` found out; JSON values by name. Without effect otherwise."""

    @property
    def workspace(self) -> Path:
        """An empty directory of this run, removed after it however it ends."""

    def commit(self) -> None:
        """Say that there is no way back: from here on this run is not cancelled any more.

        :raises JobCancelled: somebody was quicker, and the run is cancelled.
        """

    def progress(self, percentage: int, *, final: bool = False) -> None:
        """Record how far the job is, 0 to 100.

        :param final: whether its success shows this in place of 100, for tools that know it so.
        """

    def log(self, message: str) -> None:
        """Add a line to the job's log, with the time and the job's source before it."""

    def log_plain(self, message: str) -> None:
        """Add a line to the job's log with nothing before it, for tools that expect it so."""

    def command(
        self,
        *argv: str | Path,
        timeout: float,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        privileged: bool = False,
    ) -> int:
        """Run a program without a shell in a minimal environment, its output going to the job's log.

        It has the appliance's usual priority; the job itself, and what it starts in any other way, lets everything else
        go first.

        :param timeout: seconds; then the program and its children are killed.
        :param env: variables to add to the minimal environment.
        :param privileged: start it through the configured `commands.prefix`, for example `sudo -n`.
        :return: its exit status, negative for the signal that ended it.
        :raises JobFailed: it cannot be started, or timed out.
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
        """Run a program as `command` does, and return what it prints in place of adding it to the log.

        :param limit: bytes that it may print, on its standard output and its standard error together.
        :return: its exit status, and what it printed.
        :raises JobFailed: as `command` does, or it printed more.
        """

    def script(self, path: Path, *arguments: str, timeout: float, cwd: Path | None = None, umask: int = 0o022) -> int:
        """Run a script by the interpreter in its first line, without one by `/bin/sh`; it need not be executable.

        Otherwise as `command` with `privileged`.

        :raises JobFailed: it cannot be run, or timed out.
        """

    def vendor_command(self, name: str, *arguments: str) -> bool:
        """Run the script `ADMIN/bin/NAME` when it is there, in the uploads directory, which others write to.

        :return: False when there is nothing of this name.
        :raises JobFailed: it cannot be run, failed or timed out.
        """

    def unpack(
        self, archive: Path, into: Path | int, links_below: Path, own: Callable[[], bool] = lambda: False,
        elsewhere: Callable[[str], int | None] = lambda path: None, room: int = 0,
    ) -> None:  # fmt: skip
        """Unpack a tar archive into the empty directory `into`, with owners, modes, times, attributes and lists.

        It may be compressed with gzip. Whatever could reach out of `into` is refused: the rules are those of
        `can_restore`, but for hard links to what came before, which are made, and named pipes, which are left out.
        Refused are also names that begin with `.jidoteki-`, which are the program's own, but for the one of the
        archive's list of what it lacks. An attribute or access control list that cannot be restored here is named in
        the log, and nobody may do more with the file than before. A directory that is no member, but has one below it,
        has the bit of `restorable.IMPLIED` in its mode.

        :param archive: a regular file, not a symbolic link to one.
        :param into: a path, or a descriptor where others may write above the directory.
        :param links_below: absolute symbolic links may lead to this directory and below.
        :param own: whether this appliance made the archive, asked when that matters; see `can_restore`.
        :param elsewhere: asked once for each directory, by its path in the archive: a descriptor of another directory
            that gets what is in it, or None. It stays open; no room has to stay free there.
        :param room: bytes that fit there.
        :raises JobFailed: the archive is damaged or holds something that is refused; `into` is then incomplete.
        """

    def apply(self, name: str, document: dict[str, Any]) -> bool:
        """Offer new settings to the plugins that implement `jidoteki_apply`; True when one took them."""


@dataclass(frozen=True, slots=True)
class StatusFiles:
    """Files in `ADMIN/etc` that other tools read; None for those a kind of job does not have."""

    progress: str | None = None
    """JSON, `{"status", "percentage"}`. Other tools that do the same work may write it too, with further keys."""
    status: str | None = None
    """The status as plain text."""
    error_message: str | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class JobType:
    """A kind of background job.

    `run` does the work. `check` judges the input and changes nothing: it comes before `run` in the job's process, and
    is all that a dry run calls. Both raise JobFailed. Two jobs of one kind never run at once, nor do two kinds of which
    one names the other in `exclusive_with`.
    """

    name: str
    run: Callable[[Job], None]
    check: Callable[[Job], None] | None = None
    exclusive_with: Sequence[str] = ()
    log: str | None = None
    """The log's file name in `ADMIN/log`; by default `NAME.log`."""
    source: str = "SYSTEM"
    """The word between the second brackets of a log line."""
    status_files: StatusFiles = field(default_factory=StatusFiles)
    location: str | None = None
    """The path that shows how the job goes; by default `/NAME`."""
    busy_code: str | None = None
    """The error code of the refusal while one runs, or one that excludes it; by default E1004."""
    timeout: float = 3600
    """Seconds after which the job is ended as failed."""
    recover: Callable[[Appliance], None] | Callable[[Appliance, Mapping[str, Any]], None] | None = None
    """Called in the service when a run was killed, or hit by a power cut, before the next one can start; with the
    plugin's section of the configuration if it has a second parameter that is called `config` or has no default."""
    grace: float = DEFAULT_GRACE
    """Seconds, at most 30, that a run has to clean up once it is cancelled; whoever cancels it waits for that."""
    cancellable: bool = False
    """Whether people may cancel a run by its id, until it calls `Job.commit`. What it leaves behind then must be whole:
    it cleans up in `finally`, and `recover` does after a kill."""
    persist: bool = False
    """Whether a success changes what must outlive a reboot: the configured `persist` command runs after it."""


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a job ended."""

    id: str
    status: Status
    error_message: str | None = None
    error_code: str | None = None
    preview: Mapping[str, Any] = field(default_factory=dict)
    """What `Job.preview` told in a dry run."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One run of a job, as far as it is."""

    id: str
    """As in the `Job-Id` header."""
    kind: str
    """The name of its JobType."""
    status: Status
    percentage: int
    started: float
    """Seconds since the epoch."""
    ended: float | None
    """Seconds since the epoch; None while it runs, and where nobody knows when it was."""
    client: str
    """The address that the request came from."""
    user: str
    """Whose token started it."""
    error_message: str | None = None
    error_code: str | None = None
    cancellable: bool = False
    """Whether `Request.cancel_run` ends it now."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for `jidoteki_event`."""

    kind: Literal["audit", "job"]
    time: float
    """Seconds since the epoch."""
    action: str
    """`job.start`, `job.end`, `request.begun`, `request.done`, `authentication.failure`, `authorization.refused` (by a
    token's scopes), `authorization.revoked` (the token was changed meanwhile), `download`."""
    target: str
    client: str
    user: str
    id: str
    """The id of the request or of the job."""
    count: int = 1
    """How often it happened: what clients can repeat as they like is told once, and then once a minute in sum."""
    outcome: Status | None = None
    """How the job ended, or that it runs; None where it is no event of a job, as of what follows."""
    code: str | None = None
    """The error code of a job that failed."""
    message: str | None = None
    """Why it failed."""
    duration: float | None = None
    """Seconds from the job's start to its end, by the clock that shows the time of day; None until then."""
