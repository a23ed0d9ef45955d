"""`jidoteki call`."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click

from jidoteki.client import Answer, ApiProblem, Client, ClientProblem, JobProblem
from jidoteki.client.downloads import make_sure_of_room
from jidoteki.client.problems import sentence
from jidoteki.core.cli import Problem
from jidoteki.core.cli.completion import request_arguments
from jidoteki.core.cli.meters import Meter
from jidoteki.core.cli.sign import token_from
from jidoteki.core.http.responses import encode

URL = "https://127.0.0.1:8443"
MAX_TEXT = 64 * 1024
STANDARD_OUTPUT = Path("-")
"""What `--output` calls it, as curl does: then a terminal gets whatever comes."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked for."""

    method: str
    path: str
    fields: Mapping[str, str]
    files: Mapping[str, Path]
    wait: bool
    status: str | None
    output: Path | None
    max_size: int | None


@click.command()
@request_arguments
@click.option("--url", default=URL, envvar="JIDOTEKI_URL", show_default=True, show_envvar=True, help="The appliance.")
@click.option(
    "-F", "--form", "parts", multiple=True, metavar="NAME=VALUE",
    help="A form parameter; @FILE as its value sends a file, <FILE the text in a file.",
)  # fmt: skip
@click.option("--wait", is_flag=True, help="Follow the job that the request starts to its end; exit 1 if it fails.")
@click.option("--status", metavar="PATH", help="Where the status of that job is, if the appliance does not tell.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the answer to a file, - for standard output; a download that was cut off goes on where it stopped.",
)  # fmt: skip
@click.option("--max-size", type=click.IntRange(0), metavar="BYTES", help="Longest file that --output writes.")
@click.option("--cacert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificates to trust.")
@click.option("-k", "--insecure", is_flag=True, help="Trust any certificate.")
@click.option("--token-file", type=click.Path(dir_okay=False, path_type=Path), help="A file that holds the token.")
@click.option("--bearer", is_flag=True, help="Send the token itself, in a header, in place of a hash of it.")
@click.option("--no-token", is_flag=True, help="Send no token, for the first setup.")
@click.option(
    "--timeout", type=click.FloatRange(1, 86400), default=600, show_default=True, help="Seconds to wait for an answer."
)
def command(
    method: str, path: str, url: str, parts: tuple[str, ...], wait: bool, status: str | None, output: Path | None,
    max_size: int | None, cacert: Path | None, insecure: bool, token_file: Path | None, bearer: bool, no_token: bool,
    timeout: float,
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
    call = Call(method, path, fields, files, wait, status, output, max_size)
    token = None if no_token else token_from(token_file)
    try:
        client = Client(
            url, token, cafile=cacert, verify=not insecure, scheme="bearer" if bearer else "hash", timeout=timeout
        )
    except ClientProblem as error:
        raise Problem(f"{'--cacert' if str(error).startswith(str(cacert)) else '--url'} {error}") from error
    try:
        asyncio.run(_make(client, call))
    except ApiProblem as error:
        raise Problem(_with_code(error.message, error.code)) from error
    except JobProblem as error:
        raise Problem(_with_code(error.message, error.code)) from error
    except ClientProblem as error:
        raise Problem(str(error) + (" (--cacert, --insecure)" if "is not trusted" in str(error) else "")) from error
    except BrokenPipeError:
        # Whoever reads the answer has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise Problem(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}") from error


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
    """The text in a file without the newline at its end."""
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
        if call.wait:
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


async def _follow(client: Client, call: Call, answer: Answer) -> Any:
    """The last status of the job that the answer tells of; the answer itself when there is none."""
    told = answer.status == 202 and not answer.is_dry_run and (call.status or answer.job or answer.location)
    if not told:
        return answer.data
    with Meter("Waiting", "%") as meter:

        def show(status: Mapping[str, Any]) -> None:
            meter.show(_percentage(status), 100)

        return await (client.wait(call.status, show) if call.status else client.wait_for(answer, show))


def _percentage(status: Mapping[str, Any]) -> int:
    told = status.get("percentage")
    if status.get("status") == "success":
        return 100
    return min(max(told, 0), 100) if isinstance(told, int) else 0


@asynccontextmanager
async def _opened(client: Client, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer, whose body is still to come."""
    size = sum(path.stat().st_size for path in call.files.values())
    with Meter("Sending", "bytes") as meter:
        async with client.open(
            call.method, call.path, call.fields, call.files, lambda sent: meter.show(sent, size)
        ) as response:
            meter.close()
            yield response


async def _stream(client: Client, call: Call) -> None:
    """Write the body to a pipe or a file as it comes."""
    target = sys.stdout.buffer
    async with _opened(client, call) as response:
        async for chunk in client.chunks(response):
            if stat.S_ISREG(os.fstat(target.fileno()).st_mode):
                make_sure_of_room(target.fileno(), len(chunk))
            target.write(chunk)
    target.flush()


async def _show(client: Client, call: Call) -> None:
    """Write the body to a terminal as it comes.

    :raises ClientProblem: it is no text; what says so in its header is not even fetched.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    last = "\n"
    async with _opened(client, call) as response:
        media = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media and not _is_text(media):
            raise _no_text(response, media)
        async for chunk in client.chunks(response):
            if b"\0" in chunk:
                raise _no_text(response, media or "something")
            text = _printable(decoder.decode(chunk))
            last = text[-1:] or last
            click.echo(text, nl=False)
    click.echo(_printable(decoder.decode(b"", final=True)), nl=last != "\n")


def _is_text(media: str) -> bool:
    return media.startswith("text/") or media == "application/json" or media.endswith("+json")


def _no_text(response: aiohttp.ClientResponse, media: str) -> ClientProblem:
    size = "" if response.content_length is None else f"{response.content_length} bytes of "
    return ClientProblem(
        f"The answer is no text but {size}{sentence(media, 100)}: "
        "write it to a file with --output FILE (-o FILE), or into a pipe; -o - shows it all the same"
    )


def _print(data: Any) -> None:
    """Print an answer that is kept in memory."""
    text = data if isinstance(data, str) else _json(data)
    if sys.stdout.isatty():
        text = _printable(text)
    click.echo(text, nl=not text.endswith("\n"))


def _printable(text: str) -> str:
    """The text as a terminal, which obeys some characters, may get it."""
    return "".join(c if c.isprintable() or c in "\n\t" else json.dumps(c)[1:-1] for c in text)


def _json(data: Any) -> str:
    try:
        return encode(data).decode()
    except RecursionError as error:
        raise ClientProblem("The answer is nested too deeply to be shown") from error


def _with_code(message: str, code: str | None) -> str:
    return f"{message} ({code})" if code else message
