"""Starting the scripts of the appliance's vendor and of update packages.

As under the original, they need neither the execute bit nor a first line that names their interpreter.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import paths

SHELL: Final = "/bin/sh"
MAX_FIRST_LINE: Final = 256
"""Bytes of the first line that Linux reads (BINPRM_BUF_SIZE)."""


class ScriptError(Exception):
    """An existing script that cannot be run; the message is a sentence that names it and the reason."""

    def __init__(self, script: Path, reason: str) -> None:
        super().__init__(f"{script.name} cannot be run: {reason}")


def not_started(name: str, error: Exception) -> str:
    """Return a sentence on why a program cannot be run; it names the file at fault if that is another one.

    :param name: the program's name.
    :param error: the exception that `subprocess` raised.
    """
    if not isinstance(error, OSError):
        return f"{name} cannot be run: {error}"
    at_fault = os.fsdecode(error.filename or "")  # the interpreter, or the working directory
    where = f"{at_fault}: " if at_fault and os.path.basename(at_fault) != name else ""
    return f"{name} cannot be run: {where}{error.strerror or error}"


def exists(script: Path) -> bool:
    """Return whether a file of any type, such as a dangling symlink, has this name, even if it cannot be run."""
    try:
        os.lstat(script)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def command_of(script: Path) -> list[str]:
    """Return the command that runs a script: the interpreter of its first line, or else the shell; a binary itself.

    An interpreter can read a script on a file system mounted `noexec`, or one that is open for writing.

    :raises ScriptError: it is not a file, cannot be read, or has an invalid first line.
    """
    executable = os.access(script, os.X_OK)
    try:
        with open(paths.open_regular(script, follow=True), "rb") as file:
            first, end, _ = file.read(MAX_FIRST_LINE).partition(b"\n")
    except OSError as error:
        if executable and script.is_file():  # a binary that may be executed but not read
            return [str(script)]
        raise ScriptError(script, error.strerror or str(error)) from error
    if first.startswith(b"\x7fELF"):
        return [str(script)]
    named = first.startswith(b"#!")
    if named and end and first.endswith(b"\r"):
        raise ScriptError(script, "its first line ends with CR LF, as on Windows: save it with line ends of LF alone")
    interpreter = os.fsdecode(first[2:]).strip().split(maxsplit=1) if named else []
    return [*(interpreter or [SHELL]), str(script)]
