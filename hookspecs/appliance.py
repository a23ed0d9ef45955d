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
    def jobs(self) -> Path:
        """`ADMIN/jobs`, closed to other users: records of jobs, and what a job has to find again after it was killed.

        Such files of your own are called `ID.NAME`, after the job's id. Check what you read back as you would an input.
        """

    @property
    def uploads(self) -> Path:
        """`ADMIN/home/sftp/uploads`: the inbox of the SFTP user, who may put anything there at any moment.

        Open what lies there with `jidoteki.hookspecs.paths` alone.
        """

    @property
    def spool(self) -> Path:
        """`ADMIN/spool`, closed to other users: what came over HTTP, and what is there to download."""

    @property
    def system_etc(self) -> Path:
        """`ROOT/usr/local/etc`: configuration shared with the rest of the appliance."""

    @property
    def data(self) -> Path:
        """`ROOT/data`: what a backup packs and a restore replaces."""

    @property
    def group(self) -> int | None:
        """The group of the tools that may read what is not for everybody (`files.group`); None for none."""

    def publish(self, path: Path, name: str) -> Path:
        """Move a finished file to `spool/NAME`, where it can be downloaded, and return its new path.

        Tools that look into the uploads directory find a copy there, if there is room and nothing is in the way; it is
        marked as one (see `jidoteki.hookspecs.published`).

        :raises OSError: it cannot be moved; what was published under this name before is still there.
        """

    def withdraw(self, name: str) -> None:
        """Remove what was published as NAME, from the uploads directory too if it is a file there.

        :raises OSError: it is still there to download.
        """

    def read_text(self, path: Path) -> str | None:
        """Return the content of `path` as UTF-8, or None when there is no such file.

        :raises OSError: it cannot be read, is no regular file, is longer than 8 MiB, or is a symbolic link in the
            uploads directory.
        """

    def read_json(self, path: Path) -> Any:
        """Return the JSON value in `path`, or None when the file is missing, cannot be read or is not JSON."""

    def replace_file(self, path: Path, content: str | bytes, mode: int = 0o644) -> None:
        """Write `path` so that a power cut leaves the old or the new content, never a mixture.

        A file that is there keeps its owner, group, mode and access control list, if it is root's or the service's.

        :param mode: permission bits of a new file, set before the content is written. Where others may not read it, its
            group may only if the appliance has a `group`, to which it then belongs.
        :raises OSError: nothing was changed.
        """

    def replace_files(
        self, contents: Mapping[Path, str | bytes], mode: int = 0o644, modes: Mapping[Path, int] | None = None
    ) -> None:
        """Write several files so that a power cut leaves all of them old or, after the next start, all new.

        :param mode: permission bits of new ones that `modes` does not name; as for `replace_file`.
        :raises OSError: nothing was changed.
        """
