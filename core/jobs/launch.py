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

from jidoteki.core.appliance import Appliance
from jidoteki.core.config.loading import Config
from jidoteki.core.files import leftovers, locks
from jidoteki.core.jobs import changes, commands, deaths, settling, status_files
from jidoteki.core.jobs.order import Order
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.jobs.records import KIND, Record, Records
from jidoteki.core.plugin_manager.manager import Plugin, Plugins
from jidoteki.hookspecs import JobType, paths
from jidoteki.hookspecs.jobs import MAX_GRACE

PATIENCE = 200


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
        self.plugins = plugins
        for plugin in plugins.loaded:
            for job in plugin.jobs:
                self._add(plugin, job)

    def _add(self, plugin: Plugin, job: JobType) -> None:
        problem = _problem(job)
        if problem:
            self.plugins.leave_out(plugin, problem)
        elif job.name in self.kinds:
            other = self.kinds[job.name][0]
            self.plugins.leave_out(plugin, f"the job {job.name} belongs to the plugin {other.name} already")
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
                settling.settle_all(self, kind)
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
            self.save(record)
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
        wanted = {plugin.name: plugin} | {each.name: each for each, _ in self.plugins.implementations("jidoteki_apply")}
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

    def save(self, record: Record) -> None:
        """Store a record, and write its status files."""
        _, job = self.kinds.get(record.kind, (None, None))
        status_files.save(self.appliance.etc, job, record, self.records)

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
