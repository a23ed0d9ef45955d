"""A small disk that fills up: tmpfs of 4, 8 and 16 MiB under parts of the appliance.

It needs root, to mount.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faultkit import Reply, Tally, ask, multipart, some
from jobcases import JOB_TYPES, JobCase, case_of, records, start, wait_for_the_last

from jidoteki.core.appliance import Appliance
from jidoteki.core.endpoints.update.build import build_package
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

Mount = Callable[[Path, int], None]
READ = ("/version", "/update", "/endpoints", "/build", "/services", "/health")


def may_mount(directory: Path) -> bool:
    return subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(directory)], capture_output=True).returncode == 0


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Return a function that puts a directory on a tmpfs of so many MiB."""
    probe = tmp_path / "probe"
    probe.mkdir()
    if not may_mount(probe):
        pytest.skip("mounting a tmpfs needs root")
    mounted = [probe]

    def make(directory: Path, size: int) -> None:
        kept = tmp_path / f"kept-{len(mounted)}"
        shutil.copytree(directory, kept, symlinks=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=0755", "tmpfs", str(directory)], check=True)
        mounted.append(directory)
        shutil.copytree(kept, directory, symlinks=True, dirs_exist_ok=True)

    yield make
    for directory in reversed(mounted):
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Write until nothing more fits."""
    ballast = directory / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass
    return ballast


def reads(host: Host) -> dict[str, int]:
    return {path: ask(host, "GET", path, host.query("GET", path)[1:]).status for path in READ}


def attempt(host: Host, case: JobCase) -> tuple[Reply, str]:
    """Start the job and return the answer and how the job ended, if it began."""
    before = len(records(host, case.job_type))
    reply = start(host, case)
    if reply.status != 202:
        return reply, "not begun"
    if len(records(host, case.job_type)) == before:
        return reply, "not begun"
    return reply, str(wait_for_the_last(host, case.job_type)["status"])


def test_a_script_whose_words_find_no_room_is_not_ended_by_that(
    jidoteki_host: MakeHost, mount: Mount, tmp_path: Path
) -> None:
    host = jidoteki_host(start=False, limits={"free-space": 0})
    source, vendor = tmp_path / "source", host.appliance.root / "vendor"
    source.mkdir()
    proof = host.appliance.root / "proof"
    (source / "update.sh").write_text(f"""#!/bin/sh
for place in log jobs; do dd if=/dev/zero of="$JIDO_ADMIN_PATH/$place/ballast"; done
set -e
yes x | head -c 6000000
rm "$JIDO_ADMIN_PATH/log/ballast" "$JIDO_ADMIN_PATH/jobs/ballast"
touch {proof}
""")
    (source / "update.sh").chmod(0o755)
    package = tmp_path / "package.enc"
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", package)
    for directory in (host.appliance.log, host.appliance.jobs):
        mount(directory, 4)
    host.start()

    assert host.post("/update", "-F", f"update=@{package}").status == 202

    assert host.wait_for_job("/update")["status"] == "success"
    assert proof.exists()


PARTS: dict[str, tuple[Callable[[Appliance], Path], int]] = {
    "the administration tree": (lambda appliance: appliance.admin, 16),
    "the administration's etc": (lambda appliance: appliance.etc, 4),
    "the logs": (lambda appliance: appliance.log, 4),
    "the uploads": (lambda appliance: appliance.uploads, 8),
    "the work space": (lambda appliance: appliance.tmp, 8),
    "the jobs": (lambda appliance: appliance.jobs, 4),
    "the system's etc": (lambda appliance: appliance.system_etc, 8),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", some(PARTS, ("the administration tree", "the uploads")))
def test_a_full_part_refuses_or_fails_and_recovers_without_a_restart(
    jidoteki_host: MakeHost, tally: Tally, mount: Mount, part: str
) -> None:
    host = jidoteki_host(start=False, limits={"free-space": 0})
    place, size = PARTS[part]
    for job_type in JOB_TYPES:
        case_of(job_type).prepare(host)
        case_of(job_type).request(host)
    directory = place(host.appliance)
    mount(directory, size)
    host.start()
    wait_until(lambda: set(reads(host).values()) == {200})
    old = {job_type: case_of(job_type).state(host) for job_type in JOB_TYPES}

    ballast = fill(directory)
    for job_type in JOB_TYPES:
        reply, ended = attempt(host, case_of(job_type))
        state = case_of(job_type).state(host)
        tally.case(reply.status in (200, 202, 400, 404, 503, 507), f"{part} full, {job_type}: {reply}")
        tally.case(
            ended == "success" or reply.status == 200 or state == old[job_type],
            f"{part} full, {job_type}: changed, {ended}",
        )
        tally.case(set(reads(host).values()) == {200}, f"{part} full, {job_type}: {reads(host)}")
        case_of(job_type).reset({path: content for path, content in old[job_type].items() if path.parent != directory})
    token = (host.appliance.etc / "api.token").read_text()
    body, headers = multipart(("newtoken", b"another"), files=False)
    changed = ask(host, "POST", "/setup", host.query("POST", "/setup")[1:], headers, body)
    tally.case(changed.status in (200, 400, 503, 507), f"{part} full, setup: {changed}")
    if changed.status == 200:
        host.token = "another"
    else:
        tally.case((host.appliance.etc / "api.token").read_text() == token, f"{part} full: the token changed")

    ballast.unlink()
    for job_type in JOB_TYPES:
        reply, ended = attempt(host, case_of(job_type))
        shown = f"{part} with space again, {job_type}: {reply} {ended} {records(host, job_type)[-1:]}"
        again = job_type == "update" and "not newer" in str(records(host, job_type)[-1:])
        tally.case(reply.status in (200, 202) and (again or ended in ("success", "not begun")), shown)
    assert tally.failed == []


def full_again(host: Host) -> None:
    """Fill what became free: whoever fills a disk goes on."""
    wait_until(lambda: all(record["status"] != "running" for record in host.get("/jobs").json["jobs"]))
    fill(host.appliance.admin)


def helped(host: Host, way: str) -> str:
    answer = host.post("/reboot") if way == "reboot" else host.post("/backup", "-F", "action=STOP")
    assert answer.status == 202, answer.text
    id = answer.headers["Job-Id"]
    ended = wait_until(lambda: (job := host.get(f"/jobs/{id}").json)["status"] != "running" and job)
    return str(ended["status"])


@pytest.fixture
def full(jidoteki_host: MakeHost, mount: Mount) -> Host:
    """An appliance with a backup, on a full disk."""
    host = jidoteki_host(start=False, limits={"free-space": 0}, commands={"reboot": ["true"]})
    mount(host.appliance.admin, 16)
    host.start()
    assert host.post("/backup", "-F", "action=START").status == 202
    assert host.wait_for_job("/backup")["status"] == "success"
    fill(host.appliance.admin)
    return host


@pytest.mark.parametrize("way", ["reboot", "delete the backup"])
def test_what_helps_against_a_full_disk_can_be_done_on_one(full: Host, way: str) -> None:
    assert helped(full, way) == "success"


@pytest.mark.parametrize("way", ["reboot", "delete the backup"])
def test_what_helps_can_still_be_done_after_other_attempts(full: Host, way: str) -> None:
    assert full.get("/logs").status == 400
    assert full.post("/backup", "-F", "action=START").status == 400
    full_again(full)
    assert helped(full, "reboot") == "success"
    full_again(full)

    assert helped(full, way) == "success"


@pytest.mark.parametrize("way", ["reboot", "delete the backup"])
def test_strangers_cannot_use_up_what_is_reserved(full: Host, way: str) -> None:
    for number in range(40):  # more lines of the audit log than a block holds
        full.curl("GET", "/version", auth="none", query="token=guess", source=f"127.0.{number}.9")

    assert helped(full, way) == "success"


@pytest.mark.parametrize("way", ["reboot", "delete the backup"])
def test_what_helps_can_be_done_without_inodes(jidoteki_host: MakeHost, mount: Mount, way: str) -> None:
    host = jidoteki_host(start=False, limits={"free-space": 0}, commands={"reboot": ["true"]})
    mount(host.appliance.admin, 16)
    subprocess.run(["mount", "-o", "remount,nr_inodes=400", str(host.appliance.admin)], check=True)
    host.start()
    assert host.post("/backup", "-F", "action=START").status == 202
    assert host.wait_for_job("/backup")["status"] == "success"
    made = 0
    with contextlib.suppress(OSError):
        while True:
            (host.appliance.uploads / str(made)).touch()
            made += 1
    assert made < 400

    assert helped(host, way) == "success"


def test_a_full_audit_log_is_no_excuse_to_change_anything(jidoteki_host: MakeHost, tally: Tally, mount: Mount) -> None:
    host = jidoteki_host(start=False)
    mount(host.appliance.log, 4)
    host.start()
    ballast = fill(host.appliance.log)
    body, headers = multipart(("newtoken", b"another"), files=False)

    refused = ask(host, "POST", "/setup", host.query("POST", "/setup")[1:], headers, body)
    unchanged = reads(host)
    os.unlink(ballast)
    accepted = ask(host, "POST", "/setup", host.query("POST", "/setup")[1:], headers, body)

    tally.case(refused.status == 503, refused)
    tally.case(set(unchanged.values()) == {200}, unchanged)
    tally.case(accepted.status == 200, accepted)
    assert tally.failed == []
