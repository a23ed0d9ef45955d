"""Checks of the files that the vendor writes for the service: the version, the build, and lists."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from jidoteki.core.appliance import Appliance
from jidoteki.core.endpoints import information, services
from jidoteki.core.endpoints.support import bundles
from jidoteki.core.jobs import script_faults
from jidoteki.hookspecs import Finding, paths
from jidoteki.hookspecs.programs import PATH

MAX_SHOWN = 60
SYNTAX_CHECK_TIMEOUT = 10.0


def check(appliance: Appliance) -> Iterator[Finding]:
    """Check these files for invalid content."""
    yield from _version(appliance.etc / "version.txt")
    yield from _build(appliance.system_etc / "build.json")
    yield from _services(appliance.system_etc / "allservices.txt")
    yield from _init_scripts(appliance.system_etc)
    yield from _logs(appliance.etc / bundles.LOGS_LIST)
    yield from _debug(appliance.etc / bundles.COMMANDS_LIST)


def _version(path: Path) -> Iterator[Finding]:
    from jidoteki.core.endpoints.update import versions

    content = _content(path)
    if content is None:
        message = "there is no version: GET /version answers 404, and every package counts as newer"
        yield Finding("warning", "updates", message, "Write the version into its first line.", str(path))
        return
    try:
        versions.parse(content.decode("utf-8", "replace").partition("\n")[0].strip())
    except versions.VersionError as error:
        message = f"its first line is no version: {error}"
        yield Finding("warning", "updates", message, "Write one such as 1.0.0 there.", str(path))


def _build(path: Path) -> Iterator[Finding]:
    content = _content(path)
    if content is not None and information.json_object(content) is None:
        yield Finding("warning", "configuration", "it is no JSON: GET /build answers 404", "Correct it.", str(path))


def _services(path: Path) -> Iterator[Finding]:
    names = [name for line in _lines(path) for name in line.split()]
    strange = [name for name in names if not services.NAME.fullmatch(name)]
    advice = "List names of services, separated by blanks or line ends."
    if strange:
        message = f"{_shown(strange[0])} is no name of a service, and is not shown by GET /services"
        yield Finding("warning", "configuration", message, advice, str(path))
    if len(set(names)) > services.MAX_SERVICES:
        message = f"it lists more than {services.MAX_SERVICES} services, of which the rest is not shown"
        yield Finding("warning", "configuration", message, advice, str(path))


def _init_scripts(system_etc: Path) -> Iterator[Finding]:
    """Check for scripts of listed services that cannot be run, whose service is shown as not running."""
    names = dict.fromkeys(name for line in _lines(system_etc / "allservices.txt") for name in line.split())
    listed = [name for name in names if services.NAME.fullmatch(name)][: services.MAX_SERVICES]
    for script in (system_etc / "init.d" / name for name in listed):
        if not script.is_file():
            continue
        for fault in script_faults.faults(script, PATH):
            # The service runs a script that is not executable with sh, whatever its first line names.
            if fault.level == "error" and ("CR LF" in fault.message or os.access(script, os.X_OK)):
                message = f"GET /services cannot ask it: {fault.message}"
                yield Finding("warning", "script", message, fault.advice, str(script))


def _logs(path: Path) -> Iterator[Finding]:
    for word in (word for line in _lines(path) for word in line.split()):
        told = None
        if not word.strip("/."):
            told = "is the whole system, which is no log"
        elif ".." in word.split("/"):
            told = "leads upwards, and is not packed"
        elif "\0" in word or "�" in word:
            told = "cannot be a path"
        if told:
            message, advice = (
                f"{_shown(word)} {told}",
                "List absolute paths of logs, of directories of them, or patterns.",
            )
            yield Finding("warning", "configuration", message, advice, str(path))


def _debug(path: Path) -> Iterator[Finding]:
    lines = _lines(path)
    if len(lines) > bundles.MAX_COMMANDS:
        message = f"it has more than {bundles.MAX_COMMANDS} commands, of which the rest is not run"
        yield Finding("warning", "configuration", message, "Let one command do what several do.", str(path))
    for line in lines[: bundles.MAX_COMMANDS]:
        if problem := _syntax_error(line):
            message = f"{_shown(line)} is no command of a shell: {problem}"
            yield Finding("warning", "configuration", message, "Correct it: each line is run by itself.", str(path))


def _syntax_error(line: str) -> str | None:
    """Return the syntax error that a shell reports for a line; None if there is none."""
    if "\0" in line:
        return "it holds a NUL"
    try:
        done = subprocess.run(
            ["/bin/sh", "-n", "-c", line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SYNTAX_CHECK_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stderr.decode("utf-8", "replace").strip().rpartition(": ")[2]
    return (said[:MAX_SHOWN] or "a syntax error") if done.returncode else None


def _lines(path: Path) -> list[str]:
    """Return the lines of a list as the service reads it: without empty ones, comments and a byte order mark."""
    text = (_content(path) or b"").decode("utf-8-sig", "replace")
    return [line for each in text.splitlines() if (line := each.strip()) and not line.startswith("#")]


def _shown(word: str) -> str:
    return repr(word[:MAX_SHOWN])


def _content(path: Path) -> bytes | None:
    try:
        return paths.read_regular(path, follow=True)
    except OSError:
        return None
