"""The command `jidoteki license`, by which vendors make licenses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import click

from jidoteki.plugins.license import gpg
from jidoteki.plugins.license.programs import ToolError

MAX_KEY: Final = 1024 * 1024
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def license() -> None:
    """Make license files."""


@license.command()
@click.argument("content", type=_FILE)
@click.option("--recipient", type=_FILE, required=True, help="The OpenPGP certificate of the appliance's license.key.")
@click.option(
    "--sign-key", type=_FILE, required=True, help="Your OpenPGP secret key; its certificate is the license.pub."
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("license.asc"), show_default=True,
    help="Where to write it.",
)  # fmt: skip
def build(content: Path, recipient: Path, sign_key: Path, output: Path) -> None:
    """Sign the JSON object in the file CONTENT and encrypt it to one appliance.

    Neither key may have a passphrase. Needs gpg.
    """
    document = _document(content)
    certificate, key = _key("--recipient", recipient), _key("--sign-key", sign_key)
    try:
        _write(output, gpg.make_license(document, certificate, key))
    except ToolError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"--output {output} cannot be written: {error.strerror or error}") from error
    click.echo(f"Made {output}")


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(gpg.MAX_SIZE + 1))
    except json.JSONDecodeError as error:
        raise click.ClickException(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise click.ClickException(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise click.ClickException(f"{path} must hold a JSON object")
    return document


def _key(option: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY)
    except OSError as error:
        raise click.ClickException(f"{option} {path} cannot be read: {error.strerror or error}") from error


def _write(path: Path, text: str) -> None:
    """Replace the file atomically."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="ascii")
    os.replace(temporary, path)
