"""Commands that talk to an appliance: which one, by which token, and what is said when that goes wrong."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from jidoteki.client import ApiProblem, Client, ClientProblem
from jidoteki.core.cli import Problem
from jidoteki.core.cli.sign import token_from

URL = "https://127.0.0.1:8443"

OPTIONS = (
    click.option("--url", default=URL, envvar="JIDOTEKI_URL", show_default=True, show_envvar=True,
                 help="The appliance."),
    click.option("--cacert", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="Certificates to trust."),
    click.option("-k", "--insecure", is_flag=True, help="Trust any certificate."),
    click.option("--token-file", type=click.Path(dir_okay=False, path_type=Path), help="A file that holds the token."),
    click.option("--bearer", is_flag=True, help="Send the token itself, in a header, in place of a hash of it."),
)  # fmt: skip


def appliance_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which appliance and by which token, and hand the function a `client` of it."""

    @functools.wraps(function)
    def call(
        *, url: str, cacert: Path | None, insecure: bool, token_file: Path | None, bearer: bool, **options: Any
    ) -> None:
        scheme: Any = "bearer" if bearer else "hash"
        try:
            client = Client(url, token_from(token_file), cafile=cacert, verify=not insecure, scheme=scheme)
        except ClientProblem as error:
            raise Problem(f"{'--cacert' if str(error).startswith(str(cacert)) else '--url'} {error}") from error
        function(client=client, **options)

    decorated: Callable[..., None] = call
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated


def run(client: Client, work: Callable[[], Awaitable[None]]) -> None:
    """Do something with a client until it has ended, or somebody ends it by Ctrl-C or by closing the pipe.

    :raises Problem: it cannot be done.
    """

    async def within() -> None:
        async with client:
            await work()

    try:
        asyncio.run(within())
    except KeyboardInterrupt:
        return
    except ApiProblem as error:
        raise Problem(f"{error.message} ({error.code})" if error.code else error.message) from error
    except ClientProblem as error:
        raise Problem(str(error) + (" (--cacert, --insecure)" if "is not trusted" in str(error) else "")) from error
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
