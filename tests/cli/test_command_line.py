"""The command as a whole: each sub-command is documented, with a valid example, and supports completion."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from places import ROOT

from jidoteki.core.cli import COMMANDS, main
from jidoteki.testing.host import COMMAND

PAGE = (ROOT / "docs/command-line.md").read_text()
#: A command of a plugin.
DOCUMENTED = [*COMMANDS, "license"]


def section(name: str) -> str:
    """Return the documentation of a command."""
    found = re.search(rf"^### `jidoteki {name}`\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"docs/command-line.md has no section on {name}"
    return found[1]


def examples(name: str) -> list[list[str]]:
    """Return the arguments of the command's examples."""
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


def completed(shell: str, root: Path, *words: str) -> list[str]:
    """Return the completions that the command offers for the last word."""
    environment = {
        "JIDOTEKI_ROOT": str(root), "COMP_WORDS": " ".join(words[:-1] if shell == "fish" else words),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1), "_JIDOTEKI_COMPLETE": f"{shell}_complete",
    }  # fmt: skip
    program = Path(sys.executable).parent / "jidoteki"
    done = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    # Kind, value and help on a line each, or kind and value on one, depending on the versions of click and the shell.
    pairs = re.findall(r"^plain[,\n]([^\n\t]*)", done.stdout, re.MULTILINE)
    return [str(value) for value in pairs]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("command", ["call", "sign"])
def test_method_and_path_are_completed(shell: str, command: str, tmp_path: Path) -> None:
    def complete(*words: str) -> list[str]:
        return completed(shell, tmp_path, "jidoteki", command, *words)

    assert complete("P") == ["POST", "PUT", "PATCH"]
    assert complete("ge") == ["get"]
    assert complete("GET", "/ba") == ["/backup", "/backup/download", "/backup/log"]
    assert complete("post", "/ba") == ["/backup", "/backup/restore"]
    assert complete("HEAD", "ver") == ["version"]
    assert complete("POST", "/api/v1/admin/tok") == ["/api/v1/admin/tokens", "/api/v1/admin/tokens/revoke"]
    assert complete("DELETE", "/") == []


def test_paths_of_an_appliances_own_plugins_are_completed_and_one_that_is_broken_says_nothing(tmp_path: Path) -> None:
    plugins = tmp_path / "usr/local/etc/plugins"
    plugins.mkdir(parents=True)
    (plugins / "lamp.py").write_text(
        "from jidoteki.hookspecs import Endpoint, hookimpl\n"
        "async def show(request): return {}\n"
        "@hookimpl\ndef jidoteki_endpoints(): return [Endpoint('GET', '/lamp', show)]\n"
    )
    (plugins / "broken.py").write_text("raise SystemExit('broken')\n")
    configuration = {"plugin-directory": "usr/local/etc/plugins", "endpoints": ["lamp"]}
    (plugins.parent / "jidoteki-admin-api.json").write_text(json.dumps(configuration))

    assert completed("bash", tmp_path, "jidoteki", "call", "GET", "/la") == ["/lamp"]


def test_a_token_that_cannot_be_one_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    argv: list[str | Path] = [*COMMAND, "init", tmp_path / "root", "--token", "two words"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("jidoteki: --token must be 1 to 255") and done.stderr.count("\n") == 1
    assert not (tmp_path / "root").exists()


def test_errors_name_the_option_whose_file_is_no_good(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "key").write_text("passphrase\n")
    (tmp_path / "source/text").write_text("text\n")
    key, text, source = (tmp_path / name for name in ("key", "source/text", "source"))

    def told(*arguments: str | Path) -> str:
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return done.stderr

    build = ("package", "build", source, "--version", "1.0", "-o", tmp_path / "p")
    assert "--sign-key text is not a private key" in told(*build, "--key", key, "--sign-key", text)
    text.write_text("")
    assert "--key text is empty" in told(*build, "--key", text, "--sign-key", key)
    assert "--version: The version must be" in told(*build, "--key", key, "--sign-key", key, "--version", "1\n2")
    opened = ("debug-bundle", "open", key, "--key", key)
    assert "--key " in told(*opened, "-o", tmp_path / "new")
    assert f"--output {source} is not empty" in told(*opened, "-o", source)
    assert "--output /proc/x cannot be written" in told("config-schema", "--root", tmp_path, "-o", "/proc/x")
    serve = ("serve", "--root", tmp_path / "source", "--port", "0", "--host")
    assert "--host 192.0.2.1" in told(*serve, "192.0.2.1")  # in TEST-NET-1, which no machine has (RFC 5737)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["call", "GTE", "/version"], "'GTE' is no method. Did you mean 'GET'?"),
        (["sign", "psot", "/update"], "'psot' is no method. Did you mean 'POST'?"),
        (["call", "/version"], "'/version' is no method. It must be one of GET, HEAD"),
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
