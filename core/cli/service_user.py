"""Switching to the service's user, for commands that work on an appliance beside its service."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shlex
import stat
import sys

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import CommandError
from jidoteki.core.files.ownership import user_name


def become(appliance: Appliance) -> None:
    """If root calls, re-execute the command as the service's user, who could neither read nor replace files of root.

    :raises CommandError: that user cannot run this Python.
    """
    owner = _service_user(appliance)
    if os.geteuid() != 0 or owner is None or owner.st_uid == 0:
        return
    try:
        entry = pwd.getpwuid(owner.st_uid)
    except KeyError:  # a container may not know the name
        group = owner.st_gid
        os.setgroups([])
    else:
        group = entry.pw_gid
        os.initgroups(entry.pw_name, group)
    os.setresgid(group, group, group)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
    # Re-executed, because what this process has read, it read as root.
    try:
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  # no shell is wanted
    except OSError as error:
        raise CommandError(f"The service's user cannot run {sys.executable}: {error.strerror}") from error


def become_or_refuse(appliance: Appliance) -> None:
    """Re-execute the command as the service's user, which must be the caller's user otherwise.

    :raises CommandError: another user called it.
    """
    become(appliance)
    owner = _service_user(appliance)
    if owner is not None and owner.st_uid != os.geteuid():
        user = user_name(owner.st_uid)
        command = shlex.join(["jidoteki", *sys.argv[1:]])
        raise CommandError(
            f"The service runs as {user}, and so must this: run it as root, or: sudo -u {user} {command}"
        )


def _service_user(appliance: Appliance) -> os.stat_result | None:
    """Return the status of the directory whose owner is the service's user, or None.

    That is `ADMIN/jobs`, which the service creates, or before its first start `ADMIN`. Where that is root's,
    who runs jobs by what is in `ADMIN/keys`, it is `ADMIN/etc`.
    """
    otherwise = appliance.etc if (appliance.admin / "keys").is_dir() else appliance.admin
    for directory in (appliance.jobs, otherwise):
        with contextlib.suppress(OSError):
            status = directory.lstat()
            if stat.S_ISDIR(status.st_mode):
                return status
    return None


def caller() -> str:
    """Return the name of the caller for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return user_name(os.getuid())
