"""The highest version that was ever installed, remembered where no package, backup or upload writes.

`version.txt` says what is installed, and much may write it: `update.sh`, an administrator, a backup that is restored.
An older package must not become an update by that, so the update job keeps a second record: one line with a version in
`ADMIN/jobs/highest-version`, in a directory of the service's own that is closed to other users.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jidoteki.core.endpoints.update import versions
from jidoteki.core.endpoints.update.versions import VersionError
from jidoteki.hookspecs import Appliance, paths

NAME: Final = "highest-version"
BEGUN: Final = "begun-version"
"""The version whose script was begun and has not failed: it may have changed the system, however the update ended."""
MODE: Final = 0o600
MAX_SIZE: Final = 4096


def path(appliance: Appliance, name: str = NAME) -> Path:
    """Where it is remembered."""
    return appliance.admin / "jobs" / name


def read_begun(appliance: Appliance) -> str | None:
    """Return the version whose script was last begun, as `read` does."""
    return read(appliance, BEGUN)


def read(appliance: Appliance, name: str = NAME) -> str | None:
    """Return the highest version that was installed, None where nothing is remembered yet.

    :raises VersionError: what is there is no version.
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
