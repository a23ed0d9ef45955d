"""Anything at all in the place of a file or directory of the appliance.

Whatever lies there, the service starts, answers every question in time and without an error of its own, and ends.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultkit import LONG, Tally
from obstacles import OBSTACLES, obstruct, remove

from jidoteki.core.appliance import Appliance
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

HEX = "0123456789abcdef"
PARTS = 2

#: Files, and where they are below the administration tree, or with a slash below the root.
FILES = (
    *(f"etc/{name}" for name in (
        "version.txt", "changelog.txt", "health.json", "logs.txt", "debug.txt", "backup.txt", "app.json",
        "network.json", "storage.json", "updates.key", "updates.pub", "license.asc", "license.key", "license.pub",
        "status_update.json", "status_update.txt", "status_error_message.txt", "status_error_code.txt",
        "status_certs.txt", ".jidoteki-x", f".jidoteki-{HEX}", f"sub/.jidoteki-{HEX}",
    )),
    *(f"log/{name}" for name in (
        "update.log", "update.log.1", "logs.log", "update_certs.log", "jidoteki-admin-api.log",
        "jidoteki-admin-api.log.1", "jidoteki-access.log", "jidoteki-access.log.1",
    )),
    *(f"jobs/{name}" for name in (
        "start.lock", "settle_job.lock", "replace.lock", "update.lock", "logs.lock", ".jidoteki-replace.json",
        "000001-update.json", "000001-update.log", "000002-logs.log", "999999999-update.json", f".jidoteki-{HEX}",
        "sent.json",
    )),
    *(f"tmp/{name}" for name in ("000001-update", "000001-logs", "dry-run-1", ".jidoteki-tls.pem", "x")),
    *(f"spool/{name}" for name in (
        "logs.tar.gz", "debug-bundle.tar", "backup.tar", "backup.json", f".jidoteki-upload-{HEX}", ".jidoteki-x",
    )),
    *(f"home/sftp/uploads/{name}" for name in (
        "logs.tar.gz", "debug-bundle.tar", "backup.tar", "backup.json", "software_package-1.enc", ".jidoteki-x",
        f".jidoteki-{HEX}", f".jidoteki-upload-{HEX}", f".jidoteki-backup-{HEX}",
    )),
    *(f"/usr/local/etc/{name}" for name in (
        "build.json", "allservices.txt", "storage-options.json", "storage.conf", "network.conf",
        "pki/tls/enterprise.pem", "pki/tls/private/enterprise.key", "pki/tls/ca-bundle.crt", "plugins/obstacle.py",
        "init.d/openssh", ".jidoteki-x", f"pki/tls/.jidoteki-{HEX}",
    )),
)  # fmt: skip

#: Directories of the service or of its neighbours; a file in their place is one of the obstacles.
DIRECTORIES = ("spool", "jobs", "tmp", "home", "home/sftp", "home/sftp/uploads", "bin", "/usr/local/etc/pki")

#: Without these nobody is let in, whatever is asked; the service starts all the same.
GUARDS = (
    "etc/api.token", "etc/api.token.setup", "etc/api.tokens.json", "log/jidoteki-audit.log", "jobs/nonces",
    "/usr/local/etc/jidoteki-admin-api.json", "etc", "log",
)  # fmt: skip

QUESTIONS = (
    "/version", "/build", "/health", "/changelog", "/update", "/update/log", "/services", "/endpoints", "/settings",
    "/storage", "/license", "/certs", "/logs", "/debug",
)  # fmt: skip

SERVED_AS_THEY_ARE = ("/changelog", "/update/log")


def place(appliance: Appliance, name: str) -> Path:
    return appliance.root / name[1:] if name.startswith("/") else appliance.admin / name


@contextlib.contextmanager
def obstructed(host: Host, names: tuple[str, ...], kind: str) -> Iterator[list[Path]]:
    """Put obstacles where the names say; those that this system cannot have are left out."""
    paths = [place(host.appliance, name) for name in names]
    made = [path for path in paths if obstruct(path, kind)]
    try:
        yield made
    finally:
        for path in made:
            remove(path)


def start(host: Host, seconds: float = 20) -> str:
    """Start the host; what is wrong, or nothing."""

    def give_up() -> None:
        if host.process:
            host.process.kill()

    timer = threading.Timer(seconds, give_up)
    timer.start()
    try:
        host.start()
    except AssertionError as error:
        return f"it does not start: {error}"[:500]
    finally:
        timer.cancel()
    return ""


def answers(host: Host, questions: tuple[str, ...], tally: Tally, what: str) -> dict[str, int]:
    """Ask everything; count as wrong what is answered with an error of the service's own, late or not at all."""
    told = {}
    for question in questions:
        try:
            some = ["--range", "0-99"] if question in SERVED_AS_THEY_ARE else []
            status = host.get(question, "--insecure", "--max-time", "30", *some, auth="token").status
        except AssertionError:
            status = 0
        # 503: what reads licenses cannot.
        tally.case(
            status in (200, 206, 400, 403, 404) or (status, question) == (503, "/license"),
            f"{what}: {question} {status}",
        )
        told[question] = status
    return told


@pytest.mark.parametrize("kind", OBSTACLES)
def test_with_every_file_obstructed_all_that_can_be_answered_is(
    jidoteki_host: MakeHost, tally: Tally, kind: str
) -> None:
    host = jidoteki_host(start=False)
    with obstructed(host, FILES, kind) as made:
        if not made:
            pytest.skip(f"this system can have no {kind}")
        problem = start(host)
        assert not problem
        told = answers(host, QUESTIONS, tally, kind)
        host.appliance.replace_file(host.appliance.root / "package", b"rubbish")
        posted = host.post("/update", "--insecure", "-F", f"update=@{host.appliance.root / 'package'}", auth="token")
        tally.case(posted.status == 202, f"{kind}: POST /update {posted.status} {posted.text}")
        wait_until(lambda: host.get("/update", "--insecure", auth="token").json["status"] == "failed")
        # What cannot be changed in the spool keeps its name from being published, and nothing else.
        tally.case(told["/logs"] == (400 if kind == "immutable file" else 200), f"{kind}: /logs {told['/logs']}")
        tally.case(host.stop() == 0, f"{kind}: it does not end")

    assert not tally.failed


def _alone() -> list[tuple[str, str]]:
    """Every place with every obstacle in the long version; else each third place, with each obstacle in turn."""
    kinds = list(OBSTACLES)
    places = (*FILES, *DIRECTORIES, *GUARDS)
    if LONG:
        return [(name, kind) for name in places for kind in kinds]
    return [(name, kinds[(number + (number // len(kinds))) % len(kinds)]) for number, name in enumerate(places[::3])]


@pytest.mark.parametrize("part", range(PARTS))
def test_each_place_obstructed_alone(jidoteki_host: MakeHost, tally: Tally, part: int) -> None:
    host = jidoteki_host(start=False)
    for name, kind in _alone()[part::PARTS]:
        with obstructed(host, (name,), kind) as made:
            if not made:
                continue
            problem = start(host)
            tally.case(not problem, f"{name} is a {kind}: {problem}")
            if not problem:
                answers(host, ("/version", "/update", "/health"), tally, f"{name} is a {kind}")
                tally.case(host.stop() == 0, f"{name} is a {kind}: it does not end")
            host.process = None
        host.appliance.prepare()

    assert not tally.failed


@pytest.mark.parametrize("kind", OBSTACLES)
def test_the_status_of_updates_is_told_whatever_lies_in_place_of_the_jobs_directory(
    jidoteki_host: MakeHost, kind: str
) -> None:
    host = jidoteki_host(start=False)
    with obstructed(host, ("jobs",), kind) as made:
        if not made:
            pytest.skip(f"this system can have no {kind}")
        assert not start(host)
        assert host.get("/update", "--insecure", auth="token").status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make things that belong to others")
def test_what_others_left_in_the_inbox_stays_there(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    uploads = host.appliance.uploads
    for number, kind in enumerate(("directory", "pipe", "socket")):
        assert obstruct(uploads / f".jidoteki-{number:016x}", kind)
    obstruct(uploads / f".jidoteki-{9:016x}", "garbage")
    (uploads / ".jidoteki-mine").write_text("somebody's\n")
    outside = host.appliance.root / "outside"
    outside.mkdir()
    (outside / f".jidoteki-{HEX}").write_text("kept\n")
    (uploads / "deep").mkdir()
    (uploads / "deep" / f".jidoteki-{HEX}").write_text("somebody's\n")
    (host.appliance.etc / "linked").symlink_to(outside)

    host.start()

    assert sorted(each.name for each in uploads.iterdir()) == [
        *(f".jidoteki-{number:016x}" for number in range(3)), ".jidoteki-mine", "deep",
    ]  # fmt: skip
    assert (outside / f".jidoteki-{HEX}").exists()
    assert (uploads / "deep" / f".jidoteki-{HEX}").exists()
    wait_until(lambda: ".jidoteki-0000000000000000" in (host.appliance.log / "jidoteki-admin-api.log").read_text())
