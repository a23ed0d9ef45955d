"""Configuration files that shells source: `key="value"` lines in which every character of a value is itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

_BARE = re.compile(r"[A-Za-z0-9_./:%+-]*")


def shell_conf(values: Mapping[str, str], *, bare: bool = False) -> str:
    r"""Return the lines of a file that gives `values` back when a POSIX shell sources it.

    Within double quotes the shell takes only `\`, `"`, `$` and the backtick for more than themselves
    (POSIX.1-2017, Shell Command Language, 2.2.3).

    :param bare: whether values stand without quotes, as scripts may expect that take a file apart by themselves;
        those that mean something else to a shell have quotes all the same.
    :raises ValueError: a key that is no shell variable's name, or a value with a newline or NUL in it.
    """
    if bare:
        return "".join(
            f"{_name(key)}={value}\n" if _BARE.fullmatch(value) else shell_conf({key: value})
            for key, value in values.items()
        )
    return "".join(f'{_name(key)}="{_quoted(key, value)}"\n' for key, value in values.items())


def _name(key: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key):
        raise ValueError(f"{key!r} is not the name of a shell variable: letters, digits and '_' only")
    return key


def _quoted(key: str, value: str) -> str:
    if "\n" in value or "\0" in value:
        raise ValueError(f"The value of {key} must be one line without NUL")
    return re.sub(r'([\\"$`])', r"\\\1", value)
