"""What may be unpacked from an archive, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jidoteki.core.archives.directories import Elsewhere
from jidoteki.core.archives.tar import MAX_HEADER
from jidoteki.hookspecs import file_attributes

NO_LIMIT = 1 << 62
MAX_RESTORED_HEADER = 2 * file_attributes.MAX_SIZE


def _nothing(*arguments: object) -> None:
    return None


def _never() -> bool:
    return False


def nowhere(path: str) -> None:
    """Return None: the content of no directory goes elsewhere."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits and options of unpacking. Sizes are bytes."""

    max_size: int
    """Total size of all files."""
    max_members: int
    free_space: int
    """Space that must stay free on the target's file system."""
    links_below: Path | None = None
    """The directory that absolute symbolic links must point into; None to refuse them."""
    keep: bool = False
    """Whether to restore owners, all mode bits, attributes, access control lists and the times of directories, beside
    permissions and times of files. Reserved names, except for `LEFT_OUT`, are then refused."""
    umask: int = 0
    """Permissions to remove, unless `keep` is set."""
    checkpoint: Callable[[], None] = _nothing
    """Called often; an exception that it raises ends the unpacking."""
    max_header: int = MAX_HEADER
    """Total size of one member's headers."""
    note: Callable[[str], None] = _nothing
    """Called with a message for each thing that cannot be restored."""
    own: Callable[[], bool] = _never
    """Returns whether this appliance made the archive; called when that matters, possibly often."""
    elsewhere: Elsewhere = nowhere
    """Returns the target for the content of a directory that goes to another file system."""
    true_owners: bool = False
    """Whether to refuse members whose owners cannot be set."""

    @classmethod
    def update(
        cls, *, max_size: int, max_members: int, free_space: int, umask: int = 0,
        checkpoint: Callable[[], None] = _nothing,
    ) -> Policy:  # fmt: skip
        """Return the policy for the content of an update package."""
        return cls(max_size, max_members, free_space, umask=umask, checkpoint=checkpoint)

    @classmethod
    def restore(
        cls,
        *,
        links_below: Path,
        free_space: int,
        max_members: int = 4_000_000,
        checkpoint: Callable[[], None] = _nothing,
        note: Callable[[str], None] = _nothing,
        own: Callable[[], bool] = _never,
        elsewhere: Elsewhere = nowhere,
        true_owners: bool = False,
    ) -> Policy:
        """Return the policy for a backup, whose size is not limited."""
        return cls(
            NO_LIMIT, max_members, free_space, links_below,
            keep=True, checkpoint=checkpoint, max_header=MAX_RESTORED_HEADER, note=note, own=own,
            elsewhere=elsewhere, true_owners=true_owners,
        )  # fmt: skip
