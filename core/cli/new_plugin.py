"""`jidoteki new-plugin`."""

from __future__ import annotations

import keyword
import pkgutil
import re
from importlib import import_module, resources
from pathlib import Path
from string import Template

import click

from jidoteki.core.cli import CommandError
from jidoteki.core.plugin_manager.sources import BUILT_IN, MANDATORY
from jidoteki.hookspecs import CONTRACT

_NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME = 32

FILES = {
    "pyproject.toml": "pyproject.toml.in",
    "README.md": "README.md.in",
    "jidoteki_$module.py": "plugin.py.in",
    "tests/test_$module.py": "test_plugin.py.in",
}


@click.command()
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to make it: an empty or new directory.  [default: ./jidoteki-NAME]",
)
def command(name: str, directory: Path | None) -> None:
    """Make the folder of a new plugin called NAME: a project with an endpoint, a validator, a job and tests."""
    check(name)
    made = make(name, directory or Path(f"jidoteki-{name}"))
    click.echo(f"Made the plugin {name} in {made}. Next:")
    click.echo(f"  cd {made}")
    click.echo("  pip install -e '.[test]'")
    click.echo("  pytest")
    click.echo("  mypy --strict .")
    click.echo(f"Once an appliance serves {name} (README.md says how), it has a page in the dashboard, under More.")


def check(name: str) -> None:
    """Check that a new plugin may have this name.

    :raises CommandError: it has other characters, or is the name of one of the host's plugins.
    """
    if len(name) > MAX_NAME or not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise CommandError(
            f"{name!r} must be up to {MAX_NAME} lower-case letters, digits and '-', and begin with a letter"
        )
    own = {each.name for package in (MANDATORY, BUILT_IN) for each in pkgutil.iter_modules(_path(package))}
    if name in own:
        raise CommandError(f"{name} is a plugin of the host already: choose another name")


def _path(package: str) -> list[str]:
    return list(import_module(package).__path__)


def make(name: str, directory: Path) -> Path:
    """Write the project into a directory and return the directory.

    :raises CommandError: the directory is not empty or cannot be written.
    """
    names = {
        "name": name,
        "module": name.replace("-", "_"),
        "title": name.replace("-", " ").capitalize(),
        "contract": CONTRACT,
    }
    templates = resources.files("jidoteki.core.cli").joinpath("template")
    try:
        if directory.exists() and any(directory.iterdir()):
            raise CommandError(f"{directory} is not empty")
        for target, template in FILES.items():
            path = directory / Template(target).substitute(names)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(templates.joinpath(template).read_text("utf-8")).substitute(names), "utf-8")
    except OSError as error:
        raise CommandError(f"{directory} cannot be used: {error.strerror}") from error
    return directory
