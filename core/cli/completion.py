"""Method and path of a request on the command line: what may stand there, and what the shell completes."""

from __future__ import annotations

import contextlib
import difflib
import io
from collections.abc import Callable
from typing import Any

import click

from jidoteki.hookspecs import PREFIX

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def complete_method(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the methods that begin so, in the case of what is typed."""
    methods = [each.lower() for each in METHODS] if incomplete.islower() else METHODS
    return [each for each in methods if each.startswith(incomplete)]


def complete_path(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the paths of the method typed before, with and without the prefix and the first slash."""
    method = context.params.get("method") or "GET"
    paths = sorted(_paths("GET" if method == "HEAD" else method))
    if incomplete in ("", "/"):
        return paths
    spelled = [*paths, *(PREFIX + each for each in paths)]
    offered = spelled if incomplete.startswith("/") else [each.removeprefix("/") for each in spelled]
    return [each for each in offered if each.startswith(incomplete)]


def _paths(method: str) -> set[str]:
    """The paths of a method that the built-in plugins and this appliance's own serve, but for such as `/jobs/{id}`."""
    # Imported when it is asked for: a call does without plugins.
    from jidoteki.core.cli import plugin_commands

    with contextlib.redirect_stderr(io.StringIO()):  # what is wrong with a plugin has no place in a prompt
        _, plugins = plugin_commands.load()
    endpoints = (each for plugin in plugins.loaded for each in plugin.endpoints)
    return {each.path for each in endpoints if each.method == method and "{" not in each.path}


def _method(context: click.Context, parameter: click.Parameter, value: str) -> str:
    method = value.upper()
    if method not in METHODS:
        close = difflib.get_close_matches(method, METHODS, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"It must be one of {', '.join(METHODS)}."
        raise click.BadParameter(f"{value!r} is no method. {hint}")
    return method


def _path(context: click.Context, parameter: click.Parameter, value: str) -> str:
    scheme, found, rest = value.partition("://")
    if found and scheme.isalpha():
        path = "/" + rest.partition("/")[2]
        raise click.BadParameter(f"{value!r} is a URL. Give its path alone: {path.removeprefix(PREFIX)}")
    return value


def request_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments METHOD and PATH to a command."""
    path = click.argument("path", callback=_path, shell_complete=complete_path)
    method = click.argument("method", callback=_method, shell_complete=complete_method)
    return method(path(function))
