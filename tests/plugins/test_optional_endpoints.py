"""Every example of the reference for settings, certs, license and storage, with curl and a real server."""

from __future__ import annotations

import itertools
import json
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

STATIC = {
    "interface": "eth0",
    "hostname": "test.host",
    "ip_address": "192.168.1.100",
    "netmask": "255.255.255.0",
    "gateway": "192.168.1.1",
    "dns1": "192.168.1.2",
    "dns2": "192.168.1.3",
    "ntpserver": "pool.ntp.org",
}
DHCP = {"interface": "eth0", "hostname": "test.host"}
APP = {"name": "testapp"}


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


def post_settings(host: Host, tmp_path: Path, document: Any, path: str = "/settings") -> Any:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(document))
    return host.post(path, "-F", f"settings=@{file}")


def sourced(path: Path, names: list[str]) -> dict[str, str]:
    """Return the variables that a shell sets when it sources a file."""
    script = f". {path}; " + "".join(f'printf "%s\\0" "${name}"; ' for name in names)
    output = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={}).stdout.decode()
    return dict(zip(names, output.split("\0"), strict=False))


def wait_for(host: Host, job_type: str) -> dict[str, Any]:
    """Wait for the last run of a job type, and return its record."""

    def ended() -> dict[str, Any] | None:
        paths = sorted(host.appliance.jobs.glob(f"*-{job_type}.json"))
        record: dict[str, Any] = json.loads(paths[-1].read_text()) if paths else {"status": "running"}
        return record if record["status"] != "running" else None

    result: dict[str, Any] = wait_until(ended)
    return result


@pytest.mark.parametrize(("network", "mode"), [(STATIC, "static"), (DHCP, "dhcp")])
def test_settings_of_the_reference_come_back_and_can_be_posted_again(
    host: Host, tmp_path: Path, network: dict[str, str], mode: str
) -> None:
    before = host.get("/settings")
    answer = post_settings(host, tmp_path, {"network": network, "app": APP})
    record = wait_for(host, "settings")
    shown = host.get("/settings")
    again = post_settings(host, tmp_path, shown.json)

    assert before.status == 404
    assert (answer.status, answer.json) == (202, {"Status": "202 Accepted", "Location": "/api/v1/admin/settings"})
    assert answer.headers["Location"] == "/api/v1/admin/settings"
    assert record["status"] == "success"
    assert shown.json == {"network": {**network, "mode": mode}, "app": APP}
    assert again.status == 202
    wait_until(lambda: wait_for(host, "settings")["id"] == again.headers["Job-Id"])
    assert host.get("/settings").json == shown.json
    conf = sourced(host.appliance.system_etc / "network.conf", ["mode", "interface", "ip", "router", "dns"])
    static = {"ip": "192.168.1.100", "router": "192.168.1.1", "dns": "192.168.1.2 192.168.1.3"}
    assert conf == {"mode": mode, "interface": "eth0"} | (static if mode == "static" else dict.fromkeys(static, ""))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"network": {**DHCP, "ip_adress": "192.168.1.1"}}, "ip_adress"),
        ({"network": {**DHCP, "ip_address": "192.168.1.1"}}, "netmask"),
        ({"network": {"interface": "eth0"}}, "settings.network.hostname"),
        ({"network": {**STATIC, "ip_address": "999.1.1.1"}}, "settings.network.ip_address"),
        ({"network": {**STATIC, "gateway": "fe80::1"}}, "gateway"),
        ({"network": {**DHCP, "interface": "eth0; reboot"}}, "settings.network.interface"),
        ({"network": DHCP, "extra": 1}, "extra"),
        ({"app": []}, "settings.app"),
        ({}, "settings"),
        ([], "settings"),
        ("text", "settings"),
    ],
)
def test_wrong_settings_are_refused_with_the_name_of_what_is_wrong(
    host: Host, tmp_path: Path, document: Any, message: str
) -> None:
    answer = post_settings(host, tmp_path, document)

    assert answer.status == 400
    assert message in answer.json["Error-Message"]
    assert list(host.appliance.jobs.glob("*-settings.json")) == []


def test_the_vendors_command_puts_network_settings_into_force(host: Host, tmp_path: Path) -> None:
    proof = host.appliance.root / "proof"
    host.appliance.replace_file(host.appliance.bin / "network.sh", f"#!/bin/sh\necho $1 > {proof}\n", 0o755)

    post_settings(host, tmp_path, {"network": DHCP})

    assert wait_for(host, "settings")["status"] == "success"
    assert proof.read_text() == "dhcp\n"


def test_the_vendors_commands_keep_the_data_after_a_change_and_before_a_reboot(host: Host, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    host.appliance.replace_file(host.appliance.bin / "network.sh", "#!/bin/sh\necho ran\n", 0o755)
    host.appliance.replace_file(host.appliance.bin / "keep", f'#!/bin/sh\necho "$1" >> {proof}\n', 0o755)
    keep = str(host.appliance.bin / "keep")
    host.configure(commands={"prefix": ["no-such-program"], "persist": [keep, "data"], "reboot": [keep, "reboot"]})
    host.reload()

    post_settings(host, tmp_path, {"network": DHCP})
    status = wait_for(host, "settings")
    host.get("/reboot")
    wait_for(host, "reboot")

    assert status["status"] == "success"
    assert proof.read_text().splitlines() == ["data", "data", "reboot"]


def test_what_the_dashboard_of_the_original_sends_is_taken(host: Host, tmp_path: Path) -> None:
    told = host.appliance.root / "told"
    conf = host.appliance.system_etc / "network.conf"
    script = f'set -u\n. {conf}\necho "$1 $ip$subnet <$dns> <$ntpserver>" > {told}\n'
    host.appliance.replace_file(host.appliance.bin / "network.sh", f"#!/bin/sh\n{script}", 0o755)
    network = {**DHCP, "ip_address": "10.0.0.2", "netmask": "/24", "gateway": "10.0.0.1", "ntpserver": ""}

    answer = post_settings(host, tmp_path, {"network": network, "app": {}})

    assert (answer.status, wait_for(host, "settings")["status"]) == (202, "success")
    assert told.read_text() == "static 10.0.0.2/24 <> <>\n"
    del network["ntpserver"]
    assert host.get("/settings").json == {"network": {**network, "mode": "static"}, "app": {}}


@pytest.mark.parametrize(
    ("path", "document", "command", "log"),
    [
        ("/settings", {"network": DHCP}, "network.sh", "update_settings.log"),
        ("/storage", {"storage": {"type": "local"}}, "storage.sh", "update_storage.log"),
    ],
)
def test_logs_have_the_names_and_last_lines_of_the_original(
    host: Host, tmp_path: Path, path: str, document: Any, command: str, log: str
) -> None:
    job_type = path.removeprefix("/")
    post_settings(host, tmp_path, document, path)
    wait_for(host, job_type)
    succeeded = (host.appliance.log / log).read_text().splitlines()
    host.appliance.replace_file(host.appliance.bin / command, "#!/bin/sh\nexit 3\n", 0o755)
    again = post_settings(host, tmp_path, document, path)
    wait_until(lambda: wait_for(host, job_type)["id"] == again.headers["Job-Id"])
    failed = (host.appliance.log / log).read_text().splitlines()[len(succeeded) :]

    texts = [[line.partition("][SYSTEM] ")[2] for line in lines] for lines in (succeeded, failed)]
    assert [each[0] for each in texts] == ["Updating settings. Please wait.."] * 2
    assert texts[0][-1] == "Updating settings successful"
    assert texts[1][-2:] == [f"{command} failed with exit status 3", "Invalid or missing settings file"]


def test_settings_may_also_be_sent_as_text(host: Host) -> None:
    answer = host.post("/settings", "-F", f"settings={json.dumps({'app': APP})}")

    assert answer.status == 202


STORAGE = [
    {"type": "local"},
    {"type": "nfs", "mount_options": "noacl,sync", "ip": "192.168.1.100", "share": "/nfs/storage"},
    {"type": "aoe", "device": "e0.1"},
    {"type": "iscsi", "target": "iqn.2016-01.com.example:storage.lun1", "ip": "192.168.1.100", "username": "user",
     "password": "pass"},
    {"type": "nbd", "export_name": "otherexport", "ip": "192.168.1.100", "port": "1043"},
]  # fmt: skip


@pytest.mark.parametrize("storage", STORAGE, ids=lambda storage: storage["type"])
def test_storage_of_the_reference(host: Host, tmp_path: Path, storage: dict[str, str]) -> None:
    before = host.get("/storage")
    answer = post_settings(host, tmp_path, {"storage": storage}, "/storage")
    record = wait_for(host, "storage")

    assert before.status == 404
    assert (answer.status, answer.json) == (202, {"Status": "202 Accepted", "Location": "/api/v1/admin/storage"})
    assert record["status"] == "success"
    masked = {key: "********" if key == "password" else value for key, value in storage.items()}
    shown = host.get("/storage").json
    assert shown["storage"] == masked
    assert sorted(shown["options"]) == ["aoe", "iscsi", "local", "nbd", "nfs"]
    assert sourced(host.appliance.system_etc / "storage.conf", list(storage)) == storage


@pytest.mark.parametrize("outer", [True, False])
def test_storage_that_the_original_stored_is_shown_and_can_be_posted_back_as_it_is(
    host: Host, tmp_path: Path, outer: bool
) -> None:
    secret = {**STORAGE[3], "password": "s3cret"}
    stored = {"storage": secret} if outer else secret
    path = host.appliance.etc / "storage.json"
    path.write_text(json.dumps(stored, separators=(",", ":")) + "\n")

    shown = host.get("/storage")
    answer = post_settings(host, tmp_path, shown.json, "/storage")
    record = wait_for(host, "storage")

    assert shown.json["storage"] == {**secret, "password": "********"}
    assert (answer.status, record["status"]) == (202, "success")
    assert path.read_text() == json.dumps({"storage": secret}, separators=(",", ":")) + "\n"


def test_storage_of_a_type_that_only_the_vendor_knows_is_shown_and_cannot_be_posted(host: Host, tmp_path: Path) -> None:
    ceph = {"type": "ceph", "monitors": ["10.0.0.1"], "port": 6789}
    (host.appliance.etc / "storage.json").write_text(json.dumps({"storage": ceph}))
    (host.appliance.system_etc / "storage-options.json").write_text('{"options": ["local", "ceph"]}')

    shown = host.get("/storage")
    answer = post_settings(host, tmp_path, {"storage": ceph}, "/storage")

    assert shown.json == {"storage": ceph, "options": ["local", "ceph"]}
    assert answer.status == 400


def test_the_iscsi_password_appears_nowhere(host: Host, tmp_path: Path) -> None:
    secret = "planted$`'\"\\secret"
    post_settings(host, tmp_path, {"storage": {**STORAGE[3], "password": secret}}, "/storage")
    wait_for(host, "storage")
    shown = host.get("/storage").json
    post_settings(host, tmp_path, {"storage": {**shown["storage"], "username": "other"}}, "/storage")
    wait_until(lambda: host.get("/storage").json["storage"]["username"] == "other")

    conf = host.appliance.system_etc / "storage.conf"
    assert sourced(conf, ["username", "password"]) == {"username": "other", "password": secret}
    assert conf.stat().st_mode & 0o777 == 0o600
    host.stop()
    written = [*host.appliance.log.iterdir(), *host.appliance.jobs.iterdir(), *host.appliance.tmp.rglob("*")]
    assert not [path for path in written if path.is_file() and b"planted" in path.read_bytes()]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ({"type": "floppy"}, "settings.storage.type"),
        ({"type": "nbd", "export_name": "abc", "ip": "10.0.0.1", "port": "70000"}, "settings.storage.port"),
        ({"type": "local", "extra": "x"}, "extra"),
        ({"type": "nfs"}, "settings.storage."),
    ],
)
def test_wrong_storage_is_refused(host: Host, tmp_path: Path, storage: dict[str, str], message: str) -> None:
    answer = post_settings(host, tmp_path, {"storage": storage}, "/storage")

    assert answer.status == 400
    assert message in answer.json["Error-Message"]


def test_storage_that_is_not_on_offer_is_refused(host: Host, tmp_path: Path) -> None:
    (host.appliance.system_etc / "storage-options.json").unlink()

    answer = post_settings(host, tmp_path, {"storage": STORAGE[1]}, "/storage")

    assert (answer.status, "local" in answer.json["Error-Message"]) == (400, True)


def test_license_of_the_reference(host: Host) -> None:
    expected = {
        "app": "enterprise", "users": 20, "expires": "19 January 2038", "name": "Enterprise Company",
        "contact": "cto@enterprise",
    }  # fmt: skip
    sample = host.appliance.root / "vendor/license-sample.asc"
    (host.appliance.etc / "license.asc").unlink()

    missing = host.get("/license")
    posted = host.post("/license", "-F", f"license=@{sample}")
    shown = host.get("/license")
    damaged = host.post("/license", "-F", "license=nonsense")
    still = host.get("/license")
    nothing = host.post("/license")

    assert missing.status == 404
    assert (posted.status, posted.json) == (200, expected)
    assert shown.json == expected
    assert damaged.status == 404
    assert still.json == expected
    assert (nothing.status, nothing.json["Error-Message"]) == (400, "license is required")


def test_the_vendors_command_reads_licenses_its_own_way(host: Host) -> None:
    host.appliance.replace_file(host.appliance.bin / "license.sh", "#!/bin/sh\necho '{\"mine\": 1}'\n", 0o755)

    assert host.get("/license").json == {"mine": 1}


def test_a_vendors_command_of_the_original_installs_and_refuses_licenses(host: Host, tmp_path: Path) -> None:
    """The command is called without an argument, reads the license at its path, and may exit with any status."""
    license = host.appliance.etc / "license.asc"
    license.write_text('{"users": 1}')
    script = f"#!/bin/sh\nset -eu\ntest $# = 0\ncat {license}\nexit 2\n"
    host.appliance.replace_file(host.appliance.bin / "license.sh", script, 0o755)

    posted = host.post("/license", "-F", 'license={"users": 2}')
    damaged = host.post("/license", "-F", "license=nonsense")
    dry = host.post("/license", "-F", "license=nonsense", query="dry-run=1")
    lines = (host.appliance.log / "update_license.log").read_text().splitlines()

    assert (posted.status, posted.json) == (200, {"users": 2})
    assert (damaged.status, host.get("/license").json) == (404, {"users": 2})
    assert damaged.json["Error-Message"].startswith("The license is not valid: license.sh printed no JSON object")
    assert (dry.status, license.read_text()) == (400, '{"users": 2}')
    assert [line.partition("][SYSTEM] ")[2] for line in lines] == [
        "Updating license. Please wait..",
        "Warning: license.sh ended with exit status 2; what it printed counts",
        "Updating license successful",
        "Updating license. Please wait..",
        damaged.json["Error-Message"],
        "Invalid or missing license file",
    ]


def test_a_vendors_command_for_licenses_has_the_time_of_every_vendors_command(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(limits={"command": 0.5})
    license = host.appliance.etc / "license.asc"
    before = license.read_bytes()
    host.appliance.replace_file(host.appliance.bin / "license.sh", "#!/bin/sh\nexec sleep 50\n", 0o755)

    posted = host.post("/license", "-F", "license=any")
    shown = host.get("/license")

    assert (posted.status, shown.status) == (400, 503)
    assert posted.json["Error-Message"] == "license.sh did not end within 0.5 seconds"
    assert license.read_bytes() == before


def make_certificate(directory: Path, name: str, issuer: str = "") -> tuple[Path, Path]:
    """Make a key and a certificate for 127.0.0.1, self-signed or signed by an issuer made before."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    is_authority = "TRUE" if "ca" in name else "FALSE"
    extensions = f"basicConstraints=critical,CA:{is_authority}\nsubjectAltName=IP:127.0.0.1\n"
    (directory / "extensions").write_text(extensions)
    sign = (
        f"-CA {directory}/{issuer}.pem -CAkey {directory}/{issuer}.key -CAcreateserial" if issuer else f"-signkey {key}"
    )
    subprocess.run(
        ["sh", "-ec", f"""
            openssl genrsa -traditional -out {key} 2048
            openssl req -new -key {key} -subj /CN={name} -out {directory}/request
            openssl x509 -req -in {directory}/request {sign} -days 30 -extfile {directory}/extensions -out {certificate}
        """], check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


def served_certificate(host: Host) -> str:
    return ssl.get_server_certificate(("127.0.0.1", int(host.url.rpartition(":")[2])))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_new_certificate_is_served_at_once_and_openssl_verifies_its_chain(
    host: Host, tmp_path: Path, line_end: str
) -> None:
    before = host.get("/certs")
    make_certificate(tmp_path, "root-ca")
    make_certificate(tmp_path, "middle-ca", "root-ca")
    key, certificate = make_certificate(tmp_path, "leaf", "middle-ca")
    for path in (key, certificate, tmp_path / "middle-ca.pem"):
        path.write_bytes(path.read_bytes().replace(b"\n", line_end.encode()))

    answer = host.post(
        "/certs", "-F", f"public=@{certificate}", "-F", f"private=@{key}", "-F", f"ca=@{tmp_path}/middle-ca.pem"
    )

    assert (before.json["status"], before.json["log"]) == (None, None)
    assert (answer.status, answer.json) == (202, {"Status": "202 Accepted", "Location": "/api/v1/admin/certs"})
    assert wait_for(host, "certs")["status"] == "success"
    port = host.url.rpartition(":")[2]
    verified = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", f"{tmp_path}/root-ca.pem",
         "-verify_return_error"],
        input="", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Verify return code: 0 (ok)" in verified.stdout
    (host.appliance.system_etc / "pki/tls/certs/enterprise.crt").write_bytes((tmp_path / "root-ca.pem").read_bytes())
    status = host.get("/certs").json
    assert status["status"] == "success"
    assert "Validating and adding TLS certificates" in status["log"]
    assert (host.appliance.etc / "status_certs.txt").read_text() == "success\n"


def test_a_wrong_certificate_leaves_the_old_one_in_use_and_says_why(host: Host, tmp_path: Path) -> None:
    old = served_certificate(host)
    key, _ = make_certificate(tmp_path, "one")
    _, certificate = make_certificate(tmp_path, "two")

    answer = host.post("/certs", "-F", f"public=@{certificate}", "-F", f"private=@{key}")

    assert answer.status == 202
    assert wait_for(host, "certs")["status"] == "failed"
    assert "The private key does not belong to the certificate in public" in host.get("/certs").json["log"]
    assert served_certificate(host) == old


@pytest.mark.parametrize(
    "form",
    [["private=x"], ["public=x"], ["public=", "private=x"]],
)
def test_missing_and_empty_certificates_are_refused(host: Host, form: list[str]) -> None:
    answer = host.post("/certs", *[part for each in form for part in ("-F", each)])

    assert answer.status == 400
    assert answer.json["Error-Message"]


def test_a_download_goes_on_while_the_certificate_changes(host: Host, tmp_path: Path) -> None:
    backup = host.appliance.log / "big.log"
    backup.write_bytes(os.urandom(64 * 1024 * 1024))
    key, certificate = make_certificate(tmp_path, "new")
    context = ssl._create_unverified_context()
    received = bytearray()

    def download() -> None:
        address = ("127.0.0.1", int(host.url.rpartition(":")[2]))
        with socket.create_connection(address) as plain, context.wrap_socket(plain) as tls:
            request = (
                f"GET /api/v1/admin/logs{host.query('GET', '/logs')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            tls.sendall(request.encode())
            while chunk := tls.recv(65536):
                received.extend(chunk)
                changed.wait(0.1)  # slowly, so that it cannot end before

    changed = threading.Event()
    thread = threading.Thread(target=download)
    thread.start()
    wait_until(lambda: len(received) > 1_000_000, 60)
    old = served_certificate(host)
    host.post("/certs", "-F", f"public=@{certificate}", "-F", f"private=@{key}")
    assert wait_for(host, "certs")["status"] == "success"
    new = served_certificate(host)
    still_running = thread.is_alive()
    changed.set()
    thread.join(60)

    head, _, body = bytes(received).partition(b"\r\n\r\n")
    length = int(head.decode().lower().split("content-length: ")[1].split("\r\n")[0])
    assert still_running
    assert old != new
    assert len(body) == length


NAMES = ("settings", "certs", "license", "storage", "backup")


@pytest.mark.parametrize("enabled", [c for n in range(6) for c in itertools.combinations(NAMES, n)], ids="-".join)
def test_what_is_not_enabled_is_not_there(all_off: Host, enabled: tuple[str, ...]) -> None:
    host = all_off
    host.configure(endpoints=list(enabled))
    host.reload()

    listed = host.get("/endpoints").json["endpoints"]
    statuses = {name: host.get(f"/{name}", auth="none", query="nothing").status for name in set(NAMES) - set(enabled)}

    assert {name for name in NAMES if f"/api/v1/admin/{name}" in listed} == set(enabled)
    assert set(statuses.values()) <= {404}


@pytest.fixture(scope="module")
def all_off(jidoteki_module_host: Host) -> Host:
    return jidoteki_module_host


def test_only_listed_parameters_are_accepted(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(parameters=["public", "private"])

    refused = host.post("/certs", "-F", "public=x", "-F", "private=x", "-F", "ca=x")
    accepted = host.post("/certs", "-F", "public=x", "-F", "private=x")
    settings = host.post("/settings", "-F", f"settings={json.dumps({'app': APP})}")

    assert (refused.status, accepted.status, settings.status) == (400, 202, 202)
    assert (
        refused.json["Error-Message"]
        == "Unknown parameter 'ca', allowed: public, private; 'parameters' in the configuration does not list it"
    )
