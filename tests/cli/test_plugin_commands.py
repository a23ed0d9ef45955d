"""Sub-commands of plugins are found on demand, and never affect the host's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.testing import MakeAppliance
from jidoteki.testing.host import COMMAND

HEAD = """
import sys
import click
from jidoteki.hookspecs import hookimpl

@click.command("hello")
@click.argument("name")
def hello(name):
    "Greet somebody."
    click.echo(f"Hello {name}")

"""
HOOK = "@hookimpl\ndef jidoteki_commands(cli):\n    "
GOOD = HEAD + HOOK + "cli.add_command(hello)\n"


@pytest.fixture
def appliance(jidoteki_appliance: MakeAppliance) -> Appliance:
    """Return an appliance with a valid plugin called `good`."""
    made = jidoteki_appliance()
    made.replace_file(made.configuration, '{"plugin-directory": "plugins"}')
    add(made, "good", GOOD)
    return made


def add(appliance: Appliance, name: str, code: str) -> None:
    """Add a one-file plugin."""
    appliance.replace_file(appliance.root / "plugins" / f"{name}.py", code)


def jidoteki(root: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command, with the appliance named in the environment."""
    variables = os.environ | ({"JIDOTEKI_ROOT": str(root)} if root else {})
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=variables, timeout=60)


def test_a_command_of_a_plugin_is_run_and_listed(appliance: Appliance) -> None:
    greeted = jidoteki(appliance.root, "hello", "Ada")
    listed = jidoteki(appliance.root, "--help")

    assert (greeted.returncode, greeted.stdout, greeted.stderr) == (0, "Hello Ada\n", "")
    assert "hello          Greet somebody." in listed.stdout
    assert "serve          Serve the API" in listed.stdout


def test_without_an_appliance_that_has_it_the_command_is_unknown() -> None:
    done = jidoteki(None, "hello", "Ada")

    assert done.returncode == 2
    assert "No such command 'hello'" in done.stderr


def test_plugins_are_not_loaded_for_a_command_of_the_host(appliance: Appliance) -> None:
    add(appliance, "loud", "raise RuntimeError('loaded')")

    done = jidoteki(appliance.root, "sign", "--help")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('planted')", "RuntimeError: planted"),
        (HOOK + "raise ValueError('planted')", "ValueError: planted"),
        (HOOK + "sys.exit(3)", "SystemExit: 3"),
        (HOOK + "cli.add_command(17)", "AttributeError"),
        (HOOK + "cli.add_command(click.Command('serve'))", "the command 'serve' exists already"),
        (HOOK + "cli.add_command(click.Command('hello'))", "the command 'hello' exists already"),
    ],
)
def test_a_bad_plugin_is_named_and_the_others_commands_work(appliance: Appliance, code: str, told: str) -> None:
    add(appliance, "worse", HEAD + code)

    done = jidoteki(appliance.root, "hello", "Ada")

    assert done.stdout == "Hello Ada\n"
    assert told in done.stderr
    assert "worse" in done.stderr


def test_the_hosts_commands_take_their_appliance_from_the_environment_too(appliance: Appliance) -> None:
    done = jidoteki(appliance.root, "plugins")

    assert "good                 file" in done.stdout
