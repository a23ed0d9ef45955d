"""`jidoteki events`."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

import click

from jidoteki.client import ApiResponseError, Client, Event
from jidoteki.core.cli import CommandError, json_option
from jidoteki.core.cli.remote import Remote, printable, remote_options

#: The keys of an event's data that are printed without --json.
SHOWN = {
    "hello": ("version",),
    "job": ("id", "status", "percentage", "error-message"),
    "audit": ("user", "client", "action", "target"),
    "reset": ("reason",),
}


@click.command()
@remote_options
@click.option("--after", default="", metavar="ID", help="Begin after the event with this id.")
@json_option
def command(remote: Remote, after: str, as_json: bool) -> None:
    """Follow what happens on an appliance, until Ctrl-C.

    A line for each event, with the time of day: of what has none of its own, that of its arrival. With --json each is
    an object with its id, event and data; the id of the last one may be given to --after later. A connection that is
    lost is made again.
    """

    async def follow(client: Client) -> None:
        async with client:
            await _follow(client, after, as_json)

    with contextlib.suppress(KeyboardInterrupt):
        remote.run(follow)


async def _follow(client: Client, after: str, as_json: bool) -> None:
    try:
        async for event in client.events(after):
            if as_json:
                click.echo(json.dumps({"id": event.id, "event": event.name, "data": event.data}))
            elif event.name != "state":
                click.echo(printable(_line(event)))
            sys.stdout.flush()
    except ApiResponseError as error:
        if error.status == 404:
            raise CommandError(f"{error.message}: the appliance serves no events") from error
        raise


def _line(event: Event) -> str:
    """Return an event as text for people."""
    data = event.data if isinstance(event.data, dict) else {}
    clock = _clock(data)
    if event.name == "log":
        text = str(data.get("text", "")).rstrip("\n")
        return "\n".join(f"{clock} log {data.get('job')}: {line}" for line in text.split("\n"))
    shown = json.dumps(data)
    if event.name in SHOWN:
        shown = " ".join(str(data[name]) for name in SHOWN[event.name] if data.get(name) is not None)
    elif not data:
        shown = ""
    return f"{clock} {event.name} {shown}".rstrip()


def _clock(data: dict[str, Any]) -> str:
    """Return the time of an event, or of its arrival if it has none: what was missed comes later than it happened."""
    told = data.get("time", data.get("finished"))
    known = isinstance(told, int | float) and 0 <= told < 1 << 40
    return time.strftime("%H:%M:%S", time.localtime(told if known else None))
