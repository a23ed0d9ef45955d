"""Checks of the programs that the service runs: the vendor's scripts, and those that the configuration names."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from jidoteki.core.appliance import Appliance
from jidoteki.core.config.loading import Config
from jidoteki.core.jobs import script_faults
from jidoteki.core.plugin_manager import sources
from jidoteki.hookspecs import Finding, paths, rooted
from jidoteki.hookspecs.programs import PATH

MAX_SCRIPTS = 100
#: Scripts of `ADMIN/bin` that the service calls itself; the others may be sourced by these, or be called by anything.
CALLED = ("network.sh", "storage.sh", "certs.sh", "license.sh")


def check(appliance: Appliance, config: Config) -> Iterator[Finding]:
    """Check whether the programs can be run, and that nobody else may change them."""
    found = [*itertools.islice(sorted(appliance.bin.glob("*.sh")), MAX_SCRIPTS)]
    if config.values["jobs"]["run-as"] == "unit":
        yield from _not_roots([*appliance.decided_by_root, *sources.files(config, appliance.root), *found])
    else:
        yield from _writable([appliance.bin, *found])
    for path in found:
        yield from _script(path)
    yield from _commands(config)


def _not_roots(found: list[Path]) -> Iterator[Finding]:
    """Check that root alone decides about what its jobs read and execute."""
    parts: dict[Path, None] = {}
    for path in found:
        try:
            rooted.require(path)
        except rooted.NotRootedError as error:
            parts[error.part] = None
        except OSError:
            continue
    for part in parts:
        message = "somebody else than root owns it or may write to it, so that root runs no jobs here"
        place = shlex.quote(str(part))
        yield Finding("error", "permissions", message, f"Run: chown root {place} && chmod go-w {place}", str(part))


def _writable(found: list[Path]) -> Iterator[Finding]:
    for path in found:
        with contextlib.suppress(OSError):  # the reason is reported when it is run
            status = path.stat()
            if paths.is_private(status):
                continue
            message = "somebody else than root and the service owns it or may write to it: it runs as the service does"
            commands = [] if paths.is_own(status) else [f"chown root {shlex.quote(str(path))}"]
            commands += [f"chmod go-w {shlex.quote(str(path))}"] if status.st_mode & 0o022 else []
            advice = f"Run: {' && '.join(commands)}"
            yield Finding("warning", "permissions", message, advice, str(path))


def _script(path: Path) -> Iterator[Finding]:
    called = path.name in CALLED
    found = list(script_faults.faults(path, PATH, called=called))
    for fault in found:
        yield Finding(fault.level, "script", fault.message, fault.advice, str(path))
    if all(fault.level != "error" for fault in found) and (problem := script_faults.syntax_error(path, called=called)):
        advice = "Correct it: a shell that reaches this ends there."
        yield Finding("warning", "script", f"a shell cannot read it: {problem}", advice, str(path))


def _commands(config: Config) -> Iterator[Finding]:
    for name, argv in config.values["commands"].items():
        if argv and (problem := _missing(argv[0])):
            message = f"commands.{name}: {argv[0]} {problem}"
            advice = "Correct the configuration, or install the program; until then what needs it fails."
            yield Finding("error", "configuration", message, advice, str(config.path) if config.path else None)


def _missing(program: str) -> str | None:
    """Return why a program cannot be started; None if it can, or if this user cannot tell."""
    if "/" not in program:
        return None if shutil.which(program, path=PATH) else f"is not there, in none of {PATH}"
    try:
        mode = os.stat(program).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "is not there"
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        return "is a directory"
    return None if mode & 0o111 else "is not executable"
