"""Configuration files that shells source: `key="value"` lines in which every character of a value is literal."""

from __future__ import annotations

import re
from collections.abc import Mapping

_BARE = re.compile(r"[A-Za-z0-9_./:%+-]*")
_QUOTED = r"""\"(?:[^\"\\$`\n\0]|\\[\"\\$`])*\"|'[^'\n\0]*'"""
_LITERAL = re.compile(rf"[a-z][a-z0-9_]*=(?:{_BARE.pattern}|{_QUOTED})[ \t]*|[ \t]*(?:#[^\n\0]*)?".encode())


def shell_conf(values: Mapping[str, str], *, bare: bool = False) -> str:
    r"""Return the lines of a file that sets `values` when a POSIX shell sources it.

    Within double quotes only `\`, `"`, `$` and the backtick are special to the shell (POSIX.1-2017, Shell Command
    Language, 2.2.3).

    :param bare: whether values are unquoted, for scripts that parse the file themselves; those with characters that are
        special to a shell are quoted all the same.
    :raises ValueError: a key is not a valid name of a shell variable, or a value contains a newline or NUL.
    """
    if bare:
        return "".join(
            f"{_name(key)}={value}\n" if _BARE.fullmatch(value) else shell_conf({key: value})
            for key, value in values.items()
        )
    return "".join(f'{_name(key)}="{_quoted(key, value)}"\n' for key, value in values.items())


def is_literal(content: bytes) -> bool:
    """Return whether a shell that sources this only sets variables in lower case to literal values.

    Those in upper case may mean something to the shell or to what it starts, such as `PATH`.
    """
    return all(_LITERAL.fullmatch(line) for line in content.split(b"\n"))


def _name(key: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key):
        raise ValueError(f"{key!r} is not the name of a shell variable: letters, digits and '_' only")
    return key


def _quoted(key: str, value: str) -> str:
    if "\n" in value or "\0" in value:
        raise ValueError(f"The value of {key} must be one line without NUL")
    return re.sub(r'([\\"$`])', r"\\\1", value)
