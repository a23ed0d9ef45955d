"""Starting the process of a job. All functions block: call them in a thread."""

from __future__ import annotations

import inspect
import logging
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jidoteki.core.appliance import Appliance
from jidoteki.core.config.loading import Config
from jidoteki.core.files import leftovers, locks
from jidoteki.core.files.reserve import FOR_A_JOB
from jidoteki.core.jobs import (
    asking,
    cancelling,
    changes,
    commands,
    exit_reasons,
    persisting,
    processes,
    reverting,
    settling,
    status_files,
    units,
)
from jidoteki.core.jobs.order import Order
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.jobs.records import TYPE_NAME, Record, Records
from jidoteki.core.plugin_manager.manager import Plugin, Plugins
from jidoteki.hookspecs import JobType, paths
from jidoteki.hookspecs.boots import boot_id
from jidoteki.hookspecs.jobs import MAX_GRACE

#: Seconds.
RELEASE_TIMEOUT = 2.0
#: Where the modules of jobs are; no directory where the service was started from an archive.
MODULES = Path(__file__).parent

logger = logging.getLogger(__name__)


class BusyError(Exception):
    """A job of this type, or one that excludes it, is running.

    :param job_type: the type of the running job.
    """

    def __init__(self, job_type: str) -> None:
        super().__init__(job_type)
        self.job_type = job_type


class Launcher:
    """The launcher of an appliance's jobs."""

    def __init__(self, appliance: Appliance, config: Config, plugins: Plugins) -> None:
        self.appliance = appliance
        self.records = Records(appliance.jobs)
        self.job_types: dict[str, tuple[Plugin, JobType]] = {}
        #: Processes that put back what a dead run changed, by the id of that run, until they are watched.
        self.reverting: dict[str, JobProcess] = {}
        #: How often in a row no process for that could be started.
        self.unstarted: Counter[str] = Counter()
        self._config = config
        self.plugins = plugins
        for plugin in plugins.loaded:
            for job in plugin.jobs:
                self._add(plugin, job)

    def _add(self, plugin: Plugin, job: JobType) -> None:
        problem = _problem(job)
        if problem:
            self.plugins.leave_out(plugin, problem)
        elif job.name in self.job_types:
            other = self.job_types[job.name][0]
            self.plugins.leave_out(plugin, f"the job {job.name} belongs to the plugin {other.name} already")
        else:
            self.job_types[job.name] = plugin, job

    def lock(self, job_type: str) -> Path:
        """Return the path of the lock file of a job type."""
        return self.records.lock(job_type)

    def busy(self, job_type: str) -> str | None:
        """Return the type of a running job that prevents this type from starting, or None."""
        for each in (job_type, *self._excluded(job_type)):
            if self._is_busy(each):
                return each
        return "reboot" if self.job_types[job_type][1].persist and changes.are_over(self.appliance.jobs) else None

    def is_running(self, job_type: str) -> bool:
        """Return whether a job of this type is running; one with a recorded outcome is not."""
        held = locks.is_held(self.lock(job_type))
        record = self.records.latest(job_type) if held or exit_reasons.any_awaited() else None
        if record is None:
            return held
        return record.status == "running" and (held or exit_reasons.is_awaited(self.records.path(record.id)))

    def _is_busy(self, job_type: str) -> bool:
        """Return whether a job of this type is running; one that recorded its outcome gets time to end."""
        deadline = time.monotonic() + RELEASE_TIMEOUT
        while not self.is_running(job_type) and time.monotonic() < deadline:
            if not locks.is_held(self.lock(job_type)) and not self._has_live_unit(job_type):
                return False
            time.sleep(0.01)
        return True

    def _has_live_unit(self, job_type: str) -> bool:
        return self.has_unit(job_type) and units.is_any_active(job_type)

    def has_unit(self, job_type: str) -> bool:
        """Return whether jobs of a type run as units of systemd."""
        _, job = self.job_types.get(job_type, (None, None))
        return job is not None and job.privileged and self._config.values["jobs"]["run-as"] == "unit"

    def is_to_be_kept(self, record: Record) -> bool:
        """Return whether root has yet to keep, in a job of its own, what a run changed."""
        _, job = self.job_types.get(record.type, (None, None))
        if job is None or not job.persist or record.status != "success":
            return False
        values = self._config.values
        return persisting.is_apart(job, values) and bool(persisting.commands(values, self.appliance))

    def found(self, record: Record) -> JobProcess | None:
        """Return the process of a run that another process started, if it lives."""
        if record.boot != boot_id():
            return None
        if processes.leads(record.pid, self.lock(record.type)):
            return JobProcess(record.pid)
        if self.has_unit(record.type) and units.is_active(record.id):
            return units.UnitProcess(record.id, record.pid)
        return None

    def _excluded(self, job_type: str) -> list[str]:
        own = set(self.job_types[job_type][1].exclusive_with)
        return [
            name
            for name, (_, job) in self.job_types.items()
            if name != job_type and (name in own or job_type in job.exclusive_with)
        ]

    def start(
        self,
        job_type: str,
        input: Mapping[str, Any],
        client: str,
        user: str,
        permit: Callable[[], None] = lambda: None,
        confirm: int = 0,
    ) -> tuple[Record, JobProcess]:
        """Start a job.

        :param permit: called just before the start; an exception that it raises prevents the start.
        :param confirm: seconds within which the change must be confirmed.
        :raises BusyError: it cannot run now.
        :raises OSError: it cannot be started; nothing is left behind.
        """
        with changes.starting(self.appliance.jobs):
            blocking = self.busy(job_type) or self._put_back_first(job_type)
            if blocking:
                raise BusyError(blocking)
            permit()
            job = self.job_types[job_type][1]
            pieces = FOR_A_JOB if job.makes_room else 0
            return self.records.reserve.using(pieces, lambda: self._start(job, input, client, user, confirm))

    def _put_back_first(self, job_type: str) -> str | None:
        """Have put back what a dead run changed on trial; return the type of that run, or None if there is none."""
        for each in (job_type, *self._excluded(job_type)):
            if (record := reverting.any_due(self, each)) and record.status == "running":
                settling.settle_all(self, each)
                return each
        return None

    def _start(
        self, job: JobType, input: Mapping[str, Any], client: str, user: str, confirm: int
    ) -> tuple[Record, JobProcess]:
        try:
            lock = locks.take(self.lock(job.name), tries=10)
        except locks.LockHeldError as error:
            raise BusyError(job.name) from error
        try:
            settling.settle_all(self, job.name)
            record = self.records.new(job.name, client, user, job.persist, confirm)
            status_files.write(self.appliance.etc, job, record, begin=True)
            return record, self._spawn(record, input, lock)
        finally:
            os.close(lock)

    def _spawn(self, record: Record, input: Mapping[str, Any], lock: int) -> JobProcess:
        try:
            with open(paths.append_regular(self.records.log(record.id)), "ab") as log:
                process = self.process(record, input, lock, log.fileno(), log.fileno())
            exit_reasons.remember(self.records.path(record.id), process)
            return process
        except BaseException as error:
            record.fail(f"The job could not be started: {error}")
            self.save(record)
            self.clear(record.id)
            raise

    def check(self, job_type: str, input: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Run the job's check of an input, as `asking.check` does.

        :raises BusyError: the job could not run now.
        :raises TimeoutError: the check timed out.
        """
        blocking = self.busy(job_type)
        if blocking:
            raise BusyError(blocking)
        return asking.check(self, job_type, input, timeout)

    def process(
        self,
        record: Record,
        input: Mapping[str, Any],
        lock: int,
        out: int,
        errors: int,
        *,
        dry_run: bool = False,
        reverting: str | None = None,
        recovering: bool = False,
    ) -> JobProcess:
        """Start the process of a run: see `Order`.

        :raises OSError: it cannot be started.
        """
        plugin, _ = self.job_types[record.type]
        wanted = {plugin.name: plugin} | {each.name: each for each, _ in self.plugins.implementations("jidoteki_apply")}
        directory = self.appliance.tmp / record.id
        workspace = directory / "work"
        workspace.mkdir(mode=0o700, parents=True)
        if reverting is not None:
            cancelling.decide(directory, "committed")
        sections = self._config.values["plugins"]
        order = Order(
            self.appliance.root,
            self.appliance.admin,
            record,
            [each.source for each in wanted.values()],
            {name: sections[name] for name in wanted if name in sections},
            {key: value for key, value in self._config.values.items() if key != "plugins"},
            input,
            workspace,
            dry_run,
            reverting,
            recovering,
        )
        path = directory / "order.json"
        order.write(path)
        if self.has_unit(record.type):
            return units.UnitProcess.begin(record.id, path, lock, out, errors)
        return self.start_process(path, lock, out, errors)

    def start_process(self, order: Path, stdin: int, stdout: int, stderr: int) -> JobProcess:
        """Start the process of a job; the test kit overrides this with a thread.

        :param order: the file that describes the job.
        :raises OSError: it cannot be started.
        """
        if not MODULES.is_dir():
            archive = next(each for each in MODULES.parents if each.exists())
            raise OSError(
                f"a job is a Python process of its own, which cannot import this service from the archive {archive}: "
                "install the service into a virtual environment"
            )
        argv = [sys.executable, "-I", "-m", "jidoteki.core.jobs.runner", str(order)]
        return JobProcess.start(argv, commands.environment(self.appliance), stdin, stdout, stderr)

    def save(self, record: Record) -> None:
        """Store a record, and write its status files."""
        _, job = self.job_types.get(record.type, (None, None))
        status_files.save(self.appliance.etc, job, record, self.records)

    def clear(self, id: str) -> None:
        """Remove the workspace of a run, or any other file of that name."""
        path = self.appliance.tmp / id
        with leftovers.tolerated(f"{path} cannot be removed"):
            leftovers.remove(path)


def _problem(job: JobType) -> str | None:
    """Return what is wrong with a job type, of which no value can be trusted, or None."""
    if not isinstance(job.name, str) or not TYPE_NAME.fullmatch(job.name):
        return f"the job name {job.name!r} must be lower-case letters, digits and '-'"
    if any(inspect.iscoroutinefunction(each) for each in (job.run, job.check, job.recover, job.revert, job.resume)):
        return f"the handlers of the job {job.name} must not be async"
    if job.input is not None and not callable(job.input):
        return f"the input of the job {job.name} must be a function, such as vol.Schema({{…}})"
    if not _is_number(job.timeout) or not 0 < job.timeout < math.inf:
        return f"the timeout of the job {job.name} must be a number of seconds above 0"
    if not _is_number(job.grace) or not 0 <= job.grace <= MAX_GRACE:
        return f"the grace of the job {job.name} must be from 0 to {MAX_GRACE:g} seconds"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
