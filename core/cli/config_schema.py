"""`jidoteki config-schema`."""

from __future__ import annotations

from pathlib import Path

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import CommandError, root_option
from jidoteki.core.config import loading
from jidoteki.core.plugin_manager import section_schemas


@click.command()
@root_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to a file in place of printing it.",
)
def command(root: Path, output: Path | None) -> None:
    """Print the JSON Schema of the configuration file, the sections of this appliance's plugins included.

    Editors check and complete the file with it when its key "$schema" says where it is.
    """
    from jidoteki.core.config import schema

    appliance = Appliance(root)
    sections = section_schemas.sections_of(appliance, loading.load(appliance.configuration))
    text = schema.as_text(schema.describe(sections))
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        appliance.replace_file(output, text)
    except OSError as error:
        raise CommandError(f"--output {output} cannot be written: {error.strerror}") from error
