"""Commands that the administrator calls on an appliance, and that have to leave what the service's user can use."""

from __future__ import annotations

import getpass
import os
import pwd
import shlex
import sys
from pathlib import Path

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import Problem


def become(appliance: Appliance) -> None:
    """Go on as the user that the service runs as on this appliance, where root called the command.

    It is the owner of the service's own directory of jobs. Where that is not there yet, or root's, nothing changes.
    """
    owner = _owner(appliance.jobs)
    if owner is None or os.geteuid() != 0 or owner.st_uid == 0:
        return
    name = _name(owner.st_uid)
    if name is None:
        os.setgroups([owner.st_gid])
    else:
        os.initgroups(name, owner.st_gid)
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def become_or_refuse(appliance: Appliance) -> None:
    """Go on as the service's user, as whom alone the command may work.

    :raises Problem: somebody else called it.
    """
    become(appliance)
    owner = _owner(appliance.jobs)
    if owner is not None and owner.st_uid != os.geteuid():
        user = _name(owner.st_uid) or f"#{owner.st_uid}"
        command = shlex.join(["jidoteki", *sys.argv[1:]])
        raise Problem(f"The service runs as {user}, and so must this: run it as root, or: sudo -u {user} {command}")


def caller() -> str:
    """Who called the command, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return f"#{os.getuid()}"


def _owner(directory: Path) -> os.stat_result | None:
    try:
        return directory.lstat()
    except OSError:
        return None


def _name(number: int) -> str | None:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return None
