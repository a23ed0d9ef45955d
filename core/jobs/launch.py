"""Starting the process of a job. Everything here blocks and belongs in a thread."""

from __future__ import annotations

import inspect
import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jidoteki.core import files
from jidoteki.core.appliance import Appliance
from jidoteki.core.config.loading import Config
from jidoteki.core.files import leftovers, locks
from jidoteki.core.jobs import changes, commands, exit_reasons, logs, processes, status_files
from jidoteki.core.jobs.order import Order
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.jobs.records import TYPE_NAME, Record, Records, boot_id
from jidoteki.core.plugin_manager.isolation import told
from jidoteki.core.plugin_manager.manager import Plugin, PluginError, Plugins
from jidoteki.hookspecs import JobType, paths, programs
from jidoteki.hookspecs.jobs import MAX_GRACE

RELEASE_TRIES = 200
RECOVERY_TIMEOUT = 600.0


logger = logging.getLogger(__name__)


class BusyError(Exception):
    """A job of this type, or one that excludes it, is running.

    :param job_type: which type is running.
    """

    def __init__(self, job_type: str) -> None:
        super().__init__(job_type)
        self.job_type = job_type


class Launcher:
    """Starts jobs of one appliance."""

    def __init__(self, appliance: Appliance, config: Config, plugins: Plugins) -> None:
        self.appliance = appliance
        self.records = Records(appliance.jobs)
        self.job_types: dict[str, tuple[Plugin, JobType]] = {}
        self._config = config
        self._plugins = plugins
        for plugin in plugins.loaded:
            for job in plugin.jobs:
                self._add(plugin, job)

    def _add(self, plugin: Plugin, job: JobType) -> None:
        problem = _wrong(job)
        if problem:
            self._plugins.leave_out(plugin, problem)
        elif job.name in self.job_types:
            other = self.job_types[job.name][0]
            self._plugins.leave_out(plugin, f"the job {job.name} belongs to the plugin {other.name} already")
        else:
            self.job_types[job.name] = plugin, job

    def lock(self, job_type: str) -> Path:
        """The file that a running job of this type holds locked."""
        return self.records.lock(job_type)

    def busy(self, job_type: str) -> str | None:
        """The type of a running job that keeps this type from starting, or None."""
        for each in (job_type, *self._excluded(job_type)):
            if self._is_busy(each):
                return each
        return "reboot" if self.job_types[job_type][1].persist and changes.are_over(self.appliance.jobs) else None

    def is_running(self, job_type: str) -> bool:
        """Whether a job of this type runs; one that recorded its end does not, though it may still hold its lock."""
        if not locks.is_held(self.lock(job_type)):
            return False
        record = self.records.latest(job_type)
        return record is None or record.status == "running"

    def _is_busy(self, job_type: str) -> bool:
        """Whether a job of this type runs; one that recorded its end has a moment more to let go of its lock."""
        for _ in range(RELEASE_TRIES):
            if not locks.is_held(self.lock(job_type)):
                return False
            if self.is_running(job_type):
                return True
            time.sleep(0.01)
        return True

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
    ) -> tuple[Record, JobProcess]:
        """Start a job.

        :param permit: called when nothing is in the way any more; what it raises keeps the job from starting.
        :raises BusyError: it cannot run now.
        :raises OSError: it cannot be started; nothing is left behind.
        """
        with locks.holding(self.appliance.jobs / "start.lock", tries=500):
            blocking = self.busy(job_type)
            if blocking:
                raise BusyError(blocking)
            permit()
            try:
                lock = locks.take(self.lock(job_type), tries=10)
            except locks.LockHeldError as error:
                raise BusyError(job_type) from error
            try:
                self.settle(job_type)
                record = self.records.new(job_type, client, user, self.job_types[job_type][1].persist)
                status_files.write(self.appliance.etc, self.job_types[job_type][1], record, begin=True)
                return record, self._spawn(record, input, lock)
            finally:
                os.close(lock)

    def _spawn(self, record: Record, input: Mapping[str, Any], lock: int) -> JobProcess:
        try:
            with open(paths.append_regular(self.records.log(record.id)), "ab") as log:
                process = self._process(record, input, lock, log.fileno(), log.fileno(), dry_run=False)
            exit_reasons.remember(self.records.path(record.id), process)
            return process
        except BaseException as error:
            record.fail(f"The job could not be started: {error}")
            self._save(record)
            self.clear(record.id)
            raise

    def check(self, job_type: str, input: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Run the job's check of an input in a process of its own, changing nothing.

        :return: `{"status", "error_message"?, "error_code"?, "preview"?}`.
        :raises BusyError: the job could not run now.
        :raises TimeoutError: the check did not end in time.
        """
        blocking = self.busy(job_type)
        if blocking:
            raise BusyError(blocking)
        record = Record(f"dry-run-{os.urandom(8).hex()}", job_type)
        with open(os.devnull, "rb") as null:
            process = self._process(record, input, null.fileno(), subprocess.PIPE, subprocess.DEVNULL, dry_run=True)
        try:
            outcome = process.communicate(timeout)
        except TimeoutError as error:
            raise TimeoutError("The check did not end in time") from error
        finally:
            process.kill()
            process.wait()
            self.clear(record.id)
        try:
            said = dict(json.loads(outcome))
            if details := said.pop("details", None):
                logger.error("The check of %s failed:\n%s", job_type, details)
            return said
        except (ValueError, TypeError):
            message = f"The check ended unexpectedly: its process {exit_reasons.described(process.poll() or 0)}"
            logger.error("The job %s: %s", job_type, message)
            return {"status": "failed", "error_message": message, "error_code": "E1000"}

    def _process(
        self, record: Record, input: Mapping[str, Any], lock: int, out: int, errors: int, dry_run: bool
    ) -> JobProcess:
        plugin, _ = self.job_types[record.type]
        wanted = {plugin.name: plugin} | {
            each.name: each for each, _ in self._plugins.implementations("jidoteki_apply")
        }
        directory = self.appliance.tmp / record.id
        workspace = directory / "work"
        workspace.mkdir(mode=0o700, parents=True)
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
        )
        order.write(directory / "order.json")
        return self.start_process(directory / "order.json", lock, out, errors)

    def start_process(self, order: Path, stdin: int, stdout: int, stderr: int) -> JobProcess:
        """Start the process of a job, which is a thread in the test kit.

        :param order: the file that describes the job.
        :raises OSError: it cannot be started.
        """
        argv = [sys.executable, "-I", "-m", "jidoteki.core.jobs.runner", str(order)]
        return JobProcess.start(argv, commands.environment(self.appliance), stdin, stdout, stderr)

    def settle(self, job_type: str) -> list[Record]:
        """Record as failed what claims to run while nobody holds the lock; call it while no job of the type runs."""
        settled = []
        for id in self.records.ids(job_type):
            record = self.records.read(id)
            if record and record.status == "running":
                if record.boot == boot_id() and record.pid and not processes.is_alive(record.pid):
                    processes.kill_rest(record.pid, f"{programs.ADMIN}={self.appliance.admin}")
                record.fail(exit_reasons.reason(self.records.path(id)))
                self.finish(record)
                settled.append(record)
        return settled

    def finish(self, record: Record) -> None:
        """Store how a dead job ended and clear away what it left."""
        with leftovers.tolerated("Files that were being replaced together are old and new"):
            files.finish_replacing(self.appliance.jobs)
        said = self._recover(record.type)
        if said and record.error_message:
            record.error_message = f"{record.error_message}. {said}"
        self._log(record)
        self._save(record)
        self.clear(record.id)

    def _save(self, record: Record) -> None:
        _, job = self.job_types.get(record.type, (None, None))
        status_files.save(self.appliance.etc, job, record, self.records)

    def _log(self, record: Record) -> None:
        """Say in the logs of a dead job why it ended, as it would have itself."""
        _, job = self.job_types.get(record.type, (None, None))
        if job and record.error_message:
            log = logs.of(self.appliance, job, self.records.log(record.id))
            log.line(record.error_message)
            log.close()

    def _recover(self, job_type: str) -> str | None:
        """Let the plugin put right what the dead job left half done, and return what it says of that."""
        plugin, job = self.job_types.get(job_type, (None, None))
        if plugin is None or job is None or job.recover is None:
            return None
        recover: Callable[..., object] = job.recover
        given = (self.appliance, plugin.section) if _takes_config(recover) else (self.appliance,)
        calls = self._plugins.calls
        try:
            said = calls.within(plugin.name, f"the recovery of {job_type}", RECOVERY_TIMEOUT, lambda: recover(*given))
        except PluginError as error:
            message = "The plugin %s could not recover from a dead %s job: %s"
            logger.error(message, plugin.name, job_type, told(error), exc_info=calls.first(error))
            return None
        return said if isinstance(said, str) else None

    def clear(self, id: str) -> None:
        """Remove the work space of a run, or whatever else has its name there."""
        path = self.appliance.tmp / id
        with leftovers.tolerated(f"{path} cannot be removed"):
            leftovers.remove(path)


def _wrong(job: JobType) -> str | None:
    """Say what keeps a job from being served; its author may have given it anything."""
    if not isinstance(job.name, str) or not TYPE_NAME.fullmatch(job.name):
        return f"the job name {job.name!r} must be lower-case letters, digits and '-'"
    if any(inspect.iscoroutinefunction(each) for each in (job.run, job.check, job.recover)):
        return f"the handlers of the job {job.name} must not be async"
    if not _is_number(job.timeout) or not 0 < job.timeout < math.inf:
        return f"the timeout of the job {job.name} must be a number of seconds above 0"
    if not _is_number(job.grace) or not 0 <= job.grace <= MAX_GRACE:
        return f"the grace of the job {job.name} must be from 0 to {MAX_GRACE:g} seconds"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _takes_config(recover: Callable[..., Any]) -> bool:
    """Whether a recovery takes the configuration, too: by a second parameter that it needs, or one called so."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(recover).parameters.values()
    except (TypeError, ValueError):  # of what is not written in Python
        return False
    second = [each for each in parameters if each.kind in kinds][1:2]
    return any(each.default is each.empty or each.name == "config" for each in second)
