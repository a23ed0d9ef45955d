"""Who may make files in the administration's directories, as the original's tools may, gets nothing by coming first."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from faultkit import ask

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
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True, "signatures": False})
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
