"""What is known of an update on trial, as it lies in `ADMIN/jobs/ID.state`: checked when it is read, for a slip of the
hand, a broken disk or another version of the service may have written it."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import voluptuous as vol

from jidoteki.core.endpoints.update import versions
from jidoteki.core.endpoints.update.versions import VersionError
from jidoteki.hookspecs import paths

MAX_SIZE: Final = 64 * 1024
_LAST: Final = 0o400
"""The mode that says that no way back may be begun any more."""

Step = Literal["updating", "verifying", "rebooting", "verified", "rolling back", "rebooting back", "ended"]


@dataclass(slots=True)
class State:
    """What is known of a trial.

    :param message: of the failure that it is rolled back for, as is `code`.
    :param has_verify: whether the package has a `verify.sh`.
    :param reboot: whether the appliance restarts to try it.
    :param reboot_back: whether it restarts again to go back.
    :param boot: the id of the boot which that restart ends; one that is not known, empty, has ended.
    :param deadline: the boot clock's time by which it must have ended; 0 until the reboot command is run.
    """

    former: str | None
    new: str | None
    way_back: bool
    step: Step = "updating"
    ways_back: int = 0
    message: str = ""
    code: str = ""
    has_verify: bool = False
    reboot: bool = False
    reboot_back: bool = False
    boot: str = ""
    deadline: float = 0.0


class DamagedError(Exception):
    """What is known of a trial cannot be read."""


def _version(value: str) -> str:
    try:
        return versions.parse(value)
    except VersionError as error:
        raise vol.Invalid("is no version") from error


def _number(value: Any) -> Any:
    if type(value) not in (int, float):
        raise vol.Invalid("is no number")
    return value


def _count(value: Any) -> Any:
    if type(value) is not int:
        raise vol.Invalid("is no whole number")
    return value


def _encodable(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


_TEXT: Final = vol.All(str, _encodable)
_VERSION: Final = vol.Any(None, vol.All(str, _version))
_SCHEMA: Final = vol.Schema(
    {
        vol.Required("former"): _VERSION,
        vol.Required("new"): _VERSION,
        vol.Required("way_back"): bool,
        "step": _TEXT,  # one that is not known is no damage: all else counts
        "ways_back": vol.All(_count, vol.Range(min=0)),
        "message": _TEXT,
        "code": vol.All(str, vol.Match(re.compile(r"[A-Za-z0-9_-]{0,16}\Z"))),
        "has_verify": bool,
        "reboot": bool,
        "reboot_back": bool,
        "boot": _TEXT,
        "deadline": vol.All(_number, vol.Range(min=0, max=1e12)),
    },
    extra=vol.REMOVE_EXTRA,  # another version of the service may have written more
)


def read(path: Path) -> State:
    """Return what is known of a trial.

    :raises DamagedError: it cannot be read, or is not what the service writes.
    """
    try:
        return State(**_SCHEMA(json.loads(paths.read_own(path, MAX_SIZE))))
    except OSError as error:
        raise DamagedError(error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise DamagedError("It is no JSON") from error
    except vol.Invalid as error:
        raise DamagedError(f"{'.'.join(str(each) for each in error.path) or 'It'}: {error.msg}") from error


def mark_last(path: Path) -> bool:
    """Mark durably that no way back may be begun after the present one; return whether that was possible.

    This is a mode of the file, whatever lies there: it needs no room on a full disk.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.fchmod(descriptor, _LAST)
        os.fsync(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def is_last(path: Path) -> bool:
    """Return whether the way back that was begun last is the last one."""
    try:
        return not path.lstat().st_mode & stat.S_IWUSR
    except OSError:
        return False
