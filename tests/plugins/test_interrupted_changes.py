"""Settings whose job is killed or cancelled during the vendor's script: the former files are restored."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trialkit

from jidoteki.hookspecs.former_files import PUT_BACK
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

NETWORK = {"interface": "eth0", "hostname": "first.host"}
NFS = {"type": "nfs", "ip": "10.0.0.1", "share": "/export/data", "mount_options": "nolock,vers=4"}
CHANGES = [
    ("/settings", "network.sh", {"network": NETWORK}, {"network": {**NETWORK, "hostname": "other"}, "app": {"a": "b"}}),
    ("/settings", "network.sh", None, {"network": NETWORK}),
    ("/storage", "storage.sh", {"storage": {"type": "local"}}, {"storage": NFS}),
]


def post(host: Host, path: str, document: Any, tmp_path: Path) -> str:
    (tmp_path / "settings.json").write_text(json.dumps(document))
    answer = host.post(path, "-F", f"settings=@{tmp_path}/settings.json")
    assert answer.status == 202, answer.text
    return answer.headers["Job-Id"]


def ended(host: Host, id: str) -> Any:
    return wait_until(lambda: (job := host.get(f"/jobs/{id}").json)["status"] != "running" and job)


State = dict[str, tuple[str, bytes]]


def state(host: Host) -> State:
    files = [host.appliance.etc / f"{each}.json" for each in ("network", "app", "storage")]
    files += [host.appliance.system_etc / f"{each}.conf" for each in ("network", "storage")]
    return trialkit.state(*(path for path in files if path.exists()))


def begin(host: Host, path: str, name: str, before: Any, after: Any, tmp_path: Path) -> tuple[str, State]:
    """Start a change with a slow script; return the job's id and the files before it."""
    script = host.appliance.bin / name
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    if before:
        assert ended(host, post(host, path, before, tmp_path))["status"] == "success"
    former = state(host)
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/runs\nsleep 60\n")
    id = post(host, path, after, tmp_path)
    wait_until((tmp_path / "runs").exists)
    assert state(host) != former
    return id, former


def process(host: Host, id: str) -> int:
    return int(json.loads((host.appliance.jobs / f"{id}.json").read_text())["pid"])


@pytest.mark.parametrize(("path", "name", "before", "after"), CHANGES)
@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_the_former_settings_are_back_once_the_job_has_ended(
    jidoteki_host: MakeHost, tmp_path: Path, path: str, name: str, before: Any, after: Any, with_signal: signal.Signals
) -> None:
    host = jidoteki_host()
    id, former = begin(host, path, name, before, after, tmp_path)

    os.kill(process(host, id), with_signal)
    job = ended(host, id)

    assert state(host) == former
    assert PUT_BACK in f"{job['log']} {job.get('error-message')}"
    assert job["status"] == ("failed" if with_signal == signal.SIGKILL else "cancelled")
    assert list(host.appliance.jobs.glob("*.former")) == []


@pytest.mark.parametrize(("path", "name", "before", "after"), CHANGES)
def test_the_former_settings_are_back_after_the_power_failed(
    jidoteki_host: MakeHost, tmp_path: Path, path: str, name: str, before: Any, after: Any
) -> None:
    host = jidoteki_host()
    id, former = begin(host, path, name, before, after, tmp_path)
    assert host.process is not None
    host.process.kill()
    os.killpg(process(host, id), signal.SIGKILL)
    host.process.wait()
    host.process = None

    host.start()

    assert state(host) == former
    assert PUT_BACK in host.get(f"/jobs/{id}").json["error-message"]


def test_what_somebody_else_wrote_since_stays(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host()
    id, _ = begin(host, *CHANGES[0], tmp_path)
    theirs = host.appliance.system_etc / "network.conf"
    theirs.write_text("mode=dhcp\n")

    os.kill(process(host, id), signal.SIGKILL)
    job = ended(host, id)

    assert theirs.read_text() == "mode=dhcp\n"
    assert f"{PUT_BACK}, but for what was written meanwhile: {theirs}" in job["error-message"]
    assert json.loads((host.appliance.etc / "network.json").read_text())["hostname"] == "first.host"


@pytest.mark.parametrize("link", ["network.json", "network.conf"])
@pytest.mark.parametrize("killed", [True, False])
def test_a_link_in_the_place_of_a_file_is_there_again(
    jidoteki_host: MakeHost, tmp_path: Path, link: str, killed: bool
) -> None:
    host = jidoteki_host()
    assert ended(host, post(host, "/settings", {"network": NETWORK}, tmp_path))["status"] == "success"
    path = (host.appliance.etc if link == "network.json" else host.appliance.system_etc) / link
    kept = path.rename(tmp_path / link)
    path.symlink_to(kept)
    former, after = state(host), {"network": {**NETWORK, "hostname": "other"}}

    if killed:
        id, _ = begin(host, "/settings", "network.sh", None, after, tmp_path)
        os.kill(process(host, id), signal.SIGKILL)
    else:
        (host.appliance.bin / "network.sh").write_text("#!/bin/sh\nexit 1\n")
        id = post(host, "/settings", after, tmp_path)
    job = ended(host, id)

    assert state(host) == former
    assert path.readlink() == kept
    assert PUT_BACK in f"{job['log']} {job['error-message']}"


def test_a_first_change_is_taken_back_where_the_systems_etc_is_a_link(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host(start=False)
    host.appliance.system_etc.rename(tmp_path / "kept")
    host.appliance.system_etc.symlink_to(tmp_path / "kept")
    script = host.appliance.bin / "network.sh"
    script.write_text("#!/bin/sh\nexit 1\n")
    host.start()

    job = ended(host, post(host, "/settings", {"network": NETWORK}, tmp_path))

    assert job["error-message"] == "network.sh failed with exit status 1"
    assert PUT_BACK in job["log"] and state(host) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"/etc/passwd": {"former": "eA==", "written": ""}}'])
def test_a_note_that_makes_no_sense_changes_nothing(jidoteki_host: MakeHost, tmp_path: Path, content: bytes) -> None:
    host = jidoteki_host()
    id, _ = begin(host, *CHANGES[0], tmp_path)
    new = state(host)
    (host.appliance.jobs / f"{id}.former").write_bytes(content)

    os.kill(process(host, id), signal.SIGKILL)
    job = ended(host, id)

    assert state(host) == new
    assert PUT_BACK not in job["error-message"]
