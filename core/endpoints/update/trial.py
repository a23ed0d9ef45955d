"""The trial of an update: it is verified, and the package's `rollback.sh` brings the former version back.

What is known of it lies in `ADMIN/jobs/ID.state` from before `update.sh` until the end, so that another process can go
on where this one dies, or where the appliance restarts. There is one trial and one way back, which is begun three times
at most if it dies; each of the two restarts the appliance once at most.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from jidoteki.core.endpoints.update import (
    description,
    kept_programs,
    recorded_versions,
    restarting,
    trial_state,
    unpacked,
)
from jidoteki.core.endpoints.update import programs_of_package as programs
from jidoteki.core.endpoints.update.description import Description
from jidoteki.core.endpoints.update.package import PackageError
from jidoteki.core.endpoints.update.trial_state import State, Step
from jidoteki.core.jobs import disks, going_down
from jidoteki.core.jobs.last_words import LastWords
from jidoteki.core.jobs.records import Records
from jidoteki.hookspecs import Job, JobError, privileges, trials
from jidoteki.hookspecs.boots import boot_id

VERIFY: Final = "verify.sh"
ROLLBACK: Final = "rollback.sh"
#: What is kept of a package, whatever its update.sh does to the rest.
KEPT: Final = (VERIFY, ROLLBACK, description.FILE, recorded_versions.VERSION)
MAX_WAYS_BACK: Final = 3
#: Pieces of the reserve that are freed to record on a full disk how far it is.
ROOM: Final = 4
BACK: Final = "The former version is back"
NO_WAY_BACK: Final = "The package has no rollback.sh: what it changed stays"


def is_wanted(job: Job, directory: Path, told: Description) -> bool:
    """Return whether an update is tried: its package or the configuration has a program for that, or it restarts."""
    own = any(programs.exists(directory, name) for name in (VERIFY, ROLLBACK))
    return own or told.reboot or bool(job.host_config["update"]["verify"])


def require_programs(directory: Path) -> None:
    """Refuse a package that could not be verified, or whose way back could not be begun, before anything is changed.

    :raises PackageError: it has a program for that which can run nowhere.
    """
    for name in (VERIFY, ROLLBACK):
        fault = programs.fault(directory / name) if programs.exists(directory, name) else None
        if fault:
            raise PackageError(fault)


class Trial:
    """A trial that has begun.

    :param directory: of the unpacked package.
    :param resumed: whether the process in which it began died.
    """

    def __init__(self, job: Job, directory: Path, state: State, *, resumed: bool = False) -> None:
        self.state = state
        self._resumed = resumed
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

    def passed(self) -> None:
        """Record that it is verified, and stays."""
        self._go_on("verified")

    def restart(self) -> None:
        """Restart the appliance to try the update, if it has to and has not; return only once it has.

        :raises JobError: E2003, it does not.
        """
        if not self.state.reboot or self._has_restarted:
            return
        if self.state.step != "rebooting":
            self._go_on("rebooting")
        try:
            self._restart(restarting.TO_TRY)
        except JobError as failure:
            raise JobError(failure.message, trials.FAILED) from failure

    def restart_back(self, outcome: JobError) -> JobError:
        """Restart the appliance after the way back, if it has to; return only once it has, what the job fails with."""
        state = self.state
        if not state.reboot or (state.step != "rebooting back" and not self._has_restarted):
            return outcome  # the system that runs is the former one
        try:
            if not state.reboot_back:
                going_down.persist(self._job)
            elif state.step != "rebooting back":
                state.boot, state.deadline = boot_id(self._job.appliance.root), 0.0
                state.message, state.code = outcome.message, outcome.code
                self._go_on("rebooting back")
            if state.reboot_back and not self._has_restarted:
                self._restart(restarting.TO_GO_BACK)
        except (JobError, OSError) as error:
            reason = error.message if isinstance(error, JobError) else f"It cannot be recorded: {error.strerror}"
            said = "but not in force before the appliance restarts" if state.reboot_back else "but not saved"
            return JobError(f"{outcome.message}, {said}: {reason}", trials.LOST)
        return outcome

    @property
    def _has_restarted(self) -> bool:
        return restarting.has_happened(self._job.appliance, self.state.boot)

    def _restart(self, why: str) -> None:
        """Run the reboot command once, whoever dies meanwhile, and wait."""
        state = self.state
        if state.deadline:
            self._job.restarting(why)
            restarting.wait(self._job, state.boot, min(state.deadline, trials.now() + restarting.limit(self._job)))
        else:
            restarting.restart(self._job, state.boot, why, self._ask)

    def _ask(self) -> None:
        self.state.deadline = trials.now() + restarting.limit(self._job)
        self._go_on(self.state.step)

    def _verify_by_package(self) -> str | None:
        if not self.state.has_verify:
            return None
        self._job.log(f"Verifying the update with {VERIFY}")
        return self._run(VERIFY, self._verify_timeout)

    def _run(self, name: str, limit: float) -> str | None:
        """Run a program of the package, wherever it is left; return why it failed, or None."""
        try:
            kept_programs.put_back(self._job, self._directory)
            return programs.run(self._job, self._directory / name, limit, self._environment)
        except OSError as error:
            return f"{name} cannot run: {error.strerror or error}"

    def _verify_by_vendor(self) -> str | None:
        argv = self._job.host_config["update"]["verify"]
        if not argv:
            return None
        self._job.log(f"Verifying the update with {argv[0]}")
        words = LastWords()
        limit, environment = self._verify_timeout, self._environment
        try:
            status = self._job.command(*argv, timeout=limit, env=environment, privileged=True, listen=words.keep)
        except JobError as error:
            return error.message
        return words.failure(argv[0], status) if status else None

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
        if self._resumed and trial_state.is_last(self._path):
            return JobError(f"{failure.message}. {ROLLBACK} did not end, nor can it be counted", trials.LOST)
        state.message, state.code = failure.message, failure.code
        state.ways_back += 1
        try:
            self._go_on("rolling back")
        except OSError as error:  # a full disk must not keep it from its way back, once
            if not trial_state.mark_last(self._path) and self._resumed:
                said = f"{ROLLBACK} is not begun, as it cannot be counted: {error.strerror or error}"
                return JobError(f"{failure.message}. {said}", trials.LOST)
        self._job.log(failure.message)
        self._job.log(f"Going back to the former version with {ROLLBACK}")
        problem = self._run(ROLLBACK, float(self._job.host_config["update"]["script-timeout"]))
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
        replace_file(self._job, self._path, json.dumps(asdict(self.state)) + "\n", 0o600)

    @property
    def _verify_timeout(self) -> float:
        return float(self._job.host_config["update"]["verify-timeout"])

    @property
    def _environment(self) -> dict[str, str]:
        return programs.environment(self.state.former, self.state.new)


def replace_file(job: Job, path: Path, content: str, mode: int = 0o644) -> None:
    """Replace a file durably, on a full disk by means of the reserve.

    :raises OSError: that is impossible.
    """
    reserve = Records(job.appliance.jobs).reserve
    with privileges.raised():
        reserve.using(ROOM, lambda: job.appliance.replace_file(path, content, mode))


def path(job: Job) -> Path:
    """Return the path of the file in which the trial of this run is recorded."""
    return job.appliance.guarded / f"{job.id}.state"


def begin(job: Job, directory: Path, told: Description, former: str | None, new: str | None) -> Trial:
    """Begin a trial, before anything is changed; what it needs then is on disk.

    :param told: what the package says of itself.
    :raises JobError: it cannot be recorded.
    :raises OSError: it cannot be recorded.
    """
    has_verify, way_back = (programs.exists(directory, name) for name in (VERIFY, ROLLBACK))
    restarts: dict[str, Any] = {}
    if told.reboot:
        restarts = {"reboot": True, "reboot_back": told.restarts_back, "boot": boot_id(job.appliance.root)}
    kept_programs.keep(job, directory, KEPT)
    disks.store(job)
    begun = Trial(job, directory, State(former, new, way_back, has_verify=has_verify, **restarts))
    begun._go_on("updating")
    try:
        job.begin_trial()
    except BaseException:
        path(job).unlink(missing_ok=True)
        raise
    return begun


def found(job: Job, directory: Path) -> Trial:
    """Return the trial of a run that died.

    :raises DamagedError: what is known of it cannot be read.
    """
    return Trial(job, directory, trial_state.read(path(job)), resumed=True)


def unknown(job: Job, directory: Path, told: Description, former: str | None, new: str | None) -> Trial:
    """Return a trial of which no more is known than what its package says: it can only be rolled back.

    :param told: what that says of itself, as are the others.
    """
    # Where nothing was kept no trial had begun: what lies there may be a package that was never to be installed.
    way_back = unpacked.kept(job.appliance).is_dir() and programs.exists(directory, ROLLBACK)
    # No boot is known that the restart would have ended, so it counts as done.
    state = State(former, new, way_back, reboot=told.reboot, reboot_back=told.restarts_back)
    return Trial(job, directory, state, resumed=True)
