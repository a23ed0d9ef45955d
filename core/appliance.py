"""The appliance that this service administers: where its files lie, and how they are written."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

from jidoteki.core import files
from jidoteki.core.files import leftovers, ownership, publishing, shell_files
from jidoteki.hookspecs import paths, privileges, programs

logger = logging.getLogger(__name__)

DEFAULT_ADMIN = "opt/jidoteki/tinyadmin"


class Appliance:
    """Implements `jidoteki.hookspecs.Appliance`.

    :param root: the appliance's root directory.
    :param admin: the administration tree; by default `$JIDO_ADMIN_PATH`, else `ROOT/opt/jidoteki/tinyadmin`.
    :param files_group: the name or number of the group that reads what is not for everybody, as configured.
    :param guarded: a directory that root alone writes to, for a job that root runs; None for the service's own.
    """

    def __init__(
        self,
        root: Path,
        admin: Path | None = None,
        files_group: str | int | None = None,
        guarded: Path | None = None,
    ) -> None:
        self.root = root.absolute()
        self.admin = admin or _below(self.root, os.environ.get(programs.ADMIN) or DEFAULT_ADMIN)
        self.etc = self.admin / "etc"
        self.log = self.admin / "log"
        self.bin = self.admin / "bin"
        self.jobs = self.admin / "jobs"
        self.tmp = guarded or self.admin / "tmp"
        self.guarded = guarded or self.jobs
        self.keys = self.admin / "keys" if guarded else self.etc
        self.uploads = self.admin / "home/sftp/uploads"
        self.spool = self.admin / "spool"
        self.system_etc = self.root / "usr/local/etc"
        self.data = self.root / "data"
        self.files_group = files_group

    @property
    def decided_by_root(self) -> list[Path]:
        """What root's jobs read or execute, with all above: nobody else may change it."""
        optional = (self.bin, self.admin / "keys")
        return [self.configuration, self.admin, *(path for path in optional if os.path.lexists(path))]

    def configured(self, values: Mapping[str, Any]) -> Self:
        """Return this appliance, with what the host's configuration says of its files."""
        configured = type(self)(self.root, self.admin, values["files"]["group"])
        if values["jobs"]["run-as"] == "unit":
            configured.keys = self.admin / "keys"
        return configured

    @property
    def configuration(self) -> Path:
        """The configuration file, unless another one is named on the command line."""
        return self.system_etc / "jidoteki-admin-api.json"

    @property
    def last_good_configuration(self) -> Path:
        """The copy of the last configuration that the service could read."""
        return self.jobs / "last-good-configuration.json"

    @property
    def group(self) -> int | None:
        """The group that reads what is not for everybody."""
        try:
            return ownership.group_of(self.files_group, self.etc)
        except LookupError:
            logger.error("There is no group %s, as files.group says", self.files_group)
            return None

    def prepare(self) -> None:
        """Make the directories that the service writes to, closed to other users where they hold secrets.

        What cannot be made is told in the log: the service serves what it can.
        """
        for directory in (self.etc, self.log, self.uploads, self.system_etc):
            with leftovers.tolerated(f"{directory} cannot be made"):
                paths.make_directories(directory)
        for directory in (self.tmp, self.jobs, self.spool):
            with leftovers.tolerated(f"{directory} cannot be made, or not be closed to other users"):
                _make_private(directory)

    def recover(self) -> None:
        """Finish or clear what a killed service or job left half done; call it while no job runs. Never raises."""
        with leftovers.tolerated("Files that were being replaced together are old and new"):
            self.finish()
        for directory in (self.jobs, self.spool, self.uploads):
            leftovers.remove_temporaries(directory)
        for directory in (self.etc, self.system_etc):
            leftovers.remove_temporaries(directory, below=True)

    def finish(self) -> None:
        """Complete the replacement of files that a killed process began.

        :raises OSError: that is impossible.
        """
        files.finish_replacing(self._journals)

    @property
    def _journals(self) -> Path:
        """The directory of the journal of files that are replaced together: each user finishes what he began."""
        return self.guarded if os.geteuid() == 0 else self.jobs

    def publish(self, path: Path, name: str) -> Path:
        """Move a finished file to `spool/NAME`, and show a copy of it in the uploads directory."""
        return publishing.publish(path, self.spool, self.uploads, name, self.group)

    def withdraw(self, name: str) -> None:
        """Remove what was published as NAME, from both places."""
        publishing.withdraw(self.spool, self.uploads, name)

    def read_text(self, path: Path) -> str | None:
        """Return the content of `path`, or None when there is no such file."""
        try:
            if self.uploads in path.parents:
                with paths.directory(self.uploads) as uploads:
                    content = _read_beneath(uploads, path.relative_to(self.uploads))
            else:
                content = paths.read_regular(path, follow=True)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return content.decode("utf-8", "replace")

    def read_json(self, path: Path) -> Any:
        """Return the JSON value in `path`, or None when the file is missing, cannot be read or is not JSON."""
        try:
            text = self.read_text(path)
            return None if text is None else json.loads(text)
        except OSError as error:
            logger.error("%s cannot be read: %s", path, error.strerror or error)
            return None
        except (ValueError, RecursionError):
            return None

    def replace_file(self, path: Path, content: str | bytes, mode: int = 0o644) -> None:
        """Replace one file atomically and durably."""
        if not self._is_roots(path):
            files.replace_file(path, _encoded(content), mode, group=self.group)
            return
        with privileges.raised():
            shell_files.replace(path, _encoded(content), mode, self.group, self.guarded / "former")

    def replace_files(
        self, contents: Mapping[Path, str | bytes], mode: int = 0o644, modes: Mapping[Path, int] | None = None
    ) -> None:
        """Replace several files together."""
        encoded = {path: _encoded(content) for path, content in contents.items() if not self._is_roots(path)}
        modes = {path: (modes or {}).get(path, mode) for path in contents}
        files.replace_files(encoded, self._journals, modes, self.group)
        for path in contents.keys() - encoded.keys():
            self.replace_file(path, contents[path], modes[path])

    def writing(self, path: Path) -> AbstractContextManager[None]:
        """Be who may write there, in a `with` block."""
        return privileges.raised() if self._is_roots(path) else nullcontext()

    def _is_roots(self, path: Path) -> bool:
        """Return whether root alone may write there, who runs this job."""
        return self.guarded != self.jobs and path.parent == self.system_etc and os.geteuid() != 0


def _below(root: Path, path: str) -> Path:
    """A path of the appliance: below its root, whichever that is."""
    absolute = Path(path).absolute() if path.startswith("/") else root / path
    return absolute if absolute.is_relative_to(root) else root / path.lstrip("/")


def _make_private(directory: Path) -> None:
    """Make a directory of the service's own, or take possession of the one that is there."""
    try:
        paths.make_directories(directory, 0o700)
    except FileExistsError:
        leftovers.set_aside(directory)
        directory.mkdir(mode=0o700)
    with paths.directory(directory) as descriptor:
        if os.fstat(descriptor).st_uid != os.geteuid():
            os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o700)


def _read_beneath(directory: int, path: Path) -> bytes:
    parent = paths.directory_beneath(directory, path.parts[:-1])
    try:
        return paths.read_regular(path.name, dir_fd=parent)
    finally:
        os.close(parent)


def _encoded(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
