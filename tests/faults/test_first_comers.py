"""Who may make files in the administration's directories, as the original's tools may, gets nothing by coming first."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faultkit import ask

from jidoteki.hookspecs import paths
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of somebody else")

SOMEBODY = 5001


def made_by_somebody(path: Path, content: str, mode: int = 0o644) -> None:
    path.unlink(missing_ok=True)
    path.write_text(content)
    path.chmod(mode)
    os.chown(path, SOMEBODY, SOMEBODY)


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host(
        enable=("tokens",), authentication={"named-tokens": True, "signatures": False}, health={"refresh": 0}
    )
    for directory in (host.appliance.etc, host.appliance.log):
        directory.chmod(0o1775)
        os.chown(directory, 0, SOMEBODY)
    return host


def test_nothing_is_run_that_somebody_else_listed(host: Host, tmp_path: Path) -> None:
    made_by_somebody(host.appliance.etc / "debug.txt", f"touch {tmp_path}/run\n")

    assert ask(host, "GET", "/debug", f"token={TOKEN}").status == 200
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("way", ["a file", "a link"])
def test_no_token_of_somebody_elses_making_counts(host: Host, tmp_path: Path, way: str) -> None:
    key = hashlib.sha256(b"evil-token").hexdigest()
    content = json.dumps({"tokens": {"evil": {"key": key, "scopes": ["all"]}}})
    path = host.appliance.etc / "api.tokens.json"
    if way == "a file":
        made_by_somebody(path, content)
    else:
        (tmp_path / "tokens").write_text(content)
        path.symlink_to(tmp_path / "tokens")
        os.lchown(path, SOMEBODY, SOMEBODY)

    assert ask(host, "GET", "/version", "token=evil-token").status == 403


def test_no_first_setup_is_made_with_somebody_elses_passphrase(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, first_run={"enabled": True})
    made_by_somebody(host.appliance.etc / "api.token.setup", "evil-passphrase\n")

    answer = host.post("/setup", "-F", "newtoken=evil", auth="none", query="token=evil-passphrase")

    assert answer.status == 403
    assert not (host.appliance.etc / "api.token").exists()


def test_a_first_run_that_waits_beside_somebody_elses_passphrase_gets_one_of_its_own(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, start=False, first_run={"enabled": True})
    path = host.appliance.etc / "api.token.setup"
    made_by_somebody(path, "evil-passphrase\n")
    host.start()

    passphrase = path.read_text().strip()

    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    assert host.post("/setup", "-F", "newtoken=mine", auth="none", query=f"token={passphrase}").status == 200


def test_a_first_run_that_waits_when_the_original_is_replaced_goes_on_to_wait(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, start=False, first_run={"enabled": True})
    for name in ("api.token", "api.token.setup"):
        made_by_somebody(host.appliance.etc / name, "words-of-the-original\n", 0o660)
    host.start()

    early = ask(host, "GET", "/version", "token=words-of-the-original")
    made = host.post("/setup", "-F", "newtoken=mine", auth="none", query="token=words-of-the-original")

    assert (early.status, made.status) == (403, 200)
    assert ask(host, "GET", "/version", "token=mine").status == 200
    assert ask(host, "GET", "/version", "token=words-of-the-original").status == 403


def test_somebody_elses_link_in_place_of_a_token_that_was_removed_lets_nobody_in(
    jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(first_run={"enabled": True})
    (tmp_path / "token").write_text("evil-token\n")
    path = host.appliance.etc / "api.token"
    path.unlink()
    path.symlink_to(tmp_path / "token")
    os.lchown(path, SOMEBODY, SOMEBODY)

    assert [ask(host, "GET", "/version", f"token={each}").status for each in (TOKEN, "evil-token")] == [403, 403]


def test_a_log_that_somebody_else_made_is_set_aside(host: Host) -> None:
    made_by_somebody(host.appliance.log / "update_backup.log", "forged\n", 0o666)

    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")

    log = host.appliance.log / "update_backup.log"
    assert (log.stat().st_uid, log.stat().st_mode & 0o027) == (0, 0)
    assert "forged" not in log.read_text()


def test_somebody_elses_former_license_is_never_put_in_force(host: Host) -> None:
    license = host.appliance.etc / "license.asc"
    license.write_text("in force\n")
    made_by_somebody(license.with_name("license.asc.former"), "evil\n")

    host.stop()
    host.start()

    assert license.read_text() == "in force\n"


def test_what_lies_in_the_way_of_an_old_audit_log_stops_no_change(host: Host) -> None:
    log = host.appliance.log / "jidoteki-audit.log"
    log.with_name(f"{log.name}.4").mkdir()
    log.with_name(f"{log.name}.3").write_text("")
    log.write_bytes(b"x" * 8 * 1024 * 1024)

    assert host.post("/backup", "-F", "action=STOP").status == 202


def test_a_token_that_the_originals_own_user_wrote_goes_on_to_count(host: Host) -> None:
    made_by_somebody(host.appliance.etc / "api.token", f"{TOKEN}\n", 0o660)

    assert ask(host, "GET", "/version", f"token={TOKEN}").status == 200
    assert host.post("/setup", "-F", "newtoken=another").status == 200


def as_a_tool(what: Callable[[], object]) -> None:
    """Do something as a user of the group that may make files there, and may write what root shares with it."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(SOMEBODY)
            os.setuid(SOMEBODY + 1)
            what()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def shared(host: Host) -> Host:
    """A host whose token the group may change."""
    for directory in (host.appliance.root.parent, *host.appliance.root.parents):
        if directory.stat().st_uid == 0 and str(directory).startswith("/tmp/"):
            directory.chmod(directory.stat().st_mode | 0o011)
    token = host.appliance.etc / "api.token"
    os.chown(token, 0, SOMEBODY)
    token.chmod(0o660)
    return host


@pytest.mark.parametrize("name", ["debug.txt", "logs.txt", "api.tokens.json", "updates.pub"])
def test_no_second_name_of_what_a_tool_may_write_counts_as_roots(shared: Host, tmp_path: Path, name: str) -> None:
    etc = shared.appliance.etc
    (etc / name).unlink(missing_ok=True)
    (etc / "updates.pub.kept").write_bytes(b"")

    as_a_tool(lambda: os.link(etc / "api.token", etc / name))
    with (etc / "api.token").open("a") as token:
        token.write(f"touch {tmp_path}/run\n")

    with pytest.raises(paths.NotTrustedError):
        paths.open_trusted(etc / name)
    shared.get("/debug")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "path"), [("version.txt", "/version"), ("health.json", "/health"), ("changelog.txt", "/changelog")]
)
def test_no_link_of_a_tool_leads_root_to_what_only_root_reads(
    shared: Host, tmp_path: Path, name: str, path: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"secret": "planted-secret"}')
    secret.chmod(0o600)
    (shared.appliance.etc / name).unlink(missing_ok=True)

    as_a_tool(lambda: (shared.appliance.etc / name).symlink_to(secret))

    assert "planted-secret" not in shared.get(path).text


@pytest.mark.parametrize("kind", ["a link", "a file", "a pipe", "a directory"])
def test_what_a_tool_puts_in_the_place_of_the_audit_log_is_set_aside(shared: Host, kind: str) -> None:
    log = shared.appliance.log / "jidoteki-audit.log"
    log.unlink(missing_ok=True)
    make = {
        "a link": lambda: log.symlink_to("nowhere"),
        "a file": lambda: log.write_text("forged\n"),
        "a pipe": lambda: os.mkfifo(log),
        "a directory": log.mkdir,
    }
    as_a_tool(make[kind])

    assert shared.post("/backup", "-F", "action=STOP").status == 202

    assert (log.lstat().st_uid, log.is_file()) == (0, True)
    assert "forged" not in log.read_text()


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN"])
def test_a_number_that_is_no_json_makes_no_answer_that_is_none(host: Host, number: str) -> None:
    (host.appliance.etc / "status_update.json").write_text(f'{{"status":"success","percentage":{number}}}')

    assert b"Infinity" not in host.get("/update").body
    assert b"NaN" not in host.get("/update").body
