"""`jidoteki sign`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from jidoteki.core.cli import CommandError
from jidoteki.core.cli.completion import request_arguments
from jidoteki.hookspecs.credentials import request_hash


@click.command()
@request_arguments
@click.option("--token-file", type=click.Path(dir_okay=False, path_type=Path), help="A file that holds the token.")
def command(method: str, path: str, token_file: Path | None) -> None:
    """Print the hash for METHOD and PATH, to be sent as ?hash=.

    The token comes from --token-file, from $JIDOTEKI_TOKEN, or is asked for.
    """
    # Imported late: other commands use this module, and need no client.
    from jidoteki.client.transport import full_path

    click.echo(request_hash(method, full_path(path.partition("?")[0]), token_from(token_file)))


def token_from(file: Path | None) -> str:
    """Return the token from a file, the environment or the terminal.

    :raises CommandError: the file cannot be read, or the token is empty.
    """
    if file:
        try:
            token = file.read_text(encoding="ascii").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise CommandError(
                f"--token-file {file} cannot be read: {getattr(error, 'strerror', None) or 'it is not ASCII'}"
            ) from error
    else:
        token = os.environ.get("JIDOTEKI_TOKEN") or click.prompt("Token", hide_input=True, err=True)
    if not token:
        raise CommandError("The token is empty")
    return token
