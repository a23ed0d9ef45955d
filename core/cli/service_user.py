"""Whom a command acts as that works on an appliance beside its service."""

from __future__ import annotations

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
    """Begin anew as the service's user where root calls: what root makes, the service could neither read nor replace.

    That is who owns `ADMIN/jobs`, which the service makes and closes to all others. Where it never ran, root stays.

    :raises CommandError: that user may not run this Python.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = appliance.jobs.lstat()
    except OSError:
        return
    if owner.st_uid == 0 or not stat.S_ISDIR(owner.st_mode):
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
    # From the start: what this process has read, it read as root.
    try:
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606  # a shell is what is not wanted
    except OSError as error:
        raise CommandError(f"The service's user cannot run {sys.executable}: {error.strerror}") from error


def become_or_refuse(appliance: Appliance) -> None:
    """Begin anew as the service's user, as whom alone the command may work.

    :raises CommandError: somebody else called it.
    """
    become(appliance)
    try:
        owner = appliance.jobs.lstat().st_uid
    except OSError:
        return
    if owner != os.geteuid():
        user = user_name(owner)
        command = shlex.join(["jidoteki", *sys.argv[1:]])
        raise CommandError(
            f"The service runs as {user}, and so must this: run it as root, or: sudo -u {user} {command}"
        )


def caller() -> str:
    """Who called the command, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return user_name(os.getuid())
