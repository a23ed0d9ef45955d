"""The trial of an update: it is verified, and the package's `rollback.sh` brings the former version back.

What is known of it lies in `ADMIN/jobs/ID.state` from before `update.sh` until the end, so that another process can go
on where this one dies. There is one trial and one way back, which is begun three times at most if it dies.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from jidoteki.core.endpoints.update import programs_of_package as programs
from jidoteki.hookspecs import Job, JobError, paths, trials

VERIFY: Final = "verify.sh"
ROLLBACK: Final = "rollback.sh"
MAX_WAYS_BACK: Final = 3
MAX_STATE: Final = 64 * 1024
BACK: Final = "The former version is back"
NO_WAY_BACK: Final = "The package has no rollback.sh: what it changed stays"

Step = Literal["updating", "verifying", "verified", "rolling back", "ended"]


@dataclass(slots=True)
class State:
    """What is known of a trial; `message` and `code` are those of the failure that it is rolled back for."""

    former: str | None
    new: str | None
    way_back: bool
    step: Step = "updating"
    ways_back: int = 0
    message: str = ""
    code: str = ""


def is_wanted(job: Job, directory: Path) -> bool:
    """Return whether an update is tried: its package or the configuration has a program for that."""
    own = any(programs.exists(directory, name) for name in (VERIFY, ROLLBACK))
    return own or bool(job.host_config["update"]["verify"])


class Trial:
    """A trial that has begun.

    :param directory: of the unpacked package.
    """

    def __init__(self, job: Job, directory: Path, state: State) -> None:
        self.state = state
        self.is_back = False
        self._job = job
        self._directory = directory
        self._path = path(job)

    def verify(self) -> None:
        """Run the package's `verify.sh`, then the program of the configuration.

        :raises JobError: E2003, one of them failed.
        """
        self._go_on("verifying")
        failure = self._verify_by_package() or self._verify_by_vendor()
        if failure:
            raise JobError(failure, trials.FAILED)
        self._go_on("verified")

    def _verify_by_package(self) -> str | None:
        if not programs.exists(self._directory, VERIFY):
            return None
        self._job.log(f"Verifying the update with {VERIFY}")
        return programs.run(self._job, self._directory / VERIFY, self._verify_timeout, self._environment)

    def _verify_by_vendor(self) -> str | None:
        argv = self._job.host_config["update"]["verify"]
        if not argv:
            return None
        self._job.log(f"Verifying the update with {argv[0]}")
        options: dict[str, Any] = {"timeout": self._verify_timeout, "env": self._environment, "privileged": True}
        try:
            status = self._job.command(*argv, **options)
        except JobError as error:
            return error.message
        return f"{argv[0]} failed with exit status {status}" if status else None

    def back(self, failure: JobError) -> JobError:
        """Run `rollback.sh` once, and return what the job fails with.

        :param failure: what it is rolled back for.
        """
        state = self.state
        if not state.way_back:
            said = f". {NO_WAY_BACK}" if failure.code == trials.FAILED else ""
            return JobError(f"{failure.message}{said}", failure.code)
        if state.ways_back >= MAX_WAYS_BACK:
            return JobError(f"{failure.message}. {ROLLBACK} did not end, {MAX_WAYS_BACK} times", trials.LOST)
        state.message, state.code = failure.message, failure.code
        state.ways_back += 1
        with contextlib.suppress(OSError):  # a full disk must not keep it from its way back
            self._go_on("rolling back")
        self._job.log(failure.message)
        self._job.log(f"Going back to the former version with {ROLLBACK}")
        limit = self._job.host_config["update"]["script-timeout"]
        problem = programs.run(self._job, self._directory / ROLLBACK, limit, self._environment)
        if problem:
            return JobError(f"{failure.message}. The way back failed, too: {problem}", trials.LOST)
        self.is_back = True
        return JobError(f"{failure.message}. {BACK}", failure.code)

    def end(self, failure: JobError | None = None) -> None:
        """Record how the update ended, for another process where this one dies before the record of its run says so."""
        self.state.message, self.state.code = (failure.message, failure.code) if failure else ("", "")
        with contextlib.suppress(OSError):
            self._go_on("ended")

    def _go_on(self, step: Step) -> None:
        self.state.step = step
        self._job.appliance.replace_file(self._path, json.dumps(asdict(self.state)) + "\n", 0o600)

    @property
    def _verify_timeout(self) -> float:
        return float(self._job.host_config["update"]["verify-timeout"])

    @property
    def _environment(self) -> dict[str, str]:
        return programs.environment(self.state.former, self.state.new)


def path(job: Job) -> Path:
    """Return the path of the file in which the trial of this run is recorded."""
    return job.appliance.guarded / f"{job.id}.state"


def begin(job: Job, directory: Path, former: str | None, new: str | None) -> Trial:
    """Begin a trial, before anything is changed.

    :raises JobError: it cannot be recorded.
    :raises OSError: it cannot be recorded.
    """
    begun = Trial(job, directory, State(former, new, programs.exists(directory, ROLLBACK)))
    begun._go_on("updating")
    try:
        job.begin_trial()
    except BaseException:
        path(job).unlink(missing_ok=True)
        raise
    return begun


def found(job: Job, directory: Path) -> Trial:
    """Return the trial of a run that died.

    :raises JobError: E2004, what is known of it cannot be read.
    """
    try:
        return Trial(job, directory, State(**json.loads(paths.read_own(path(job), MAX_STATE))))
    except (OSError, ValueError, TypeError) as error:
        raise JobError(f"How far the update was cannot be read from {path(job)}", trials.LOST) from error
