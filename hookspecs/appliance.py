"""The appliance's files, as plugins read and write them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol


class Appliance(Protocol):
    """The files of an appliance, all of them below `root`.

    Every method blocks: call it from a job or a hook, and from a request handler through `asyncio.to_thread`.
    """

    @property
    def root(self) -> Path:
        """The root directory: `/` on a real appliance."""

    @property
    def admin(self) -> Path:
        """The administration tree, `ROOT/opt/jidoteki/tinyadmin` unless moved."""

    @property
    def etc(self) -> Path:
        """`ADMIN/etc`: active settings, tokens, keys, version."""

    @property
    def log(self) -> Path:
        """`ADMIN/log`: one log file for each job type, and the audit log."""

    @property
    def bin(self) -> Path:
        """`ADMIN/bin`: the vendor's executables."""

    @property
    def jobs(self) -> Path:
        """`ADMIN/jobs`, closed to other users: job records, and what a job needs for recovery after it was killed.

        Name such files of your own `ID.NAME`, after the job's id. Check what you read back as you would an input.
        """

    @property
    def tmp(self) -> Path:
        """`ADMIN/tmp`, for the work spaces of jobs; where root runs the job, a directory of root's."""

    @property
    def guarded(self) -> Path:
        """`ADMIN/jobs`, for what decides what a job may do; where root runs the job, a directory of root's."""

    @property
    def keys(self) -> Path:
        """`ADMIN/etc`, for keys of updates and `backup.txt`; where root runs jobs, `ADMIN/keys`, which is root's."""

    @property
    def uploads(self) -> Path:
        """`ADMIN/home/sftp/uploads`: the inbox of the SFTP user, who may put anything there at any time.

        Open files there only with `jidoteki.hookspecs.paths`.
        """

    @property
    def spool(self) -> Path:
        """`ADMIN/spool`, closed to other users: uploads over HTTP, and files to download."""

    @property
    def system_etc(self) -> Path:
        """`ROOT/usr/local/etc`: configuration shared with the rest of the appliance."""

    @property
    def data(self) -> Path:
        """`ROOT/data`: the data that a backup packs and a restore replaces."""

    @property
    def group(self) -> int | None:
        """The group id of tools that may read files closed to others (`files.group`); None when not configured."""

    def publish(self, path: Path, name: str) -> Path:
        """Move a finished file to `spool/NAME`, where it can be downloaded, and return its new path.

        A copy is put into the uploads directory for tools that look there, if it fits and its name is free; it is
        marked as a copy (see `jidoteki.hookspecs.published`).

        :raises OSError: it cannot be moved; a file published under this name before is still there.
        """

    def withdraw(self, name: str) -> None:
        """Remove the published file NAME, and its copy in the uploads directory.

        :raises OSError: it can still be downloaded.
        """

    def read_text(self, path: Path) -> str | None:
        """Return the content of `path` as UTF-8, or None when there is no such file.

        :raises OSError: it cannot be read, is no regular file, is longer than 8 MiB, or is a symbolic link in the
            uploads directory.
        """

    def read_json(self, path: Path) -> Any:
        """Return the JSON value in `path`, or None when the file is missing, cannot be read or is not JSON."""

    def replace_file(self, path: Path, content: str | bytes, mode: int = 0o644) -> None:
        """Replace a file atomically: a power cut leaves the old or the new content, never a mixture.

        An existing file keeps its owner, group, mode and access control list, if it is root's or the service's. Where
        root runs the job, files in `ROOT/usr/local/etc` are root's, whose shells source them: they may hold assignments
        of literal values to variables in lower case, or what they held before.

        :param mode: permission bits of a new file, set before the content is written. If others may not read it, its
            group may only if the appliance has a `group`, to which the file then belongs.
        :raises OSError: nothing was changed.
        """

    def writing(self, path: Path) -> AbstractContextManager[None]:
        """Be who may write to the directory of a file, in a `with` block: where root runs the job it may be root."""

    def replace_files(
        self, contents: Mapping[Path, str | bytes], mode: int = 0o644, modes: Mapping[Path, int] | None = None
    ) -> None:
        """Replace several files atomically: a power cut leaves all of them old or, after the next start, all new.

        :param mode: permission bits of new files that `modes` does not name; as for `replace_file`.
        :raises OSError: nothing was changed.
        """
