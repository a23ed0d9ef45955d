"""Faults that keep a vendor's script from running."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jidoteki.hookspecs import paths, programs, scripts

SHELLS = ("sh", "bash", "dash", "ash", "ksh")
#: Shells that can check the syntax of a script without running it (`-n`).
READERS = ("sh", "bash", "dash")
MAX_READ = 1024 * 1024
SYNTAX_CHECK_TIMEOUT = 5.0
MAX_SAID = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: an error keeps the script from running, a note only describes how it is run."""

    level: Literal["error", "warning", "note"]
    message: str
    """The predicate of a sentence whose subject is the script's name."""
    advice: str


def faults(script: Path, search: str | None = None, *, called: bool = True) -> Iterator[Fault]:
    """Yield the faults of an existing script.

    :param search: the `PATH` in which `env` finds interpreters; None if the script runs on another machine, whose
        interpreters are unknown.
    :param called: whether the service runs it; only then it matters how it is run.
    """
    without_cr = f"Run: sed -i 's/\\r$//' {shlex.quote(str(script))}"
    try:
        argv = scripts.command_of(script)
    except scripts.ScriptError as error:
        reason = str(error).removeprefix(f"{script.name} ")
        advice = without_cr if "CR LF" in reason else "Correct it; until then what calls it fails."
        if script.is_file() and not os.access(script, os.R_OK):
            reason = f"{reason}: the service reads it, though another user may run it"
            advice = f"Run: chmod go+r {shlex.quote(str(script))}"
        yield Fault("error", reason, advice)
        return
    content = _content(script)
    if not content or content.startswith(b"\x7fELF"):
        return
    named = content.startswith(b"#!")
    if content.startswith(_BYTE_ORDER_MARK):
        message = "it begins with a byte order mark, so its first line names no interpreter"
        yield Fault("error", message, f"Run: sed -i '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(str(script))}")
    elif os.path.basename(argv[0]) in SHELLS and _has_windows_lines(content):
        message = "its lines end with CR LF, as on Windows: a shell takes the CR as a part of what stands before it"
        yield Fault("error", message, without_cr)
    elif named and (problem := _no_interpreter(argv, search)):
        yield Fault("error", problem, "Correct its first line, or install the interpreter.")
    if called:
        yield from _tolerated(script, named, executable=bool(script.stat().st_mode & 0o111))


def syntax_error(script: Path, *, called: bool = True) -> str | None:
    """Return the syntax error that the script's shell reports, or None.

    :param called: whether the service runs it; the shell of others without a first line is unknown.
    """
    try:
        words = " ".join(scripts.command_of(script)[:-1]).split()
    except scripts.ScriptError:
        return None
    shell = next((each for each in words[:2] if os.path.basename(each) in READERS), None)
    content = _content(script)
    if (
        shell is None or b"\0" in content or not (called or content.startswith(b"#!"))
    ):  # data may follow the last command
        return None
    try:
        status, said = programs.read([shell, "-n", str(script)], timeout=SYNTAX_CHECK_TIMEOUT, limit=MAX_SAID)
    except programs.ProgramError:
        return None
    told = said.decode("utf-8", "replace").partition("\n")[0].removeprefix(f"{script}: ")
    return (told or "a syntax error") if status else None


def _tolerated(script: Path, named: bool, executable: bool) -> Iterator[Fault]:
    """Yield what the service tolerates, but other callers do not."""
    if not executable:
        how = "by what its first line says" if named else "by /bin/sh, for no first line names an interpreter"
        level: Literal["warning", "note"] = "note" if named else "warning"
        message = f"it is not executable; the service runs it all the same, {how}"
        yield Fault(level, message, f"Run: chmod +x {shlex.quote(str(script))}")
    elif not named:
        message = "no first line names an interpreter: the service runs it by /bin/sh"
        yield Fault("note", message, "Begin it with a line such as #!/bin/sh.")


def _content(script: Path) -> bytes:
    try:
        with open(paths.open_regular(script, follow=True), "rb") as file:
            return file.read(MAX_READ)
    except OSError:
        return b""


def _has_windows_lines(content: bytes) -> bool:
    return content.count(b"\r\n") * 2 > content.count(b"\n")


def _no_interpreter(argv: list[str], search: str | None) -> str | None:
    """Return why the first line names no usable interpreter, or None."""
    interpreter, *arguments = argv[:-1] or argv
    if not interpreter.startswith("/"):
        return f"its first line names {interpreter}, which is not an absolute path"
    if search is None:
        return None
    if not os.access(interpreter, os.X_OK):
        return f"its interpreter {interpreter} is not there"
    words = " ".join(arguments).removeprefix("-S ").split()
    asked = words[0] if words and os.path.basename(interpreter) == "env" else ""
    if asked and "=" not in asked and not asked.startswith("-") and not shutil.which(asked, path=search):
        return f"its interpreter {asked} is in none of {search}"
    return None
