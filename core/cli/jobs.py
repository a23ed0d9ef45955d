"""`jidoteki jobs`."""

from __future__ import annotations

import asyncio
import codecs
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import click

from jidoteki.client import ApiResponseError, Client, ClientError
from jidoteki.client.jobs import AWAY_TIMEOUT, is_temporary
from jidoteki.core.cli import Commands, json_option
from jidoteki.core.cli.remote import Remote, printable, remote_options

LOOK_EACH = 0.5
_COLUMNS = ("id", "status", "percentage", "started", "seconds", "user", "client")
_id = click.argument("id", metavar="ID")


@click.group(cls=Commands, invoke_without_command=False)
def command() -> None:
    """See and cancel the jobs of an appliance.

    The token comes from --token-file, from $JIDOTEKI_TOKEN, or is asked for.
    """


@command.command("list")
@click.option("--type", "job_type", help="Only jobs of this type, such as backup.")
@click.option("--status", help="Only jobs with this status: running, success, failed, cancelled.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many at most.")
@json_option
@remote_options
def list_jobs(remote: Remote, job_type: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """List jobs, the newest first."""
    asked = {"type": job_type, "status": status, "limit": str(limit)}
    query = urlencode({name: value for name, value in asked.items() if value})

    async def ask(client: Client) -> None:
        async with client:
            answer = await client.get(f"/jobs?{query}")
        jobs = answer.get("jobs") if isinstance(answer, dict) else None
        if not isinstance(jobs, list) or not all(isinstance(each, dict) for each in jobs):
            raise ClientError("The appliance does not list its jobs")
        _print(json.dumps(jobs, indent=2) if as_json else _table(jobs))

    remote.run(ask)


@command.command("log")
@_id
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@remote_options
def log(remote: Remote, id: str, follow: bool) -> None:
    """Print all that a job wrote.

    With --follow a restart of the service meanwhile does no harm.
    """

    async def ask(client: Client) -> None:
        async with client:
            printed = _Log(client, id)
            await (_follow(printed) if follow else printed.go_on())

    remote.run(ask)


@command.command("cancel")
@_id
@json_option
@remote_options
def cancel(remote: Remote, id: str, as_json: bool) -> None:
    """Cancel a job that runs, and wait for its end."""

    async def ask(client: Client) -> None:
        async with client:
            answer = await client.post(f"{_path(id)}/cancel")
        _print(json.dumps(answer, indent=2) if as_json else f"{id} is cancelled")

    remote.run(ask)


class _Log:
    """The log of a job, as far as it is printed."""

    def __init__(self, client: Client, id: str) -> None:
        self._client = client
        self._id = id
        self._length = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    async def is_running(self) -> bool:
        """Return whether more may be written."""
        return (await _job(self._client, self._id)).get("status") == "running"

    async def go_on(self) -> None:
        """Print what is new."""
        headers = {"Range": f"bytes={self._length}-"} if self._length else {}
        try:
            async with self._client.open("GET", f"{_path(self._id)}/log", headers=headers) as response:
                if self._length and response.status != 206:
                    raise ClientError("The appliance does not send the rest of a log")
                async for chunk in self._client.chunks(response):
                    self._length += len(chunk)
                    click.echo(printable(self._decoder.decode(chunk)), nl=False)
        except ApiResponseError as problem:
            if problem.status != 416:  # there is nothing new
                raise


async def _follow(log: _Log) -> None:
    """Print a log until its job has ended."""
    answered: float | None = None
    running = True
    while running:
        try:
            running = await log.is_running()
            await log.go_on()
            answered = time.monotonic()
        except ClientError as error:
            if answered is None or not is_temporary(error) or time.monotonic() - answered > AWAY_TIMEOUT:
                raise
            running = True
        if running:
            await asyncio.sleep(LOOK_EACH)


async def _job(client: Client, id: str) -> Mapping[str, Any]:
    job = await client.get(_path(id))
    if not isinstance(job, dict):
        raise ClientError("The appliance does not show the job")
    return job


def _path(id: str) -> str:
    if not id.isascii() or not id.replace("-", "").isalnum():
        raise click.UsageError(f"{id!r} is no id of a job, such as 000042-update")
    return f"/jobs/{id}"


def _table(jobs: list[dict[str, Any]]) -> str:
    rows = [_COLUMNS, *(tuple(_cell(job, name) for name in _COLUMNS) for job in jobs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _cell(job: dict[str, Any], name: str) -> str:
    started, finished = job.get("started"), job.get("finished")
    if name == "started" and isinstance(started, int):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(min(max(started, 0), 2**40)))
    if name == "seconds":
        return str(finished - started) if isinstance(started, int) and isinstance(finished, int) else "-"
    if name == "percentage":
        return f"{job.get(name)} %"[:8]
    return str(job.get(name))[:80]


def _print(text: str) -> None:
    click.echo(printable(text))
