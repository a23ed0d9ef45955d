"""What a job changed is on disk before it is said to be a success: a power cut a moment later must not take it back.

What the service itself writes is on disk at once. What update.sh, network.sh and the like wrote may not be for half a
minute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from jidoteki.hookspecs import Job, JobError

#: Seconds for one file system: a slow disk may have much to write.
TIMEOUT: Final = 600.0
#: The types of file systems that store data without a disk of their own, beside those that have one.
_OTHERS: Final = frozenset({"overlay", "ubifs", "jffs2"})


def store(job: Job) -> None:
    """Write to disk whatever is not yet there, if this very machine is the appliance (sync(1)).

    :raises JobError: a disk does not take it.
    """
    if str(job.appliance.root) != "/":
        return
    for place in _places():
        status = job.command("sync", "--file-system", place, timeout=TIMEOUT, privileged=True)
        if status:
            raise JobError(f"What was changed is not stored: the file system at {place} fails")


def _places() -> Iterator[str]:
    """Yield a directory of each file system that is kept, for it may be read-only in this sandbox alone."""
    import psutil  # late: it takes as long as the start of a job

    kept = {each.mountpoint for each in psutil.disk_partitions()}
    seen = set()
    for each in psutil.disk_partitions(all=True):
        if each.mountpoint not in kept and each.fstype not in _OTHERS:
            continue
        try:
            device = os.stat(each.mountpoint).st_dev
        except OSError:  # such as another user's
            continue
        if device not in seen and os.path.isdir(each.mountpoint) and os.access(each.mountpoint, os.R_OK):
            seen.add(device)
            yield each.mountpoint
