"""Starting the process of a job. All functions block: call them in a thread."""

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
from jidoteki.core.jobs import changes, commands, deaths, logs, processes, status_files
from jidoteki.core.jobs.order import Order
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.jobs.records import KIND, Record, Records, boot_id
from jidoteki.core.plugin_manager.isolation import told
from jidoteki.core.plugin_manager.manager import Plugin, PluginError, Plugins
from jidoteki.hookspecs import JobType, paths, programs
from jidoteki.hookspecs.jobs import MAX_GRACE

PATIENCE = 200
RECOVERY_TIME = 600.0


logger = logging.getLogger(__name__)


class Busy(Exception):
    """A job of this type, or one that excludes it, is running.

    :param kind: the type of the running job.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Launcher:
    """The launcher of an appliance's jobs."""

    def __init__(self, appliance: Appliance, config: Config, plugins: Plugins) -> None:
        self.appliance = appliance
        self.records = Records(appliance.jobs)
        self.kinds: dict[str, tuple[Plugin, JobType]] = {}
        self._config = config
        self._plugins = plugins
        for plugin in plugins.loaded:
            for job in plugin.jobs:
                self._add(plugin, job)

    def _add(self, plugin: Plugin, job: JobType) -> None:
        problem = _problem(job)
        if problem:
            self._plugins.leave_out(plugin, problem)
        elif job.name in self.kinds:
            other = self.kinds[job.name][0]
            self._plugins.leave_out(plugin, f"the job {job.name} belongs to the plugin {other.name} already")
        else:
            self.kinds[job.name] = plugin, job

    def lock(self, kind: str) -> Path:
        """Return the path of the lock file of a job type."""
        return self.records.lock(kind)

    def busy(self, kind: str) -> str | None:
        """Return the type of a running job that prevents this type from starting, or None."""
        for each in (kind, *self._excluded(kind)):
            if self._is_busy(each):
                return each
        return "reboot" if self.kinds[kind][1].persist and changes.are_over(self.appliance.jobs) else None

    def is_running(self, kind: str) -> bool:
        """Return whether a job of this type is running; one with a recorded outcome is not."""
        if not locks.is_held(self.lock(kind)):
            return False
        record = self.records.latest(kind)
        return record is None or record.status == "running"

    def _is_busy(self, kind: str) -> bool:
        """Return whether a job of this type is running; one that recorded its outcome gets time to release its lock."""
        for _ in range(PATIENCE):
            if not locks.is_held(self.lock(kind)):
                return False
            if self.is_running(kind):
                return True
            time.sleep(0.01)
        return True

    def _excluded(self, kind: str) -> list[str]:
        own = set(self.kinds[kind][1].exclusive_with)
        return [
            name
            for name, (_, job) in self.kinds.items()
            if name != kind and (name in own or kind in job.exclusive_with)
        ]

    def start(
        self,
        kind: str,
        input: Mapping[str, Any],
        client: str,
        user: str,
        permit: Callable[[], None] = lambda: None,
    ) -> tuple[Record, JobProcess]:
        """Start a job.

        :param permit: called just before the start; an exception that it raises prevents the start.
        :raises Busy: it cannot run now.
        :raises OSError: it cannot be started; nothing is left behind.
        """
        with locks.holding(self.appliance.jobs / "start.lock", tries=500):
            blocking = self.busy(kind)
            if blocking:
                raise Busy(blocking)
            permit()
            try:
                lock = locks.take(self.lock(kind), tries=10)
            except locks.Held as error:
                raise Busy(kind) from error
            try:
                self.settle(kind)
                record = self.records.new(kind, client, user, self.kinds[kind][1].persist)
                status_files.write(self.appliance.etc, self.kinds[kind][1], record, begin=True)
                return record, self._spawn(record, input, lock)
            finally:
                os.close(lock)

    def _spawn(self, record: Record, input: Mapping[str, Any], lock: int) -> JobProcess:
        try:
            with open(paths.append_regular(self.records.log(record.id)), "ab") as log:
                process = self._process(record, input, lock, log.fileno(), log.fileno(), dry_run=False)
            deaths.remember(self.records.path(record.id), process)
            return process
        except BaseException as error:
            record.fail(f"The job could not be started: {error}")
            self._save(record)
            self.clear(record.id)
            raise

    def judge(self, kind: str, input: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Run the job's check of an input in a process, without changing anything.

        :return: `{"status", "error_message"?, "error_code"?, "preview"?}`.
        :raises Busy: the job could not run now.
        :raises TimeoutError: the check timed out.
        """
        blocking = self.busy(kind)
        if blocking:
            raise Busy(blocking)
        record = Record(f"dry-run-{os.urandom(8).hex()}", kind)
        with open(os.devnull, "rb") as null:
            process = self._process(record, input, null.fileno(), subprocess.PIPE, subprocess.DEVNULL, dry_run=True)
        try:
            verdict = process.communicate(timeout)
        except TimeoutError as error:
            raise TimeoutError("The check did not end in time") from error
        finally:
            process.kill()
            process.wait()
            self.clear(record.id)
        try:
            said = dict(json.loads(verdict))
            if details := said.pop("details", None):
                logger.error("The check of %s failed:\n%s", kind, details)
            return said
        except (ValueError, TypeError):
            message = f"The check ended unexpectedly: its process {deaths.described(process.poll() or 0)}"
            logger.error("The job %s: %s", kind, message)
            return {"status": "failed", "error_message": message, "error_code": "E1000"}

    def _process(
        self, record: Record, input: Mapping[str, Any], lock: int, out: int, errors: int, dry_run: bool
    ) -> JobProcess:
        plugin, _ = self.kinds[record.kind]
        wanted = {plugin.name: plugin} | {
            each.name: each for each, _ in self._plugins.implementations("jidoteki_apply")
        }
        directory = self.appliance.tmp / record.id
        workspace = directory / "work"
        workspace.mkdir(mode=0o700, parents=True)
        sections = self._config.settings["plugins"]
        order = Order(
            self.appliance.root,
            self.appliance.admin,
            record,
            [each.source for each in wanted.values()],
            {name: sections[name] for name in wanted if name in sections},
            {key: value for key, value in self._config.settings.items() if key != "plugins"},
            input,
            workspace,
            dry_run,
        )
        order.write(directory / "order.json")
        return self.start_process(directory / "order.json", lock, out, errors)

    def start_process(self, order: Path, stdin: int, stdout: int, stderr: int) -> JobProcess:
        """Start the process of a job; the test kit overrides this with a thread.

        :param order: the file that describes the job.
        :raises OSError: it cannot be started.
        """
        argv = [sys.executable, "-I", "-m", "jidoteki.core.jobs.runner", str(order)]
        return JobProcess.start(argv, commands.environment(self.appliance), stdin, stdout, stderr)

    def settle(self, kind: str) -> list[Record]:
        """Record the failure of dead runs; call it while no job of the type is running."""
        settled = []
        for id in self.records.ids(kind):
            record = self.records.read(id)
            if record and record.status == "running":
                if record.boot == boot_id() and record.pid and not processes.is_alive(record.pid):
                    processes.kill_rest(record.pid, f"{programs.ADMIN}={self.appliance.admin}")
                record.fail(deaths.reason(self.records.path(id)))
                self.finish(record)
                settled.append(record)
        return settled

    def finish(self, record: Record) -> None:
        """Record the outcome of a dead job and clean up after it."""
        with leftovers.tolerated("Files that were being replaced together are old and new"):
            files.finish_replacing(self.appliance.jobs)
        said = self._recover(record.kind)
        if said and record.error_message:
            record.error_message = f"{record.error_message}. {said}"
        self._log(record)
        self._save(record)
        self.clear(record.id)

    def _save(self, record: Record) -> None:
        _, job = self.kinds.get(record.kind, (None, None))
        status_files.save(self.appliance.etc, job, record, self.records)

    def _log(self, record: Record) -> None:
        """Log why a dead job ended, as it would have itself."""
        _, job = self.kinds.get(record.kind, (None, None))
        if job and record.error_message:
            log = logs.of(self.appliance, job, self.records.log(record.id))
            log.line(record.error_message)
            log.close()

    def _recover(self, kind: str) -> str | None:
        """Call the plugin's recovery from the dead job, and return its message."""
        plugin, job = self.kinds.get(kind, (None, None))
        if plugin is None or job is None or job.recover is None:
            return None
        recover: Callable[..., object] = job.recover
        given = (self.appliance, plugin.section) if _takes_config(recover) else (self.appliance,)
        calls = self._plugins.calls
        try:
            said = calls.within(plugin.name, f"the recovery of {kind}", RECOVERY_TIME, lambda: recover(*given))
        except PluginError as error:
            message = "The plugin %s could not recover from a dead %s job: %s"
            logger.error(message, plugin.name, kind, told(error), exc_info=calls.first(error))
            return None
        return said if isinstance(said, str) else None

    def clear(self, id: str) -> None:
        """Remove the workspace of a run, or any other file of that name."""
        path = self.appliance.tmp / id
        with leftovers.tolerated(f"{path} cannot be removed"):
            leftovers.remove(path)


def _problem(job: JobType) -> str | None:
    """Return what is wrong with a job type, of which no value can be trusted, or None."""
    if not isinstance(job.name, str) or not KIND.fullmatch(job.name):
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
    """Return whether a recovery takes the configuration: as a required second parameter, or one named `config`."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(recover).parameters.values()
    except (TypeError, ValueError):  # not written in Python
        return False
    second = [each for each in parameters if each.kind in kinds][1:2]
    return any(each.default is each.empty or each.name == "config" for each in second)
