"""`jidoteki call`."""

from __future__ import annotations

import asyncio
import codecs
import os
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import click

from jidoteki.client import Answer, ApiResponseError, Client, ClientError, UnreachableError
from jidoteki.client.confirming import trying
from jidoteki.client.downloads import make_sure_of_room
from jidoteki.client.errors import sentence
from jidoteki.client.jobs import is_temporary
from jidoteki.core.cli.completion import request_arguments
from jidoteki.core.cli.progress import Meter
from jidoteki.core.cli.remote import Remote, printable, remote_options
from jidoteki.core.http.responses import encode
from jidoteki.hookspecs.trials import MAX_SECONDS, MIN_SECONDS

MAX_TEXT = 64 * 1024
Status = Mapping[str, Any]
STANDARD_OUTPUT = Path("-")
"""The value of `--output` that stands for it, as in curl; a terminal then gets any content."""


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of the command."""

    method: str
    path: str
    fields: Mapping[str, str]
    files: Mapping[str, Path]
    wait: bool
    status: str | None
    output: Path | None
    max_size: int | None
    confirm: int = 0
    confirm_at: str | None = None


@click.command()
@request_arguments
@click.option(
    "-F", "--form", "parts", multiple=True, metavar="NAME=VALUE",
    help="A form parameter; @FILE as its value sends a file, <FILE the text in a file.",
)  # fmt: skip
@click.option("--wait", is_flag=True, help="Follow the job that the request starts to its end; exit 1 if it fails.")
@click.option(
    "--confirm", type=click.IntRange(MIN_SECONDS, MAX_SECONDS), is_flag=False, flag_value=90, metavar="[SECONDS]",
    help="Have the change put back unless it can be confirmed in time, by default within 90 seconds, and confirm it.",
)  # fmt: skip
@click.option("--confirm-at", metavar="URL", help="Where the appliance is to be reached after that change.")
@click.option("--status", metavar="PATH", help="Where the status of that job is, if the appliance does not tell.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the answer to a file, - for standard output; a download that was cut off goes on where it stopped.",
)  # fmt: skip
@click.option("--max-size", type=click.IntRange(0), metavar="BYTES", help="Longest file that --output writes.")
@click.option("--no-token", is_flag=True, help="Send no token, for the first setup.")
@remote_options
def command(
    remote: Remote, method: str, path: str, parts: tuple[str, ...], wait: bool, status: str | None,
    output: Path | None, max_size: int | None, no_token: bool, confirm: int | None, confirm_at: str | None,
) -> None:  # fmt: skip
    """Make a signed request and print the answer's body.

    PATH is with or without /api/v1/admin, and may have a query. The token comes from --token-file, from
    $JIDOTEKI_TOKEN, or is asked for. Errors of the appliance are told on standard error, with exit status 1.
    """
    fields, files = _form(parts)
    if wait and output:
        raise click.UsageError("--wait and --output exclude each other")
    if status and not wait:
        raise click.UsageError("--status needs --wait")
    if confirm and (method != "POST" or output):
        raise click.UsageError("--confirm is for POST, without --output")
    if confirm_at and not confirm:
        raise click.UsageError("--confirm-at needs --confirm")
    call = Call(method, path, fields, files, wait, status, output, max_size, confirm or 0, confirm_at)
    remote.run(lambda client: _make(client, call), with_token=not no_token)


def _form(parts: tuple[str, ...]) -> tuple[dict[str, str], dict[str, Path]]:
    fields: dict[str, str] = {}
    files: dict[str, Path] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise click.UsageError(f"-F {part}: must be NAME=VALUE, NAME=@FILE or NAME=<FILE")
        if name in fields or name in files:
            raise click.UsageError(f"-F {name} is given twice")
        if value.startswith("@"):
            files[name] = _file(name, value[1:])
        else:
            fields[name] = _text(name, _file(name, value[1:])) if value.startswith("<") else value
    return fields, files


def _file(parameter: str, name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise click.UsageError(f"-F {parameter}: {name or 'An empty name'} is not a file")
    return path


def _text(parameter: str, path: Path) -> str:
    """Return the text in a file without a trailing newline."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read(MAX_TEXT + 1)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"-F {parameter}: {path} cannot be read as text") from error
    if len(text) > MAX_TEXT:
        raise click.UsageError(f"-F {parameter}: {path} is too long for text: send it as a file, with @")
    return text.removesuffix("\n").removesuffix("\r")


async def _make(client: Client, call: Call) -> None:
    async with client:
        if call.confirm:
            _print(await _try(client, call))
        elif call.wait:
            if call.method == "POST":
                await client.listen()
            _print(await _follow(client, call, await _send(client, call)))
        elif call.output == STANDARD_OUTPUT:
            await _stream(client, call)
        elif call.output and call.method == "GET":
            with Meter("Downloading", "bytes") as meter:
                await client.download(call.path, call.output, meter.show, max_size=call.max_size)
        elif call.output:
            call.output.write_bytes((await _send(client, call)).body)
        elif sys.stdout.isatty():
            await _show(client, call)
        else:
            await _stream(client, call)


async def _send(client: Client, call: Call) -> Answer:
    size = sum(path.stat().st_size for path in call.files.values())
    with Meter("Sending", "bytes") as meter:
        return await client.request(
            call.method, call.path, call.fields, call.files, lambda sent: meter.show(sent, size)
        )


async def _try(client: Client, call: Call) -> Any:
    """Return the final status of the job of a change that was confirmed, at the new address if there is one."""
    path = trying(call.path, call.confirm)
    answer = await _send(client, replace(call, path=path))
    if answer.status != 202 or answer.is_dry_run:
        return answer.data
    where = f" at {sentence(call.confirm_at)}" if call.confirm_at else ""
    click.echo(f"Waiting until the change can be confirmed{where}", err=True)
    async with AsyncExitStack() as opened:
        there = await opened.enter_async_context(client.at(call.confirm_at)) if call.confirm_at else client
        ended = asyncio.create_task(client.wait_for(answer)) if call.confirm_at else None
        try:
            if status := await _confirm(there, path, ended):
                return status
        finally:
            if ended:
                ended.cancel()
                await asyncio.gather(ended, return_exceptions=True)
        return await _follow(there, call, answer)


async def _confirm(there: Client, path: str, ended: asyncio.Task[Status] | None) -> Status | None:
    """Confirm a change; return the final status of its job if the old address told that before.

    :param path: of the request that made it.
    :param ended: follows the job at the old address; None if there is no other.
    :raises JobOutcomeError: the job failed meanwhile.
    """
    while True:
        confirming = asyncio.create_task(there.confirm(path))
        try:
            await asyncio.wait({confirming, ended} if ended else {confirming}, return_when=asyncio.FIRST_COMPLETED)
            if ended and ended.done() and not confirming.done():
                with suppress(ApiResponseError, UnreachableError):  # the change may have moved it
                    return ended.result()
                ended = None
            await confirming
        except ApiResponseError as error:
            if error.status == 404:
                raise ClientError("The appliance knows no confirmations: the change is final") from error
            if error.status != 400:
                raise  # else the job tells why there is nothing to confirm
        except UnreachableError as error:
            if ended and not ended.done() and is_temporary(error):
                continue  # the old address says that it still is being made
            raise ClientError(f"{error}; so the change was not confirmed, and is put back") from error
        finally:
            confirming.cancel()
            await asyncio.gather(confirming, return_exceptions=True)
        return None


async def _follow(client: Client, call: Call, answer: Answer) -> Any:
    """Return the final status of the job in an answer, or the data of an answer without a job."""
    told = answer.status == 202 and not answer.is_dry_run and (call.status or answer.job or answer.location)
    if not told:
        return answer.data
    restarting = ""
    with Meter("Waiting", "%") as meter:

        def show(status: Mapping[str, Any]) -> None:
            nonlocal restarting
            if (why := str(status.get("restarting") or "")) and why != restarting:
                restarting = why
                meter.close()
                click.echo(sentence(why), err=True)
            meter.show(_percentage(status), 100)

        return await (client.wait(call.status, show) if call.status else client.wait_for(answer, show))


def _percentage(status: Mapping[str, Any]) -> int:
    told = status.get("percentage")
    if status.get("status") == "success":
        return 100
    return min(max(told, 0), 100) if isinstance(told, int) else 0


@asynccontextmanager
async def _opened(client: Client, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request and yield the answer before its body is read."""
    size = sum(path.stat().st_size for path in call.files.values())
    with Meter("Sending", "bytes") as meter:
        async with client.open(
            call.method, call.path, call.fields, call.files, lambda sent: meter.show(sent, size)
        ) as response:
            meter.close()
            yield response


async def _stream(client: Client, call: Call) -> None:
    """Write the body to a pipe or a file in chunks."""
    target = sys.stdout.buffer
    async with _opened(client, call) as response:
        async for chunk in client.chunks(response):
            if stat.S_ISREG(os.fstat(target.fileno()).st_mode):
                make_sure_of_room(target.fileno(), len(chunk))
            target.write(chunk)
    target.flush()


async def _show(client: Client, call: Call) -> None:
    """Write the body to a terminal in chunks.

    :raises ClientError: it is not text; if its header says so, it is not fetched.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    last = "\n"
    async with _opened(client, call) as response:
        media = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media and not _is_text(media):
            raise _not_text(response, media)
        async for chunk in client.chunks(response):
            if b"\0" in chunk:
                raise _not_text(response, media or "something")
            text = printable(decoder.decode(chunk))
            last = text[-1:] or last
            click.echo(text, nl=False)
    click.echo(printable(decoder.decode(b"", final=True)), nl=last != "\n")


def _is_text(media: str) -> bool:
    return media.startswith("text/") or media == "application/json" or media.endswith("+json")


def _not_text(response: aiohttp.ClientResponse, media: str) -> ClientError:
    size = "" if response.content_length is None else f"{response.content_length} bytes of "
    return ClientError(
        f"The answer is no text but {size}{sentence(media, 100)}: "
        "write it to a file with --output FILE (-o FILE), or into a pipe; -o - shows it all the same"
    )


def _print(data: Any) -> None:
    """Print an answer that is in memory."""
    text = data if isinstance(data, str) else _json(data)
    if sys.stdout.isatty():
        text = printable(text)
    click.echo(text, nl=not text.endswith("\n"))


def _json(data: Any) -> str:
    try:
        return encode(data).decode()
    except RecursionError as error:
        raise ClientError("The answer is nested too deeply to be shown") from error
