"""Sections in the reports of failed tests: logs and standard error of their hosts, and logs of failed jobs."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from jidoteki.core import files
from jidoteki.core.appliance import Appliance
from jidoteki.core.jobs.records import Records
from jidoteki.testing.host import Host

#: The hosts of a test, or of a module whose tests share one.
HOSTS = pytest.StashKey[list[Host]]()
#: The appliances that are served by the test's own process.
IN_PROCESS = pytest.StashKey[list[Appliance]]()
LINES = 200
LOOK_INTERVAL = 0.1
MOST_LOOKS = 20
TRACEBACK = "Traceback (most recent call last):"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of its hosts to the report of a failed test."""
    report = yield
    if report.failed:
        hosts = [host for node in item.listchain() for host in node.stash.get(HOSTS, [])]
        for number, host in enumerate(hosts, 1):
            name = f"jidoteki host {number}" if len(hosts) > 1 else "jidoteki host"
            report.sections.extend((f"{name}, {title}", text) for title, text in sections(host) if text)
        for appliance in item.stash.get(IN_PROCESS, []):
            report.sections.extend((f"jidoteki client, {title}", text) for title, text in failed_jobs(appliance))
    return report


def sections(host: Host) -> Iterator[tuple[str, str]]:
    """Yield title and text, possibly empty, of the logs of a host."""
    path = host.appliance.log / "jidoteki-admin-api.log"
    _wait_until_written(path)
    log, errors = tail(path), tail(host.error_file)
    told = set(log.splitlines())
    yield "log of the service", unfold(log)
    yield "standard error", unfold("\n".join(line for line in errors.splitlines() if line not in told))
    yield from failed_jobs(host.appliance)


def _wait_until_written(log: Path) -> None:
    """Wait a little for what the service logs in a thread, behind its responses."""
    size = -1
    for _ in range(MOST_LOOKS):
        time.sleep(LOOK_INTERVAL)
        before, size = size, log.stat().st_size if log.exists() else 0
        if size == before:
            return


def unfold(log: str) -> str:
    """Show the tracebacks of a log, which has one line for each message, in lines of their own."""
    lines = log.splitlines()
    return "\n".join(line.replace("\\n", "\n") if TRACEBACK in line else line for line in lines)


def failed_jobs(appliance: Appliance) -> Iterator[tuple[str, str]]:
    """Yield title and text of the log of each failed job."""
    records = Records(appliance.jobs)
    for record in records.all():
        if record.status == "failed":
            yield f"log of the failed job {record.id}", tail(records.log(record.id))


def tail(path: Path) -> str:
    """Return the last lines of a file; empty if it cannot be read."""
    try:
        return files.tail(path, LINES) or ""
    except OSError:
        return ""
