"""The identity of a job's process that systemd started as root, whatever interrupts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Has the time of a job end within the call of a function of `os`, at the given call of it.
INTERRUPTED = """
import os, signal, sys
from jidoteki.hookspecs import privileges

name, calls, block = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def out_of_time(*ignored):
    raise TimeoutError

function, made = getattr(os, name), 0

def interrupted(*arguments):
    global made
    function(*arguments)
    made += 1
    if made == calls:
        signal.raise_signal(signal.SIGALRM)

signal.signal(signal.SIGALRM, out_of_time)
privileges.act_as("nobody")
own = os.geteuid(), os.getegid(), os.getgroups()
setattr(os, name, interrupted)
try:
    with privileges.raised():
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, [])
        if block == "lowered":
            try:
                with privileges.lowered():
                    pass
            finally:
                assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, [])
except TimeoutError:
    print("out of time", (os.geteuid(), os.getegid(), os.getgroups()) == own, own[0] > 0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("block", ["raised", "lowered"])
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("function", ["seteuid", "setegid", "setgroups"])
def test_a_job_whose_time_ends_while_it_changes_its_identity_is_the_services_user(
    function: str, call: int, block: str
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, function, str(call), block]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("out of time True True\n", "")


#: Has root write on a full disk, in a job of a user who has put a link in the place of the reserve.
FULL = """
import errno, sys
from pathlib import Path
from jidoteki.core.files.reserve import Reserve
from jidoteki.hookspecs import privileges

def write():
    raise OSError(errno.ENOSPC, "No space left on device")

privileges.act_as("nobody")
try:
    with privileges.raised():
        Reserve(Path(sys.argv[1])).using(4, write)
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_frees_no_files_of_others_on_a_full_disk(tmp_path: Path) -> None:
    for directory in (tmp_path, *tmp_path.parents):
        directory.chmod(directory.stat().st_mode | 0o011)
    others = tmp_path / "others"
    others.mkdir(mode=0o755)
    (others / "file").touch()
    (tmp_path / "reserve").symlink_to(others)

    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "reserve"], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("No space left on device\n", "")
    assert (others / "file").exists()
