"""How to start the scripts that the vendor of an appliance or an update package brings.

They need neither the execute bit nor a first line that names their interpreter, as under the original.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import paths

SHELL: Final = "/bin/sh"
MAX_FIRST_LINE: Final = 256
"""As much of a first line as Linux reads (BINPRM_BUF_SIZE)."""


class CannotRun(Exception):
    """A script is there and cannot be run; the message is a sentence that names it and says why."""

    def __init__(self, script: Path, reason: str) -> None:
        super().__init__(f"{script.name} cannot be run: {reason}")


def not_started(name: str, error: Exception) -> str:
    """Return the sentence that says why a program cannot be run, and what is at fault if that is another file.

    :param name: what to call the program.
    :param error: what `subprocess` raised.
    """
    if not isinstance(error, OSError):
        return f"{name} cannot be run: {error}"
    at_fault = os.fsdecode(error.filename or "")  # the interpreter, or the working directory
    where = f"{at_fault}: " if at_fault and os.path.basename(at_fault) != name else ""
    return f"{name} cannot be run: {where}{error.strerror or error}"


def is_there(script: Path) -> bool:
    """Whether anything has this name, a link that leads nowhere included: what cannot run is not nothing."""
    try:
        os.lstat(script)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def command_of(script: Path, *, directly: bool = False) -> list[str]:
    """Return how to start a script: by the interpreter in its first line, without one by the shell; a binary by itself.

    Interpreters read the script, which may lie on a file system mounted `noexec` or be open for writing.

    :param directly: start what is executable by itself, for a `sudo` whose rules name the script.
    :raises CannotRun: it is no file, cannot be read, or has a first line that no system can follow.
    """
    executable = os.access(script, os.X_OK)
    try:
        with open(paths.open_regular(script, follow=True), "rb") as file:
            first, end, _ = file.read(MAX_FIRST_LINE).partition(b"\n")
    except OSError as error:
        if executable and script.is_file():  # a binary that may be run and not be read
            return [str(script)]
        raise CannotRun(script, error.strerror or str(error)) from error
    if first.startswith(b"\x7fELF"):
        return [str(script)]
    named = first.startswith(b"#!")
    if named and end and first.endswith(b"\r"):
        raise CannotRun(script, "its first line ends with CR LF, as on Windows: save it with line ends of LF alone")
    interpreter = os.fsdecode(first[2:]).strip().split(maxsplit=1) if named else []
    if directly and executable and interpreter:
        return [str(script)]
    return [*(interpreter or [SHELL]), str(script)]
