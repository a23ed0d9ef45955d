"""Changes on trial, as tests make them: settings whose `network.sh` leaves what it was told in a file of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

from jidoteki.testing import Answer, Host, wait_until

OLD = {"network": {"interface": "eth0", "hostname": "old.host", "mode": "dhcp"}, "app": {"name": "old"}}
NEW = {"network": {"interface": "eth0", "hostname": "new.host", "mode": "dhcp"}, "app": {"name": "new"}}
SECONDS = 10
"""The shortest trial."""


def vendor_script(host: Host, more: str = "") -> Path:
    """Write a `network.sh` that puts `network.conf` into force; return the file that says what is in force."""
    live = host.appliance.root / "live"
    script = host.appliance.bin / "network.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"#!/bin/sh\n{more}\ncp {host.appliance.system_etc}/network.conf {live}\n")
    script.chmod(0o755)
    return live


def post(host: Host, settings: Any, query: str = "") -> Answer:
    """Post settings."""
    return host.request("POST", "/settings", {"settings": json.dumps(settings).encode()}, query=query)


def prepare(host: Host, more: str = "") -> Path:
    """Bring the old settings into force; return the file that says what is in force."""
    live = vendor_script(host)
    ended(host, post(host, OLD).headers["Job-Id"])
    vendor_script(host, more)
    assert "old.host" in live.read_text()
    return live


def ended(host: Host, id: str, seconds: float = 60) -> dict[str, Any]:
    """Return the record of a run once it has ended."""

    def record() -> Any:
        with contextlib.suppress(OSError):
            job = host.request("GET", f"/jobs/{id}").json
            return job if job["status"] != "running" else None

    result: dict[str, Any] = wait_until(record, seconds, 0.1)
    return result


def begin(host: Host, query: str = f"confirm={SECONDS}") -> str:
    """Post the new settings on trial, and return the job's id once they wait for their confirmation."""
    answer = post(host, NEW, query)
    assert answer.status == 202, answer.text
    id = answer.headers["Job-Id"]
    wait_until(lambda: (host.appliance.jobs / f"{id}.pending").exists())
    return id


def kill_job(host: Host, id: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to the process of a job."""
    pid = int(json.loads((host.appliance.jobs / f"{id}.json").read_text())["pid"])
    assert pid > 1
    os.kill(pid, number)


def files(host: Host) -> dict[str, tuple[str, bytes]]:
    """Return the modes and contents of the files of the settings."""
    paths = (host.appliance.etc / "network.json", host.appliance.etc / "app.json")
    return state(*paths, host.appliance.system_etc / "network.conf")


def state(*paths: Path) -> dict[str, tuple[str, bytes]]:
    """Return the modes and contents of files, by their names."""
    return {each.name: (stat.filemode(each.stat().st_mode), each.read_bytes()) for each in paths}


def leftovers(host: Host) -> list[str]:
    """Return what a trial left in the directory of the records."""
    endings = (".former", ".noted", ".trial", ".pending", ".confirmed", ".reverting")
    return [each.name for each in host.appliance.jobs.iterdir() if each.suffix in endings]


def certificate_form(directory: Path, name: str) -> list[str]:
    """Make a key and its certificate, and return the form."""
    key, public = directory / f"{name}.key", directory / f"{name}.crt"
    how = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "300", "-subj", f"/CN={name}")
    names = ("-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(["openssl", "req", "-x509", *how, "-keyout", key, "-out", public, *names], check=True)
    return ["-F", f"public=@{public}", "-F", f"private=@{key}"]
