"""`jidoteki top`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import click

from jidoteki.client import ApiResponseError, Client, ClientError
from jidoteki.client.events import Event
from jidoteki.client.jobs import AWAY_TIMEOUT, is_temporary
from jidoteki.core.cli import json_option
from jidoteki.core.cli.remote import Remote, remote_options

#: Seconds between two polls if no events are served, and between two tables.
EACH = 2.0
REDRAW = 0.25
JOBS = 15
#: Statuses that mean that no events are served.
NO_EVENTS = (403, 404, 503)
#: What a credential is told that is refused everywhere, while others are refused single endpoints.
NOT_AUTHENTICATED = "Authentication error"


class State:
    """The known state of an appliance."""

    def __init__(self) -> None:
        self.version = ""
        self.health: dict[str, Any] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.services: list[Any] = []
        #: Seconds since the epoch; None while the appliance answers.
        self.unreachable_since: int | None = None

    def lose(self) -> None:
        """Note that the appliance does not answer."""
        self.unreachable_since = self.unreachable_since or int(time.time())

    def take(self, event: Event) -> None:
        """Update the state by an event."""
        self.unreachable_since = None
        data = event.data if isinstance(event.data, dict) else {}
        if event.name == "hello":
            self.version = str(data.get("version") or "")
        elif event.name == "state":
            self.show(data)
        elif event.name == "job":
            self._add(data)
        elif event.name == "health":
            self.health = data
        elif event.name == "services":
            self.show(data)

    def show(self, results: dict[str, Any]) -> None:
        """Update the state by the results of endpoints."""
        self.unreachable_since = None
        if isinstance(results.get("jobs"), list):
            self.jobs = {}
            for each in results["jobs"]:
                self._add(each)
        self.health = results["health"] if isinstance(results.get("health"), dict) else self.health
        self.services = results["services"] if isinstance(results.get("services"), list) else self.services

    def _add(self, job: object) -> None:
        if isinstance(job, dict) and isinstance(job.get("id"), str):
            self.jobs[job["id"]] = job
            for id in sorted(self.jobs, reverse=True)[JOBS:]:
                del self.jobs[id]

    def document(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return {
            "version": self.version,
            "unreachable-since": self.unreachable_since,
            "health": self.health,
            "services": self.services,
            "jobs": [self.jobs[id] for id in sorted(self.jobs, reverse=True)],
        }

    def table(self, columns: int | None = None, rows: int | None = None) -> str:
        """Return the state as a table for people, cut to the size of a terminal if one is given."""
        head = self._head()
        lines = textwrap.wrap(head, columns) if columns else [head]
        lines += ["", f"{'JOB':24} {'STATUS':10} {'%':>4}  {'STARTED':19} {'SECONDS':>8}  USER"]
        lines += [_row(self.jobs[id]) for id in sorted(self.jobs, reverse=True)]
        return "\n".join(_cut(_printable(line), columns) for line in lines[:rows])

    def _head(self) -> str:
        away = self.unreachable_since
        parts = [] if away is None else [f"unreachable since {time.strftime('%H:%M:%S', time.localtime(away))}"]
        parts += [f"version {self.version}" if self.version else "", *_figures(self.health)]
        down = [
            name
            for each in self.services
            if isinstance(each, dict)
            for name, is_so in each.items()
            if is_so != "running"
        ]
        parts += [f"not running: {', '.join(down)}"] if down else []
        return "  ".join(part for part in parts if part)


def _figures(health: dict[str, Any]) -> list[str]:
    found = []
    for name in ("disk", "memory"):
        figures = health.get(name)
        if isinstance(figures, dict):
            found.append(f"{name} {figures.get('percentage')} % ({figures.get('used')} of {figures.get('total')})")
    cpu = health.get("cpu")
    return [*found, f"load {cpu.get('load')}"] if isinstance(cpu, dict) else found


def _row(job: dict[str, Any]) -> str:
    started, finished = job.get("started"), job.get("finished")
    began = taken = ""
    if isinstance(started, int) and 0 <= started < 1 << 40:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started))
        ended = finished if isinstance(finished, int) else time.time() if job.get("status") == "running" else None
        taken = "" if ended is None else f"{max(0, int(ended - started))}"
    shown = f"{job.get('id'):24} {job.get('status')!s:10} {job.get('percentage')!s:>4}  {began:19} {taken:>8}"
    said = job.get("error-message")
    return f"{shown}  {job.get('user')}{f': {said}' if said else ''}"


def _printable(line: str) -> str:
    """Replace control characters, which a terminal interprets."""
    return "".join(c if c.isprintable() else "?" for c in line)


def _cut(line: str, columns: int | None) -> str:
    """Cut a line that would be wrapped; a wide character takes two columns."""
    taken = 0
    for number, c in enumerate(line):
        taken += 2 if unicodedata.east_asian_width(c) in "WF" else 1
        if columns is not None and taken > columns:
            return line[:number]
    return line


@click.command()
@remote_options
@json_option
def command(remote: Remote, as_json: bool) -> None:
    """Show jobs and health of an appliance, live until Ctrl-C; once, where the output is no terminal.

    With --json each change is a line, an object with version, health, services and the last jobs. What happens comes by
    the appliance's events where it serves them, else it is asked every two seconds. Since when an appliance does not
    answer is shown; after two minutes the command ends.
    """

    async def show(client: Client) -> None:
        async with client:
            await _show(client, as_json)

    with contextlib.suppress(KeyboardInterrupt):
        remote.run(show)


async def _show(client: Client, as_json: bool) -> None:
    if as_json:
        await _print_each(client)
    else:
        await _draw(client, live=sys.stdout.isatty())


async def _print_each(client: Client) -> None:
    state, last = State(), ""

    def show() -> None:
        nonlocal last
        text = json.dumps(state.document())
        if text != last:
            last = text
            click.echo(text)
            sys.stdout.flush()

    await _watch(client, state, show)


async def _draw(client: Client, *, live: bool) -> None:
    """Show the newest state: the first one alone, or a few times a second at most."""
    state, changed = State(), asyncio.Event()
    watching = asyncio.create_task(_watch(client, state, changed.set))
    watching.add_done_callback(lambda task: changed.set())
    try:
        while True:
            await changed.wait()
            changed.clear()
            if watching.done():
                return watching.result()
            if not live:
                return click.echo(state.table())
            click.clear()
            columns, rows = shutil.get_terminal_size()
            click.echo(state.table(columns, rows - 1))
            await asyncio.sleep(REDRAW)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(client: Client, state: State, changed: Callable[[], None]) -> None:
    """Keep the state, and tell of each change."""

    def lost() -> None:
        state.lose()
        changed()

    try:
        async with contextlib.aclosing(client.events(on_lost=lost)) as events:
            async for event in events:
                was_away = state.unreachable_since is not None
                state.take(event)
                if was_away or event.name not in ("hello", "reset", "log"):
                    changed()
    except ApiResponseError as error:
        if error.status not in NO_EVENTS or error.message == NOT_AUTHENTICATED:
            raise
    await _ask_again_and_again(client, state, changed, lost)


async def _ask_again_and_again(
    client: Client, state: State, changed: Callable[[], None], lost: Callable[[], None]
) -> None:
    answered: float | None = None
    while True:
        try:
            await _ask(client, state)
            answered = time.monotonic()
            changed()
        except ClientError as error:
            if answered is None or not is_temporary(error) or time.monotonic() - answered > AWAY_TIMEOUT:
                raise
            lost()
        await asyncio.sleep(EACH)


async def _ask(client: Client, state: State) -> None:
    """Take what the endpoints show.

    :raises ClientError: one does not answer, or none is for this credential.
    """
    results: dict[str, Any] = {}
    refused: list[ApiResponseError] = []
    for path in ("/version", "/health", "/services", "/jobs"):
        try:
            results[path] = await client.get(path)
        except ApiResponseError as error:
            if error.status not in (403, 404) or error.message == NOT_AUTHENTICATED:
                raise
            refused.append(error)  # or not served, as by other versions
    if not results:
        raise refused[0]
    version, health, services, jobs = (
        shown if isinstance(shown := results.get(path), dict) else {}
        for path in ("/version", "/health", "/services", "/jobs")
    )
    state.version = str(version.get("version", ""))
    state.show({"health": health, **services})
    state.show(jobs)
