"""`jidoteki top`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator
from typing import Any

import click

from jidoteki.client import ApiResponseError, Client
from jidoteki.client.events import Event
from jidoteki.core.cli import json_option
from jidoteki.core.cli.remote import Remote, remote_options

#: Seconds between two looks where no events are served, and between two tables.
EACH = 2.0
REDRAW = 0.25
JOBS = 15
#: Answers that say that no events are to be had here.
NO_EVENTS = (403, 404, 503)


class State:
    """What is known of an appliance."""

    def __init__(self) -> None:
        self.version = ""
        self.health: dict[str, Any] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.services: list[Any] = []

    def take(self, event: Event) -> None:
        """Know what an event tells."""
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

    def show(self, told: dict[str, Any]) -> None:
        """Know what endpoints show."""
        if isinstance(told.get("jobs"), list):
            self.jobs = {}
            for each in told["jobs"]:
                self._add(each)
        self.health = told["health"] if isinstance(told.get("health"), dict) else self.health
        self.services = told["services"] if isinstance(told.get("services"), list) else self.services

    def _add(self, job: object) -> None:
        if isinstance(job, dict) and isinstance(job.get("id"), str):
            self.jobs[job["id"]] = job
            for id in sorted(self.jobs, reverse=True)[JOBS:]:
                del self.jobs[id]

    def document(self) -> dict[str, Any]:
        """It as JSON."""
        return {
            "version": self.version,
            "health": self.health,
            "services": self.services,
            "jobs": [self.jobs[id] for id in sorted(self.jobs, reverse=True)],
        }

    def table(self) -> str:
        """It for people."""
        parts = [f"version {self.version}" if self.version else "", *_figures(self.health)]
        down = [
            name
            for each in self.services
            if isinstance(each, dict)
            for name, is_so in each.items()
            if is_so != "running"
        ]
        parts += [f"not running: {', '.join(down)}"] if down else []
        lines = ["  ".join(part for part in parts if part), ""]
        lines.append(f"{'JOB':24} {'STATUS':10} {'%':>4}  {'STARTED':19} {'SECONDS':>8}  USER")
        lines += [_row(self.jobs[id]) for id in sorted(self.jobs, reverse=True)]
        return "\n".join(_printable(line) for line in lines)


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
    """The line as a terminal, which obeys some characters, may get it."""
    return "".join(c if c.isprintable() else "?" for c in line)


@click.command()
@remote_options
@json_option
def command(remote: Remote, as_json: bool) -> None:
    """Show jobs and health of an appliance, live until Ctrl-C; once, where the output is no terminal.

    With --json each change is a line, an object with version, health, services and the last jobs. What happens comes by
    the appliance's events where it serves them, else it is asked every two seconds.
    """

    async def show(client: Client) -> None:
        async with client:
            await _show(client, as_json)

    with contextlib.suppress(KeyboardInterrupt):
        remote.run(show)


async def _show(client: Client, as_json: bool) -> None:
    async with contextlib.aclosing(_states(client)) as states:
        if as_json:
            await _print_each(states)
        elif sys.stdout.isatty():
            await _draw(states)
        else:
            click.echo((await anext(states)).table())


async def _print_each(states: AsyncGenerator[State]) -> None:
    last = ""
    async for state in states:
        text = json.dumps(state.document())
        if text != last:
            last = text
            click.echo(text)
            sys.stdout.flush()


async def _draw(states: AsyncGenerator[State]) -> None:
    """Show the newest state, a few times a second at most."""
    changed = asyncio.Event()
    newest = State()

    async def take() -> None:
        nonlocal newest
        async for state in states:
            newest = state
            changed.set()

    taking = asyncio.create_task(take())
    taking.add_done_callback(lambda task: changed.set())
    try:
        while not taking.done():
            await changed.wait()
            changed.clear()
            click.clear()
            click.echo(newest.table())
            await asyncio.sleep(REDRAW)
        taking.result()
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


async def _states(client: Client) -> AsyncGenerator[State]:
    """What is known, each time that more is."""
    state = State()
    try:
        async with contextlib.aclosing(client.events()) as events:
            async for event in events:
                state.take(event)
                if event.name not in ("hello", "reset", "log"):
                    yield state
    except ApiResponseError as error:
        if error.status not in NO_EVENTS:
            raise
    while True:
        state.version = str((await _shown(client, "/version")).get("version", ""))
        state.show({"health": await _shown(client, "/health"), **await _shown(client, "/services")})
        state.show(await _shown(client, "/jobs"))
        yield state
        await asyncio.sleep(EACH)


async def _shown(client: Client, path: str) -> dict[str, Any]:
    """What an endpoint shows; nothing where it is not there, as on services of other versions."""
    try:
        told = await client.get(path)
    except ApiResponseError as error:
        if error.status not in (403, 404):
            raise
        return {}
    return told if isinstance(told, dict) else {}
