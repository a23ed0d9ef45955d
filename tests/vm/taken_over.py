"""What a service that was taken over does: run in a guest as its user, with an order on standard input.

It starts the unit of a job and hands it an order of its own, and prints what the unit answers.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from jidoteki.core.jobs.handover import Listener

ADMIN = Path("/opt/jidoteki/tinyadmin")


def main() -> None:
    """Hand over what standard input describes: `{"id", "order", "swap"?, "beside"?}`.

    With `beside` another job of the type may hold the service's lock.
    """
    given = json.load(sys.stdin)
    id = given["id"]
    directory = ADMIN / "tmp" / id
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "work").mkdir(parents=True)
    if "swap" in given:
        threading.Thread(target=swap, args=given["swap"], daemon=True).start()
    lock = os.open(ADMIN / "jobs" / f"{id.partition('-')[2]}.lock", os.O_RDONLY | os.O_CREAT, 0o600)
    if not given.get("beside"):
        fcntl.flock(lock, fcntl.LOCK_EX)
    log = os.open(ADMIN / "jobs" / f"{id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Listener(directory) as listener:
        argv = ["systemctl", "--no-ask-password", "start", f"jidoteki-job@{id}.service"]
        started = subprocess.run(argv, capture_output=True, text=True, check=False)
        if started.returncode:
            print(f"not started: {started.stderr}")
            return
        try:
            print(f"begun: {listener.hand_over(json.dumps(given['order']).encode(), (lock, log, log))}", flush=True)
        except OSError as error:
            print(f"refused: {error}")
            return
    while (
        subprocess.run(["systemctl", "is-active", "--quiet", f"jidoteki-job@{id}.service"], check=False).returncode == 0
    ):
        threading.Event().wait(0.1)
    print((ADMIN / "jobs" / f"{id}.json").read_text().strip())
    print((ADMIN / "jobs" / f"{id}.log").read_text())


def swap(target: str, one: str, other: str) -> None:
    """Put one file and the other in the place of a third, in turn and for ever; then write into it in place."""
    while True:
        for source in (one, other):
            shutil.copy(source, f"{target}.new")
            os.replace(f"{target}.new", target)
        shutil.copyfile(other, target)
        shutil.copyfile(one, target)


if __name__ == "__main__":
    main()
