"""The command as a whole: each sub-command is documented, with an example that it understands, and completes itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from jidoteki.core.cli import COMMANDS, main
from jidoteki.testing.host import COMMAND

PAGE = (Path(__file__).parent.parent / "docs/command-line.md").read_text()
#: Comes with a plugin.
DOCUMENTED = [*COMMANDS, "license"]


def section(name: str) -> str:
    """What the page says about a command."""
    found = re.search(rf"^### `jidoteki {name}`\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"docs/command-line.md has no section on {name}"
    return found[1]


def examples(name: str) -> list[list[str]]:
    """The words behind the command in its examples."""
    lines = re.findall(rf"^    .*?(jidoteki {name}\b[^|>)]*)", section(name), re.MULTILINE)
    return [shlex.split(line, comments=True)[2:] for line in lines]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_command_is_documented_with_an_example(name: str) -> None:
    assert examples(name)


def known_options(command: click.Command) -> set[str]:
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    inner = command.commands.values() if isinstance(command, click.Group) else []
    return own.union(*(known_options(each) for each in inner))


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_use_options_that_exist(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command

    used = {word for words in examples(name) for word in words if re.fullmatch(r"-\w|--[a-z-]+", word)}

    assert used - known_options(command) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    done = subprocess.run([*COMMAND, name, "--help"], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("Usage: ")
    assert "--help" in done.stdout


def test_an_unknown_command_is_exit_status_2() -> None:
    done = subprocess.run([*COMMAND, "nonsense"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "No such command 'nonsense'" in done.stderr


def test_bash_completes_commands_and_options_as_the_page_says() -> None:
    script = r"""
        eval "$(_JIDOTEKI_COMPLETE=bash_source jidoteki)"
        complete_last() { COMPREPLY=(); _jidoteki_completion jidoteki; echo "${COMPREPLY[@]}"; }
        COMP_WORDS=(jidoteki pack) COMP_CWORD=1; complete_last
        COMP_WORDS=(jidoteki call --wa) COMP_CWORD=2; complete_last
    """
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"

    done = subprocess.run(["bash", "-c", script], env={"PATH": path}, capture_output=True, text=True, check=True)

    assert 'eval "$(_JIDOTEKI_COMPLETE=bash_source jidoteki)"' in PAGE
    assert done.stdout.split() == ["package", "--wait"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chekc"], "No such command 'chekc'. Did you mean 'check'?"),
        (["plugin"], "Did you mean 'plugins'?"),
        (["package", "biuld"], "Did you mean 'build'?"),
        (["licence"], "Did you mean 'license'?"),
        (["call", "GET", "/version", "--urll", "x"], "'--urll'"),
        (["call", "GET", "/version", "--no-token", "--url", "nonsense"], "--url nonsense is not an address"),
        (["call", "GET", "/version", "--no-token", "--cacert", __file__], "--cacert"),
        (["call", "GET", "/version", "--token-file", "/nonexistent"], "--token-file /nonexistent cannot be read"),
        (["sign", "GET", "/version", "--token-file", "/nonexistent"], "--token-file /nonexistent cannot be read"),
    ],
)
def test_what_was_mistyped_is_named_and_what_was_meant(arguments: list[str], told: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode != 0
    assert done.stderr.count(told) == 1 and done.stderr.lower().count("did you mean") <= 1
