"""`jidoteki debug-bundle`: what customers send, for vendors."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from jidoteki.core.cli import CommandError, Commands, with_option


@click.group(cls=Commands)
def command() -> None:
    """Open the debug bundles that customers send."""


@command.command("open")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
    help="The RSA private key in PEM whose public half is the appliance's updates.pub.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True,
    help="A new or empty directory, for `debug` and `logs`.",
)  # fmt: skip
@click.option(
    "--max-size", type=click.IntRange(1), default=16 * 1024, show_default=True, metavar="MIB",
    help="How much may be in it, unpacked.",
)  # fmt: skip
def open_bundle(file: Path, key: Path, output: Path, max_size: int) -> None:
    """Decrypt and unpack the debug bundle FILE (`GET /debug`).

    What customers send is not trusted: nothing is written outside of the directory.
    """
    from jidoteki.core.endpoints.support import sealed_bundles

    is_new = not output.exists()
    try:
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(output.iterdir()):
            raise CommandError(f"--output {output} is not empty")
        with tempfile.TemporaryDirectory(prefix=".jidoteki-", dir=output.parent) as work:
            unpacked = sealed_bundles.open_bundle(file, key, output, Path(work), max_size * 1024 * 1024)
    except sealed_bundles.BundleError as error:
        raise CommandError(with_option(str(error), {"--key": key})) from error
    except OSError as error:
        raise CommandError(f"{error.filename or output} cannot be used: {error.strerror or error}") from error
    finally:
        if is_new and output.is_dir() and not any(output.iterdir()):
            output.rmdir()
    for name, members in unpacked.items():
        click.echo(f"{output / name}: {members} files and directories")
