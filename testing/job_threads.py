"""Jobs that run in threads of the test's process, so that breakpoints work in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jidoteki.core.jobs import helper, runner
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.jobs.processes import JobProcess

LOOK_EACH = 0.005
END_TIMEOUT = 10.0


class JobThread(JobProcess):
    """A job in a thread, which cannot be killed: once cancelled, it ends at its next step.

    :param order: the file that describes the job.
    :param lock: held until the job has ended.
    """

    def __init__(self, order: Path, lock: int) -> None:
        super().__init__(os.getpid())
        self._begun = time.monotonic()
        self._lock = os.dup(lock)
        self._run: runner.Run | None = None
        self._not_run: BaseException | None = None
        self._told = False
        self._result: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._work, args=(order,), name=order.parent.name, daemon=True)
        self._thread.start()

    def _work(self, order: Path) -> None:
        try:
            self._run = run = runner.load(order)
            run.context.insists_on_type = True
            if run.job.privileged and run.reverting is None:  # as root does on an appliance
                helper.check_input(run.job, run.context.input)
            if self._told:
                run.context.cancel()
            if run.context.dry_run:
                self._result = runner.dry_run(run)
            else:
                runner.carry_out(run, lambda seconds: contextlib.nullcontext())
        except BaseException as error:
            self._not_run = error
        finally:
            if self._run and self._run.log:
                self._run.log.close()
            os.close(self._lock)

    def take_fault(self) -> BaseException | None:
        """Return, once, an unexpected exception of the job."""
        fault, self._not_run = self._not_run, None
        if self._run and self._run.fault:
            fault, self._run.fault = self._run.fault, None
        return fault

    def poll(self) -> int | None:
        """Return 0 when the job has ended, and None while it runs."""
        return None if self._thread.is_alive() else 0

    def communicate(self, timeout: float) -> bytes:
        """Wait for its end, and return the result of a dry run.

        :raises TimeoutError: it timed out.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError
        return json.dumps(self._result).encode()

    def wait(self) -> None:
        """Wait for its end."""
        self._thread.join()

    async def ended(self) -> None:
        """Wait for its end."""
        while self._thread.is_alive():  # noqa: ASYNC110  # waiting would take a thread that handlers need
            await asyncio.sleep(LOOK_EACH)

    def ask_to_end(self) -> None:
        """Cancel the job."""
        self._told = True
        if self._run:
            self._run.context.cancel()

    def kill(self) -> None:
        """Check that the job has ended, as a thread cannot be killed.

        :raises RuntimeError: it has not.
        """
        if self._thread.is_alive():
            raise RuntimeError(
                f"The job {self._thread.name} goes on, and a thread cannot be killed: test its end with jidoteki_host"
            )

    def age(self) -> float:
        """Return the time since its start, in seconds."""
        return time.monotonic() - self._begun


@contextlib.contextmanager
def jobs_in_threads() -> Iterator[list[JobThread]]:
    """Run all jobs in threads of this process; yield the list of started ones, to which new ones are added."""
    started: list[JobThread] = []

    def start(launcher: Launcher, order: Path, stdin: int, stdout: int, stderr: int) -> JobProcess:
        job = JobThread(order, stdin)
        started.append(job)
        return job

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Launcher, "start_process", start)
        yield started


async def end(jobs: list[JobThread]) -> None:
    """Cancel the running jobs and wait for their end.

    :raises RuntimeError: one does not end.
    """
    for job in jobs:
        job.ask_to_end()
    for job in jobs:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(job.ended(), END_TIMEOUT)
        job.kill()
