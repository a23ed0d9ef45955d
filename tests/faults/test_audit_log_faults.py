"""Audit log full, deleted, unwritable: changes are refused, reading goes on."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from faultkit import Reply, Tally, ask, multipart

from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost


def change_token(host: Host) -> Reply:
    body, headers = multipart(("newtoken", b"another"), files=False)
    return ask(host, "POST", "/setup", host.query("POST", "/setup")[1:], headers, body)


def become_a_directory(log: Path) -> None:
    log.mkdir()


def become_a_link(log: Path) -> None:
    log.symlink_to("elsewhere")


def become_a_pipe(log: Path) -> None:
    subprocess.run(["mkfifo", str(log)], check=True)


def become_a_device(log: Path) -> None:
    log.symlink_to("/dev/full")


def lose_its_directory(log: Path) -> None:
    log.parent.rename(log.parent.with_name("log-moved"))


SPOILED: dict[str, Callable[[Path], None]] = {
    "a directory": become_a_directory,
    "a link to another file": become_a_link,
    "a pipe that nobody reads": become_a_pipe,
    "a device that is always full": become_a_device,
    "in a directory that is gone": lose_its_directory,
}


@pytest.mark.parametrize("how", SPOILED)
def test_nothing_is_changed_while_the_log_cannot_be_written(jidoteki_host: MakeHost, tally: Tally, how: str) -> None:
    host = jidoteki_host()
    log = host.appliance.log / "jidoteki-audit.log"
    log.unlink(missing_ok=True)

    SPOILED[how](log)
    refused = change_token(host)
    reading = ask(host, "GET", "/version", host.query("GET", "/version")[1:])

    tally.case(refused.status == 503, f"{how}: {refused}")
    tally.case((host.appliance.etc / "api.token").read_text() == f"{TOKEN}\n", f"{how}: the token was changed")
    tally.case(reading.status == 200, f"{how}: {reading}")
    tally.case(not (host.appliance.log / "elsewhere").exists(), "a link was followed")
    assert tally.failed == []


def test_a_deleted_log_is_begun_anew(jidoteki_host: MakeHost, tally: Tally) -> None:
    host = jidoteki_host()
    ask(host, "GET", "/version", "token=wrong", source="127.0.0.2")
    log = host.appliance.log / "jidoteki-audit.log"

    log.unlink()
    answer = change_token(host)

    tally.case(answer.status == 200, answer)
    written = [line[4] for line in host.audit()]
    tally.case(written == ["request.begun", "request.done", "token.update.success"], host.audit())
    tally.case(log.stat().st_mode & 0o777 == 0o600, oct(log.stat().st_mode))
    assert tally.failed == []


def test_a_long_log_turns_over(jidoteki_host: MakeHost, tally: Tally) -> None:
    host = jidoteki_host()
    log = host.appliance.log / "jidoteki-audit.log"
    log.write_bytes(b"x" * (8 * 1024 * 1024))

    answer = change_token(host)

    tally.case(answer.status == 200, answer)
    tally.case(log.stat().st_size < 1000, log.stat().st_size)
    tally.case(log.with_name(f"{log.name}.1").stat().st_size == 8 * 1024 * 1024, "the old one is gone")
    assert tally.failed == []


def test_a_file_that_may_grow_no_more_changes_nothing(jidoteki_host: MakeHost, tally: Tally) -> None:
    host = jidoteki_host()
    assert host.process
    log = host.appliance.log / "jidoteki-audit.log"
    log.write_bytes(b"x" * 100_000)
    resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (100_010, resource.RLIM_INFINITY))

    refused = change_token(host)
    half_written = log.stat().st_size
    resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    accepted = change_token(host)

    tally.case(refused.status == 503, refused)
    tally.case(half_written == 100_000, "part of a line was left")
    tally.case(accepted.status == 200, accepted)
    assert tally.failed == []
