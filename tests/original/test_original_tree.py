"""Put in place of the original, on the tree that it leaves: nobody notices.

Each test is one thing that the original does, with the value that it gives.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import original_tree
import pytest
from original_tree import ADMIN, STAFF, access

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost
from jidoteki.testing.host import COMMAND

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of other users and groups")

TOKEN = "the-token"
DHCP = {"network": {"interface": "eth1", "hostname": "new"}, "app": {"name": "new"}}


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host(token=TOKEN, start=False, first_run={"enabled": True, "word-length": 4})
    original_tree.make(host.appliance)
    return host.start()


def ended(host: Host, kind: str) -> dict[str, Any]:
    """The record of the last job of a kind, once it has ended well."""

    def found() -> dict[str, Any] | None:
        paths = sorted(host.appliance.jobs.glob(f"*-{kind}.json"))
        record: dict[str, Any] = json.loads(paths[-1].read_text()) if paths else {"status": "running"}
        return None if record["status"] == "running" else record

    record: dict[str, Any] = wait_until(found)
    assert record["status"] == "success", record
    return record


def test_it_is_served_without_a_line_of_errors(host: Host) -> None:
    for path in ("version", "changelog", "build", "settings", "update", "certs", "storage", "services", "health"):
        assert host.get(f"/{path}").status == 200, path

    assert host.errors() == ""


def test_a_first_run_that_is_long_done_stays_done(host: Host) -> None:
    assert host.get("/version").json == {"version": "2.0.0"}
    assert (host.appliance.etc / "api.token.setup").read_text() == ""


@needs_root
def test_files_that_are_replaced_keep_owner_group_and_mode(host: Host) -> None:
    etc, system = host.appliance.etc, host.appliance.system_etc
    replaced = [etc / "api.token", etc / "network.json", etc / "app.json", etc / "storage.json",
                system / "network.conf", system / "storage.conf"]  # fmt: skip
    before = {path: (access(path), path.stat().st_ino) for path in replaced}
    network = {"network": {"interface": "eth1", "hostname": "new"}, "app": {"name": "new"}}
    storage = {"storage": {"type": "local"}}

    for kind, document in (("settings", network), ("storage", storage)):
        posted = host.post(f"/{kind}", "-F", f"settings={json.dumps(document)};type=application/json")
        assert posted.status == 202, posted.text
        ended(host, kind)
    assert host.post("/setup", "-F", "newtoken=another").status == 200

    assert {path: access(path) for path in replaced} == {path: before[path][0] for path in replaced}
    assert all(path.stat().st_ino != before[path][1] for path in replaced)


@needs_root
@pytest.mark.parametrize("name", ["network.json", "app.json", "storage.json"])
def test_files_that_are_new_belong_to_the_group_of_the_originals_tools(host: Host, name: str) -> None:
    (host.appliance.etc / name).unlink()
    kind = "storage" if name == "storage.json" else "settings"
    document = (
        {"storage": {"type": "local"}}
        if kind == "storage"
        else {"network": {"interface": "eth1", "hostname": "new"}, "app": {"name": "new"}}
    )

    assert host.post(f"/{kind}", "-F", f"settings={json.dumps(document)};type=application/json").status == 202
    ended(host, kind)

    assert access(host.appliance.etc / name) == (0, ADMIN, "0o640")


@needs_root
def test_a_token_that_is_new_may_be_changed_by_the_group_of_the_originals_tools(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, start=False)
    original_tree.make(host.appliance)
    for name in ("api.token", "api.token.setup"):
        (host.appliance.etc / name).unlink()
    host.start()

    assert host.post("/setup", "-F", "newtoken=new", auth="none").status == 200

    assert access(host.appliance.etc / "api.token") == (0, ADMIN, "0o660")


@needs_root
def test_a_certificate_is_replaced_for_the_users_who_had_it(host: Host, tmp_path: Path) -> None:
    tls = host.appliance.system_etc / "pki/tls"
    key, public = tmp_path / "key", tmp_path / "crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=localhost", "-keyout", key, "-out", public], check=True, capture_output=True,
    )  # fmt: skip

    assert host.post("/certs", "-F", f"public=@{public}", "-F", f"private=@{key}").status == 202
    ended(host, "certs")

    assert (tls / "certs/enterprise.crt").read_text() == public.read_text()
    assert access(tls / "private/enterprise.key") == (0, STAFF, "0o640")
    assert access(tls / "certs/enterprise.crt") == (0, STAFF, "0o640")
    assert access(tls / "enterprise.pem") == (0, ADMIN, "0o640")


@needs_root
def test_what_is_published_can_be_read_by_the_group_of_the_originals_tools(host: Host) -> None:
    assert host.get("/logs").status == 200

    assert access(host.appliance.uploads / "logs.tar.gz") == (0, ADMIN, "0o640")


@needs_root
def test_a_group_that_is_configured_counts_in_place_of_the_originals(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=TOKEN, start=False, files={"group": 4242})
    original_tree.make(host.appliance)
    host.start()

    assert host.get("/logs").status == 200

    assert access(host.appliance.uploads / "logs.tar.gz") == (0, 4242, "0o640")


@needs_root
def test_somebody_elses_file_is_no_model_for_the_one_in_its_place(host: Host) -> None:
    path = host.appliance.etc / "app.json"
    path.unlink()
    path.write_text("{}")
    os.chown(path, 5001, 5001)
    path.chmod(0o666)
    settings = {"network": {"interface": "eth1", "hostname": "new"}, "app": {"secret": "x"}}

    assert host.post("/settings", "-F", f"settings={json.dumps(settings)};type=application/json").status == 202
    ended(host, "settings")

    assert access(path) == (0, ADMIN, "0o640")


@pytest.mark.skipif(shutil.which("setfacl") is None, reason="the program setfacl is not here")
def test_an_access_control_list_is_kept(host: Host) -> None:
    path = host.appliance.etc / "api.token"
    subprocess.run(["setfacl", "-m", "u:4000:r", path], check=True)
    before = subprocess.run(["getfacl", "-cpn", path], capture_output=True, text=True, check=True).stdout

    assert host.post("/setup", "-F", "newtoken=another").status == 200

    assert subprocess.run(["getfacl", "-cpn", path], capture_output=True, text=True, check=True).stdout == before
    assert "user:4000:r--" in before


@pytest.mark.parametrize(
    ("method", "path", "form", "line"),
    [
        ("POST", "/settings", DHCP, ("settings.post", "dhcp")),
        ("POST", "/settings", {"network": original_tree.NETWORK, "app": {}}, ("settings.post", "static")),
        ("POST", "/storage", {"storage": {"type": "local"}}, ("storage.post", "")),
        ("POST", "/backup", "action=START", ("backup.post", "START")),
        ("POST", "/backup", "action=STOP", ("backup.post", "STOP")),
        ("GET", "/logs", None, ("logs.get", "logs.tar.gz")),
        ("GET", "/debug", None, ("debug.get", "debug-bundle.tar")),
        ("GET", "/reboot", None, ("reboot.post", "")),
        ("POST", "/setup", "newtoken=another", ("token.update.success", "api/v1/admin/setup")),
    ],
)  # fmt: skip
def test_what_is_done_has_a_line_in_the_originals_words(
    host: Host, method: str, path: str, form: Any, line: tuple[str, str]
) -> None:
    if isinstance(form, dict):
        form = f"settings={json.dumps(form)};type=application/json"

    assert host.curl(method, path, *(("-F", form) if form else ())).status in (200, 202)

    written = [each[2:] for each in host.audit() if each[2:4] == ["web", "admin"]]
    assert written == [["web", "admin", *line]]


def test_who_is_refused_has_a_line_in_the_originals_words(host: Host) -> None:
    assert host.get("/version", auth="none", query="token=wrong").status == 403
    assert host.post("/setup", "-F", "newtoken=x", auth="none", query="token=wrong", source="127.0.0.2").status == 403

    written = [each[2:] for each in host.audit() if each[2:4] == ["web", "admin"]]
    assert written == [
        ["web", "admin", "token.authenticate.failed", "api/v1/admin/version"],
        ["web", "admin", "token.setup.failed", "api/v1/admin/setup"],
    ]


def test_what_changes_outlives_a_reboot_as_with_the_original(host: Host) -> None:
    calls, tool = host.appliance.root / "calls", host.appliance.root / "usr/bin/symlinktool.sh"
    host.appliance.replace_file(tool, f'#!/bin/sh\necho "$@" >> "{calls}"\n', 0o755)
    host.appliance.replace_file(host.appliance.root / "etc/sysconfig/backup_device", "/dev/sda1\n")

    assert host.post("/settings", "-F", f"settings={json.dumps(DHCP)};type=application/json").status == 202
    ended(host, "settings")
    assert host.post("/setup", "-F", "newtoken=another").status == 200

    assert calls.read_text() == "-c dev/sda1\n-r dev/sda1\n" * 2


@needs_root
def test_check_says_in_one_list_what_changes(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=TOKEN, start=False)
    original_tree.make(host.appliance)
    host.appliance.replace_file(host.appliance.bin / "wrapper.sh", "#!/bin/sh\n", 0o750)
    host.appliance.replace_file(host.appliance.etc / "debug.txt", "true\n")
    os.chown(host.appliance.etc / "debug.txt", ADMIN, ADMIN)

    done = subprocess.run(
        [*COMMAND, "check", "--json", "--root", host.appliance.root], capture_output=True, text=True, check=False
    )

    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    told = {Path(each["file"]).name: each["message"] for each in found if each["level"] == "note"}
    assert told.keys() >= {"jidoteki-admin-api.json", "api.token.setup", "bin", "backup.tar", "health.json"}
    assert "wrapper.sh" in told["bin"]
    warned = [Path(each["file"]).name for each in found if each["level"] == "warning"]
    assert warned == ["debug.txt"]


def test_check_is_silent_about_the_original_where_it_never_ran(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)

    done = subprocess.run(
        [*COMMAND, "check", "--root", host.appliance.root], capture_output=True, text=True, check=True
    )

    assert done.stdout == "Everything is in order\n"


def test_a_restore_has_a_line_in_the_originals_words(host: Host, tmp_path: Path) -> None:
    (host.appliance.data / "app").mkdir(parents=True, exist_ok=True)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/new").write_text("new")
    subprocess.run(["tar", "cf", "b.tar", "app"], cwd=tmp_path, check=True)

    answer = host.post("/backup/restore", "-F", f"archive=@{tmp_path / 'b.tar'}")

    assert answer.json == {"Status": "200 OK"}, answer
    assert [each[2:] for each in host.audit() if each[2:4] == ["web", "admin"]] == [
        ["web", "admin", "backup.restore", "backup-archive.tar"]
    ]


def test_the_backup_of_the_original_is_shown_and_downloaded(host: Host) -> None:
    shown = host.get("/backup")
    got = host.get("/backup/download")

    assert shown.body == (host.appliance.uploads / "backup.json").read_bytes()
    assert got.body == original_tree.BACKUP


def test_a_parameter_that_the_configuration_does_not_list_has_its_default(
    jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(parameters=["archive", "action"])
    (tmp_path / "app").mkdir()
    subprocess.run(["tar", "cf", "b.tar", "app"], cwd=tmp_path, check=True)
    archive = f"archive=@{tmp_path / 'b.tar'}"

    assert host.post("/backup/restore", "-F", archive).status == 200
    refused = host.post("/backup/restore", "-F", archive, "-F", "mode=exact")
    assert (refused.status, refused.json["Error-Message"]) == (
        400, "Unknown parameter 'mode', allowed: archive; 'parameters' in the configuration does not list it",
    )  # fmt: skip


@needs_root
def test_a_collector_of_the_originals_user_goes_on_to_write_health(host: Host) -> None:
    path = host.appliance.etc / "health.json"
    before = path.read_bytes()

    assert host.get("/health").body == before
    assert access(path) == (ADMIN, ADMIN, "0o644")


@needs_root
def test_what_an_old_file_of_that_collector_says_is_shown_no_more(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=TOKEN, start=False)
    original_tree.make(host.appliance)
    path = host.appliance.etc / "health.json"
    os.utime(path, (1, 1))
    host.start()

    wait_until(lambda: "memory" in host.get("/health").json)
    assert access(path) == (ADMIN, ADMIN, "0o644")


@needs_root
@pytest.mark.parametrize("name", ["update_settings.log", "update_token.log", "jidoteki-audit.log"])
def test_a_new_log_can_be_read_by_the_group_of_the_originals_tools(host: Host, name: str) -> None:
    assert host.post("/settings", "-F", f"settings={json.dumps(DHCP)};type=application/json").status == 202
    ended(host, "settings")
    assert host.post("/setup", "-F", "newtoken=another").status == 200

    assert access(host.appliance.log / name) == (0, ADMIN, "0o640")


def test_two_tokens_in_one_query_are_refused(host: Host) -> None:
    assert host.get("/version", auth="none", query=f"token={TOKEN}&token={TOKEN}").status == 400
