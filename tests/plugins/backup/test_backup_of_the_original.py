"""A backup that the original or its script wrote is shown and sent, and nothing that the SFTP user makes of others."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from backupkit import keep_busy

from jidoteki.core.appliance import Appliance
from jidoteki.plugins.backup import stored_backup
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root makes files of another user")

API_GROUP = 997 if ROOT else os.getegid()
SFTP_USER = 998 if ROOT else os.geteuid()
SCRIPT = """
umask 027
cd "$1" || exit
printf '{"status":"running"}' >backup.json
chgrp $3 backup.json
tar -C "$2" -cf backup.tar app || exit
size=$(du -ha backup.tar | cut -f1)
hash=$(sha256sum backup.tar | cut -d' ' -f1)
printf '{"status":"success","filesize":"%s","sha256":"%s"}' "$size" "$hash" >backup.json
"""
"""What another program, such as the original's script, does from cron or SSH."""


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    """An appliance with directories as the original leaves them."""
    host = jidoteki_host()
    uploads = host.appliance.uploads
    os.chown(uploads, SFTP_USER, API_GROUP)
    uploads.chmod(0o770)
    return host


def run_script(appliance: Appliance) -> dict[str, str]:
    subprocess.run(["sh", "-ec", SCRIPT, "sh", appliance.uploads, appliance.data, str(API_GROUP)], check=True)
    told: dict[str, str] = json.loads((appliance.uploads / "backup.json").read_text())
    return told


def by_sftp_user(host: Host, *command: str) -> None:
    """Run something in the uploads directory, the way to which may be closed to the user."""
    as_user = ["setpriv", f"--reuid={SFTP_USER}", f"--regid={API_GROUP}", "--clear-groups"]
    subprocess.run([*as_user, *command], check=True, cwd=host.appliance.uploads)


def keep(host: Host) -> None:
    for name in ("backup.tar", "backup.json"):
        by_sftp_user(host, "mv", name, f"kept-{name}")


def give_back(host: Host) -> None:
    for name in ("backup.tar", "backup.json"):
        by_sftp_user(host, "mv", "-f", f"kept-{name}", name)


def back_up(host: Host) -> dict[str, str]:
    assert host.post("/backup", "-F", "action=START").status == 202
    status: dict[str, str] = host.wait_for_job("/backup")
    return status


def statuses(host: Host) -> list[int]:
    return [host.get(path).status for path in ("/backup", "/backup/download")]


def assert_served(host: Host, told: dict[str, str]) -> None:
    """That a backup is shown, and that what is sent is what was told of."""
    shown, sent = host.get("/backup"), host.get("/backup/download")
    assert (shown.status, sent.status) == (200, 200)
    assert shown.json == told
    assert hashlib.sha256(sent.body).hexdigest() == told["sha256"]
    assert sent.headers["Content-Disposition"] == 'attachment; filename="backup.tar"'


def test_one_that_was_there_before_is_served(host: Host) -> None:
    told = run_script(host.appliance)

    assert_served(host, told)
    assert host.get("/backup").text == (host.appliance.uploads / "backup.json").read_text()
    part = host.get("/backup/download", "-H", "Range: bytes=512-1023")
    assert (part.status, part.body) == (206, (host.appliance.uploads / "backup.tar").read_bytes()[512:1024])
    assert "backup" not in host.errors()


def test_an_archive_without_a_description_is_there_to_download(host: Host) -> None:
    run_script(host.appliance)
    (host.appliance.uploads / "backup.json").unlink()

    assert statuses(host) == [404, 200]


def test_one_that_is_being_made_is_shown_and_not_sent(host: Host) -> None:
    run_script(host.appliance)
    (host.appliance.uploads / "backup.json").write_text('{"status":"running"}')

    assert host.get("/backup").text == '{"status":"running"}'
    assert host.get("/backup/download").status == 404


@pytest.mark.parametrize(
    "told",
    [
        {"status": "failed"},
        {"status": "success", "filesize": "12K", "sha256": "0" * 64, "made-by": "cron", "parts": [1, {"a": None}]},
        {"status": "uploading", "percentage": 40},
    ],
)
def test_further_keys_and_states_are_shown_as_they_are(host: Host, told: dict[str, object]) -> None:
    back_up(host)
    (host.appliance.uploads / "backup.json").write_text(json.dumps(told, indent=2))

    assert host.get("/backup").json == told


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"filesize":"1K"}', b'{"status":1}', b"[" * 50_000, b" " * 70_000]
)
def test_a_description_that_makes_no_sense_leaves_the_last_one(host: Host, content: bytes) -> None:
    told = back_up(host)
    (host.appliance.uploads / "backup.json").write_bytes(content)

    assert_served(host, told)


def test_whoever_made_the_last_one_is_shown(host: Host) -> None:
    for _ in range(2):
        assert_served(host, back_up(host))
        (host.appliance.data / "app/more").write_bytes(os.urandom(5000))
        assert_served(host, run_script(host.appliance))


def test_stop_deletes_it(host: Host) -> None:
    run_script(host.appliance)

    stopped = host.post("/backup", "-F", "action=STOP")

    assert (stopped.status, statuses(host)) == (202, [404, 404])
    assert list(host.appliance.uploads.iterdir()) == []
    assert host.get("/backup/log").text.splitlines()[-1].endswith("[LIVE IMAGE] Deleting backup archive")


def test_a_backup_of_nothing_leaves_it_to_download(host: Host) -> None:
    told = run_script(host.appliance)
    (host.appliance.etc / "backup.txt").write_text("ap\n")

    failed = back_up(host)

    assert failed["status"] == "failed"
    assert hashlib.sha256(host.get("/backup/download").body).hexdigest() == told["sha256"]


def test_one_that_becomes_shorter_while_it_is_sent_ends_the_connection(host: Host) -> None:
    run_script(host.appliance)
    archive = host.appliance.uploads / "backup.tar"
    with archive.open("r+b") as file:
        file.truncate(64 * 1024**2)
    command = ["curl", "-sk", "--limit-rate", "4M", "--max-time", "20", "-o", os.devnull]
    with subprocess.Popen(
        [*command, f"{host.url}/api/v1/admin/backup/download{host.query('GET', '/backup/download')}"]
    ) as curl:
        time.sleep(1)
        os.truncate(archive, 1024**2)

        assert curl.wait() in (18, 56)  # closed with bytes outstanding; 28 would be a client that waits


# What the SFTP user makes of others' files


def rename_a_log_bundle(host: Host) -> None:
    assert host.get("/logs").status == 200
    by_sftp_user(host, "mv", "logs.tar.gz", "backup.tar")


def give_a_second_name(host: Host) -> None:
    secret = host.appliance.uploads.parent / "secret"
    secret.write_text("secret")
    os.link(secret, host.appliance.uploads / "backup.tar")


def lead_there_by_a_link(host: Host) -> None:
    by_sftp_user(host, "ln", "-s", "/etc/hostname", "backup.tar")


def write_it_himself(host: Host) -> None:
    for name in ("backup.tar", "backup.json"):
        by_sftp_user(host, "sh", "-c", f'echo \'{{"status":"success"}}\' >{name}')


def write_into_what_all_may_write(host: Host) -> None:
    run_script(host.appliance)
    for name in ("backup.tar", "backup.json"):
        (host.appliance.uploads / name).chmod(0o666)


def give_back_what_was_deleted(host: Host) -> None:
    ways: list[Callable[[], object]] = [lambda: run_script(host.appliance), lambda: back_up(host)]
    for make in ways:
        make()
        keep(host)
        host.post("/backup", "-F", "action=STOP")
        give_back(host)


@needs_root
@pytest.mark.parametrize(
    "trick",
    [
        rename_a_log_bundle, give_a_second_name, lead_there_by_a_link, write_it_himself, write_into_what_all_may_write,
        give_back_what_was_deleted,
    ],
)  # fmt: skip
def test_what_he_makes_of_files_is_no_backup(host: Host, trick: Callable[[Host], None]) -> None:
    trick(host)

    assert statuses(host) == [404, 404]


@needs_root
def test_what_he_gives_back_is_not_shown_in_place_of_a_later_one(host: Host) -> None:
    ways: list[Callable[[], object]] = [lambda: run_script(host.appliance), lambda: back_up(host)]
    for make in ways:
        make()
        keep(host)
        (host.appliance.data / "app/more").write_bytes(os.urandom(5000))
        told = back_up(host)
        give_back(host)

        assert_served(host, told)


# What is there while a backup runs, and after


def test_the_description_is_compact_and_there_while_a_backup_runs(host: Host) -> None:
    keep_busy(host.appliance.data / "app/huge")
    host.configure(limits={"free-space": 0})
    host.reload()
    description = host.appliance.uploads / "backup.json"

    host.post("/backup", "-F", "action=START")
    running = wait_until(lambda: description.exists() and description.read_text())
    download = host.get("/backup/download")
    host.post("/backup", "-F", "action=STOP")
    log = [line.partition("] ")[2] or line for line in host.get("/backup/log").text.splitlines()]
    shutil.rmtree(host.appliance.data / "app/huge")
    told = back_up(host)

    assert running == '{"status":"running"}'
    assert (download.status, download.json["Error-Message"]) == (404, "The backup is being made")
    assert log[-2:] == ["Stopping backup", "Deleting backup archive"]
    assert description.read_text() == (
        f'{{"status":"success","filesize":"{told["filesize"]}","sha256":"{told["sha256"]}"}}'
    )


def test_the_lines_of_the_log_are_those_of_the_original(host: Host) -> None:
    told = back_up(host)
    (host.appliance.etc / "backup.txt").write_text("ap\n")
    back_up(host)
    lines = host.get("/backup/log").text.splitlines()

    begun = [f"[LIVE IMAGE] {line}" for line in ("Validating backup file size", "Starting backup")]
    assert [line.partition("]")[2] for line in lines[:2]] == begun
    assert lines[2] == (
        f"Created file: {host.appliance.uploads}/backup.tar - size: {told['filesize']} - hash: {told['sha256']}"
    )
    assert lines[3].endswith("][LIVE IMAGE] Backup complete")
    assert lines[-1].endswith("][LIVE IMAGE] Backup failed")


def test_a_killed_backup_is_not_running_any_more(host: Host) -> None:
    keep_busy(host.appliance.data / "app/huge")
    host.configure(limits={"free-space": 0})
    host.reload()
    host.post("/backup", "-F", "action=START")
    wait_until(lambda: (host.appliance.uploads / "backup.json").exists())
    [record] = host.appliance.jobs.glob("*-backup.json")
    # Until its process has begun there is none: 0, which would mean those of the tests.
    os.kill(wait_until(lambda: json.loads(record.read_text())["pid"]), signal.SIGKILL)

    status = host.wait_for_job("/backup")

    assert status["status"] == "failed"
    wait_until(lambda: json.loads((host.appliance.uploads / "backup.json").read_text())["status"] == "failed")


def test_a_clock_that_was_set_back_hides_no_backup(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path / "root", tmp_path / "root/admin")
    appliance.prepare()
    appliance.data.mkdir()
    (appliance.data / "app").touch()
    stored_backup.record_failure(appliance, "made in the future")
    stored_backup.delete(appliance)
    tomorrow = time.time() + 86400
    os.utime(appliance.jobs / "backup.withdrawn", (tomorrow, tomorrow))

    told = run_script(appliance)

    assert stored_backup.status(appliance) == told
