"""Commands that make requests of an appliance: which one it is, with which token, and what is told when that fails."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from jidoteki.client import ApiResponseError, Client, ClientError, JobOutcomeError
from jidoteki.core.cli import CommandError
from jidoteki.core.cli.sign import token_from

URL = "https://127.0.0.1:8443"


@dataclass(frozen=True, slots=True)
class Remote:
    """The appliance that a command asks, and how."""

    url: str
    cacert: Path | None
    insecure: bool
    token_file: Path | None
    bearer: bool
    timeout: float

    def run(self, make: Callable[[Client], Coroutine[Any, Any, None]], *, with_token: bool = True) -> None:
        """Run what makes the requests.

        :raises CommandError: the appliance answered with an error, or there is no answer.
        """
        token = token_from(self.token_file) if with_token else None
        try:
            client = Client(
                self.url, token, cafile=self.cacert, verify=not self.insecure,
                scheme="bearer" if self.bearer else "hash", timeout=self.timeout,
            )  # fmt: skip
        except ClientError as error:
            option = "--cacert" if str(error).startswith(str(self.cacert)) else "--url"
            raise CommandError(f"{option} {error}") from error
        try:
            asyncio.run(make(client))
        except (ApiResponseError, JobOutcomeError) as error:
            raise CommandError(f"{error.message} ({error.code})" if error.code else error.message) from error
        except ClientError as error:
            advice = " (--cacert, --insecure)" if "is not trusted" in str(error) else ""
            raise CommandError(str(error) + advice) from error
        except BrokenPipeError:
            # Whoever reads the answer has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            raise CommandError(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}") from error


_OPTIONS = (
    click.option(
        "--url", default=URL, envvar="JIDOTEKI_URL", show_default=True, show_envvar=True, help="The appliance."
    ),
    click.option(
        "--cacert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificates to trust."
    ),
    click.option("-k", "--insecure", is_flag=True, help="Trust any certificate."),
    click.option("--token-file", type=click.Path(dir_okay=False, path_type=Path), help="A file that holds the token."),
    click.option("--bearer", is_flag=True, help="Send the token itself, in a header, in place of a hash of it."),
    click.option(
        "--timeout",
        type=click.FloatRange(1, 86400),
        default=600,
        show_default=True,
        help="Seconds to wait for an answer.",
    ),
)


def remote_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name an appliance, and hand the command a `Remote` as its argument `remote`."""

    @wraps(function)
    def command(
        *, url: str, cacert: Path | None, insecure: bool, token_file: Path | None, bearer: bool, timeout: float,
        **others: Any,
    ) -> Any:  # fmt: skip
        return function(remote=Remote(url, cacert, insecure, token_file, bearer, timeout), **others)

    decorated: Callable[..., Any] = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def printable(text: str) -> str:
    """The text as a terminal, which obeys some characters, may get it."""
    return "".join(c if c.isprintable() or c in "\n\t" else json.dumps(c)[1:-1] for c in text)
