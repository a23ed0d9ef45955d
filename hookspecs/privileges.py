"""The two identities of a job's process that systemd started as root: the service's user, and root for moments.

The process acts as the service's user (its effective ids), as every other job does: whatever that user put in its way,
such as a symbolic link, leads no further than he may go himself. What needs root is done in a `raised` block. Where no
such process is, as on a developer's machine, both blocks change nothing.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

Started = TypeVar("Started")

_service: pwd.struct_passwd | None = None
_groups: list[int] = []


def act_as(user: str) -> None:
    """Act as this user from now on, except in `raised` blocks.

    :raises KeyError: there is no such user.
    :raises OSError: this process is not root's.
    """
    global _service
    _service = pwd.getpwnam(user)
    _groups[:] = os.getgrouplist(user, _service.pw_gid)
    _become(_service)


def are_kept() -> bool:
    """Return whether this process can become root again."""
    return _service is not None


@contextmanager
def raised() -> Iterator[None]:
    """Be root in a `with` block, in all threads, where this process can be."""
    if _service is None or os.geteuid() == 0:
        yield
        return
    try:
        _become_root()
        yield
    finally:
        _surely(partial(_become, _service))


@contextmanager
def lowered() -> Iterator[None]:
    """Be the service's user in a `with` block within a `raised` one."""
    if _service is None or os.geteuid() != 0:
        yield
        return
    try:
        _become(_service)
        yield
    finally:
        _surely(_become_root)


def in_reach(directory: int) -> bool:
    """Return whether the service's user decides what lies in an open directory, where this process can be root.

    Whoever may write there may have moved a file there that he may not read.
    """
    if _service is None:
        return False
    if os.fstat(directory).st_uid == _service.pw_uid:
        return True
    with lowered():
        return os.access(".", os.W_OK, dir_fd=directory, effective_ids=True)


def as_root(start: Callable[[], Started]) -> Started:
    """Call a function that starts a program, which is root's then, where this process can be root."""
    with raised():
        return start()


def _surely(become: Callable[[], None]) -> None:
    """Change the identity, though a signal's handler raises within: the end of a job's time is told but once."""
    try:
        become()
    except BaseException:
        become()
        raise


def _become_root() -> None:
    os.seteuid(0)
    os.setegid(0)
    os.setgroups([])


def _become(user: pwd.struct_passwd) -> None:
    os.seteuid(0)  # it may have come half the way before
    os.setgroups(_groups)
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
