"""What a job changed is on disk before it is a success."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from jidoteki.core.jobs import disks, runner
from jidoteki.hookspecs import JobError
from jidoteki.testing import MakeClient


@dataclass
class Recorder:
    """A job that runs programs, or only notes them."""

    root: str = "/"
    status: int | None = 0
    calls: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def appliance(self) -> Any:
        return SimpleNamespace(root=Path(self.root))

    def command(self, *argv: str, timeout: float, privileged: bool = False) -> int:
        self.calls.append(argv)
        return subprocess.run(argv, timeout=timeout, check=False).returncode if self.status is None else self.status


def disk(point: str, kind: str = "ext4", opts: str = "rw,relatime") -> Any:
    return SimpleNamespace(mountpoint=point, fstype=kind, opts=opts)


@pytest.fixture
def partitions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """File systems of a machine, each at a directory of its own."""
    for name in ("data", "ram", "image", "read-only", "bound", "nfs"):
        (tmp_path / name).mkdir()
    all_of_them = [
        disk(str(tmp_path / "data")), disk(str(tmp_path / "bound")), disk(str(tmp_path / "ram"), "tmpfs"),
        disk(str(tmp_path / "nfs"), "nfs4"), disk(str(tmp_path / "image"), "overlay"),
        disk(str(tmp_path / "read-only"), opts="ro"), disk(str(tmp_path / "gone")),
    ]  # fmt: skip
    physical = [each for each in all_of_them if each.fstype == "ext4"]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all=False: all_of_them if all else physical)
    devices = {str(tmp_path / name): number for number, name in enumerate(("data", "ram", "image", "nfs", "read-only"))}
    devices[str(tmp_path / "bound")] = devices[str(tmp_path / "data")]
    stat = os.stat

    def device(path: Any, **options: Any) -> Any:
        return SimpleNamespace(st_dev=devices[path]) if path in devices else stat(path, **options)

    monkeypatch.setattr("jidoteki.core.jobs.disks.os.stat", device)
    monkeypatch.setattr("jidoteki.core.jobs.disks.os.path.isdir", lambda path: True)
    return all_of_them


def test_each_file_system_that_is_kept_is_written_once(partitions: list[Any]) -> None:
    job = Recorder()

    disks.store(job)  # type: ignore[arg-type]

    names = [Path(argv[-1]).name for argv in job.calls]
    assert names == ["data", "image", "read-only"]
    assert {argv[:-1] for argv in job.calls} == {("sync", "--file-system")}


def test_a_disk_that_fails_fails_the_job(partitions: list[Any]) -> None:
    with pytest.raises(JobError, match="What was changed is not stored: the file system at .*/data fails"):
        disks.store(Recorder(status=1))  # type: ignore[arg-type]


def test_at_another_root_nothing_is_written(tmp_path: Path) -> None:
    job = Recorder(str(tmp_path))

    disks.store(job)  # type: ignore[arg-type]

    assert job.calls == []


def test_the_program_is_there_and_takes_the_option(tmp_path: Path) -> None:
    assert subprocess.run(["sync", "--file-system", tmp_path], check=False).returncode == 0


@pytest.mark.parametrize("persist", [True, False])
def test_a_job_that_changes_the_system_stores_it_at_last(monkeypatch: pytest.MonkeyPatch, persist: bool) -> None:
    order: list[str] = []
    context = SimpleNamespace(
        checkpoint=lambda: None,
        was_told=False,
        persist=lambda: order.append("persist"),
        final_percentage=100,
        await_confirmation=lambda: None,
    )
    job = SimpleNamespace(
        check=None, run=lambda context: order.append("run"), persist=persist, revert=None, resume=None
    )
    monkeypatch.setattr(disks, "store", lambda job: order.append("store"))

    runner._perform(SimpleNamespace(job=job, context=context, record=SimpleNamespace(confirm=0)))  # type: ignore[arg-type]

    assert order == (["run", "persist", "store"] if persist else ["run"])


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_failed_change_put_back_is_stored_before_it_is_told(
    monkeypatch: pytest.MonkeyPatch, jidoteki_client: MakeClient, fails: bool
) -> None:
    client = await jidoteki_client(enable=["settings"])
    conf, script = client.appliance.system_etc / "network.conf", client.appliance.bin / "network.sh"
    conf.write_text("hostname=former\n")
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    seen: list[tuple[str, str]] = []

    def store(job: Any) -> None:
        (record,) = client.appliance.jobs.glob("*-settings.json")
        seen.append((conf.read_text(), json.loads(record.read_text())["status"]))
        if fails:
            raise JobError("What was changed is not stored: the file system at / fails")

    monkeypatch.setattr(disks, "store", store)

    posted = {"settings": json.dumps({"network": {"interface": "eth0", "hostname": "new.host", "mode": "dhcp"}})}
    id = (await client.request("POST", "/settings", posted)).headers["Job-Id"]
    job = await client.wait_for_job(f"/jobs/{id}")

    assert job["status"] == "failed"
    assert seen == [("hostname=former\n", "running")]
    assert ("the file system at / fails" in job["error-message"]) == fails
