"""A file name sent in place of the file's content: the `@` of `curl -F settings=@file.json` is easily forgotten."""

from __future__ import annotations

import re

MAX_NAME = 255

#: A path, or a name with an extension, with or without an `@` that the sender's tool did not interpret.
_NAME = re.compile(rb'@?[^\0-\x1f{}<>"|/]*(?:/[^\0-\x1f{}<>"|]*|\.[A-Za-z0-9]{1,10})')


def looks_like_one(content: bytes) -> bool:
    """Return whether a value is more likely the name of a file than the content of one."""
    return len(content) <= MAX_NAME and _NAME.fullmatch(content.strip()) is not None


def hint(parameter: str) -> str:
    """Return the end of an error message that tells how to send the content."""
    return f"it looks like the name of a file instead of its content: with curl, write -F {parameter}=@FILE"
