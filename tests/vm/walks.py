"""The commands that the documentation gives, for tests that perform them as they stand there."""

from __future__ import annotations

import re

from places import ROOT


def commands(page: str, heading: str) -> list[str]:
    """Return the blocks of commands below a heading of a page, up to the next heading.

    :param page: its name in `docs`.
    """
    section = re.search(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", _without_here_documents(page), re.MULTILINE | re.DOTALL
    )
    assert section, f"{page} has no heading {heading}"
    blocks = [
        block.replace("\0", "#") for block in re.findall(r"^```sh\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    ]
    assert blocks, f"{heading} in {page} has no commands"
    return blocks


def _without_here_documents(page: str) -> str:
    """Return a page in which lines of blocks that begin with `#` are no headings."""
    text = (ROOT / "docs" / page).read_text()
    return re.sub(
        r"^```\w*\n.*?^```",
        lambda block: re.sub(r"^#", "\0", block[0], flags=re.MULTILINE),
        text,
        flags=re.MULTILINE | re.DOTALL,
    )
