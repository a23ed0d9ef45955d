"""What a plugin may do to the machine it administers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Appliance(Protocol):
    """The files of one appliance, all of them below `root`.

    Every method blocks: call it from a job or a hook, and from a request handler through `asyncio.to_thread`.
    """

    @property
    def root(self) -> Path:
        """The root of the appliance: `/` on a real one."""

    @property
    def admin(self) -> Path:
        """The administration tree, `ROOT/opt/jidoteki/tinyadmin` unless moved."""

    @property
    def etc(self) -> Path:
        """`ADMIN/etc`: settings in force, tokens, keys, version."""

    @property
    def log(self) -> Path:
        """`ADMIN/log`: one log file for each kind of job, and the audit log."""

    @property
    def bin(self) -> Path:
        """`ADMIN/bin`: the vendor's executables."""

    @property
    def uploads(self) -> Path:
        """`ADMIN/home/sftp/uploads`: incoming files and archives to download."""

    @property
    def system_etc(self) -> Path:
        """`ROOT/usr/local/etc`: configuration shared with the rest of the appliance."""

    @property
    def data(self) -> Path:
        """`ROOT/data`: what a backup packs and a restore replaces."""

    def read_text(self, path: Path) -> str | None:
        """Return the content of `path` as UTF-8, or None when there is no such file.

        :raises OSError: the file exists but cannot be read.
        """

    def read_json(self, path: Path) -> Any:
        """Return the JSON value in `path`, or None when the file is missing or not JSON."""

    def replace_file(self, path: Path, content: str | bytes, mode: int = 0o644) -> None:
        """Write `path` so that a power cut leaves the old or the new content, never a mixture.

        :param mode: permission bits, set before the content is written.
        :raises OSError: nothing was changed.
        """

    def replace_files(
        self, contents: Mapping[Path, str | bytes], mode: int = 0o644, modes: Mapping[Path, int] | None = None
    ) -> None:
        """Write several files so that a power cut leaves all of them old or, after the next start, all new.

        :param mode: permission bits of those that `modes` does not name.

        :raises OSError: nothing was changed.
        """
