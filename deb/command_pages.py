"""The manual page and the completions of the command, made of the command itself."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from jidoteki.core.cli import main

NAME: Final = "jidoteki"
FILES: Final = {
    "/opt/jidoteki/tinyadmin": "What belongs to the appliance: keys, logs, jobs.",
    "/usr/local/etc/jidoteki-admin-api.json": "The configuration.",
}
_VARIABLE: Final = "_JIDOTEKI_COMPLETE"

#: What makes the completion for each shell, by the place of its file.
COMPLETIONS: Final[Mapping[str, Callable[[], str]]] = {
    "usr/share/bash-completion/completions/jidoteki": BashComplete(main, {}, NAME, _VARIABLE).source,
    "usr/share/zsh/vendor-completions/_jidoteki": ZshComplete(main, {}, NAME, _VARIABLE).source,
    "usr/share/fish/vendor_completions.d/jidoteki.fish": FishComplete(main, {}, NAME, _VARIABLE).source,
}


def manual_page(version: str, date: int) -> str:
    """Return the manual page jidoteki(1), of all commands of an appliance without plugins of its own.

    :param date: of the page, in seconds since 1970.
    """
    with tempfile.TemporaryDirectory() as empty:
        os.environ["JIDOTEKI_ROOT"] = empty
        try:
            return "\n".join(_page(version, date)) + "\n"
        finally:
            del os.environ["JIDOTEKI_ROOT"]


def _page(version: str, date: int) -> Iterator[str]:
    day = time.strftime("%Y-%m-%d", time.gmtime(date))
    yield f'.TH JIDOTEKI 1 "{day}" "{NAME} {version}" "Jidoteki Admin API"'
    yield from (".SH NAME", f"{NAME} \\- {_escaped(main.get_short_help_str(200).rstrip('.'))}")
    yield from (".SH SYNOPSIS", f".B {NAME}", "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]")
    context = click.Context(main, info_name=NAME, help_option_names=["-h", "--help"])
    yield from (".SH OPTIONS", *_options(main, context), ".SH COMMANDS")
    yield from _commands(main, context)
    yield ".SH FILES"
    for path, meaning in FILES.items():
        yield from (".TP", f".I {path}", meaning)


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    """Yield a section for each command, with those of groups after them."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, context, info_name=name)
        usage = " ".join(command.collect_usage_pieces(inner))
        yield f".SS {_escaped(inner.command_path)} {_escaped(usage)}"
        for paragraph in (command.help or "").split("\n\n"):
            yield from (".PP", _escaped(" ".join(paragraph.replace("\b", "").split())))
        yield from _options(command, inner)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and record[1]:
            yield from (".TP", f".B {_escaped(record[0])}", _escaped(record[1]))


def _escaped(text: str) -> str:
    """Escape what troff would interpret."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
