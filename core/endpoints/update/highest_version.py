"""The highest version that was ever installed, recorded where no package, backup or upload writes.

`version.txt` contains the installed version, but `update.sh`, administrators and restored backups may change it. To
prevent a downgrade by that, the update job keeps a second record: one line with a version in
`ADMIN/jobs/highest-version`, in a directory that is closed to other users; where root runs the job, in one of root's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jidoteki.core.endpoints.update import versions
from jidoteki.core.endpoints.update.versions import VersionError
from jidoteki.hookspecs import Appliance, paths

NAME: Final = "highest-version"
BEGUN: Final = "begun-version"
"""The version whose script was started and has not failed: it may have changed the system, however the update ended."""
MODE: Final = 0o600
MAX_SIZE: Final = 4096


def path(appliance: Appliance, name: str = NAME) -> Path:
    """Return the path of a record."""
    return appliance.guarded / name


def read_begun(appliance: Appliance) -> str | None:
    """Return the version whose script was last started, as `read` does."""
    return read(appliance, BEGUN)


def read(appliance: Appliance, name: str = NAME) -> str | None:
    """Return the highest version that was installed, or None if there is no record.

    :raises VersionError: the record is not a version.
    :raises PermissionError: this user may not read it.
    """
    try:
        content = paths.read_regular(path(appliance, name), MAX_SIZE)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except OSError as error:
        raise VersionError(f"{path(appliance, name)} cannot be read: {error.strerror or error}") from error
    try:
        return versions.parse(content.decode("ascii", "replace"))
    except VersionError as error:
        raise VersionError(f"{path(appliance, name)} holds no version") from error
