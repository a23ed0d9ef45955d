"""The name of a file where its content is due: the `@` of `curl -F settings=@file.json` is easily forgotten."""

from __future__ import annotations

import re

MAX_NAME = 255

#: A path, or a name with an extension, with or without the `@` that its sender's tool did not understand.
_NAME = re.compile(rb'@?[^\0-\x1f{}<>"|/]*(?:/[^\0-\x1f{}<>"|]*|\.[A-Za-z0-9]{1,10})')


def looks_like_one(content: bytes) -> bool:
    """Whether a value is more likely the name of a file than the content of one."""
    return len(content) <= MAX_NAME and _NAME.fullmatch(content.strip()) is not None


def hint(parameter: str) -> str:
    """Say what to do instead."""
    return f"it looks like the name of a file instead of its content: with curl, write -F {parameter}=@FILE"
