"""What went wrong on real machines, once each."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import BuildUpdate
from guestkit import ADMIN, SERVICE, Guest, booted
from test_running import SLOW, assert_updated


@pytest.mark.short
def test_the_first_certificate_names_the_addresses_of_the_machine(guest: Guest) -> None:
    """The sandbox lets the service ask for them: without that it was restarted for ever."""
    guest.sh(f"""
        ip address replace 192.0.2.7/32 dev lo
        rm -rf /usr/local/etc/pki/tls {ADMIN}/jobs/self-signed.sha256
        systemctl restart {SERVICE}
    """)

    shown = guest.sh("openssl x509 -noout -text -in /usr/local/etc/pki/tls/certs/enterprise.crt")
    assert "IP Address:192.0.2.7" in shown
    assert guest.show("NRestarts") == "0"
    guest.sh("ip address del 192.0.2.7/32 dev lo")


def test_a_sandbox_without_netlink_serves_nevertheless(guest: Guest) -> None:
    drop_in = f"/run/systemd/system/{SERVICE}.service.d"
    guest.sh(f"""
        mkdir -p {drop_in}
        families=RestrictAddressFamilies=
        printf "[Service]\\n$families\\n${{families}}AF_UNIX AF_INET AF_INET6\\n" >{drop_in}/no.conf
        rm -rf /usr/local/etc/pki/tls
        systemctl daemon-reload
        systemctl restart {SERVICE}
    """)

    try:
        assert guest.serves()
        assert guest.path("/usr/local/etc/pki/tls/enterprise.pem").exists()
    finally:
        guest.sh(f"rm -r {drop_in}; systemctl daemon-reload; systemctl restart {SERVICE}")


#: Whatever they find, they leave nothing.
COMMANDS = ("update --no-wait", "check", "plugins", "jobs list", "openapi", "config-schema", "package --help")


@pytest.mark.short
def test_commands_of_root_leave_nothing_of_roots(bare: Path, deb: Path) -> None:
    """Before the first start, too: the service found root's locks, and never started again."""
    (bare / "root/product.deb").write_bytes(deb.read_bytes())
    (bare / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (bare / "usr/sbin/policy-rc.d").chmod(0o755)
    with booted(bare) as guest:
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        assert guest.show("ActiveState") == "inactive"

        for command in COMMANDS:
            guest.run("jidoteki", *command.split(), check=False)

        assert guest.sh(f"find {ADMIN}/{{jobs,tmp,spool,log,etc}} -user root") == ""
        guest.run("systemctl", "start", SERVICE)
        assert guest.request("GET", "/version", token=None)[0] == 403


#: What root may have left behind, and what is not served until it is gone.
LEFT = {
    "locks": ("jobs", "for name in start settle_job update; do install -m 600 /dev/null $name.lock; done"),
    "all of the jobs": ("jobs", "chown -R root: . ; chmod -R go= ."),
    "what came over HTTP": ("spool", "chown -R root: . ; chmod -R go= ."),
    "logs": ("log", "chown -R root: . ; chmod -R go= ."),
}


@pytest.mark.short
@pytest.mark.parametrize("kind", LEFT)
def test_files_of_roots_in_the_way_are_named_and_the_rest_is_served(guest: Guest, kind: str) -> None:
    directory, command = LEFT[kind]
    guest.sh(f"systemctl stop {SERVICE}; cd {ADMIN}; cp -a {directory} {directory}.kept; cd {directory}; {command}")

    try:
        guest.run("systemctl", "start", SERVICE)
        assert guest.serves()
        assert guest.request("GET", "/health")[0] == 200
        said = guest.request("POST", "/update", "-F", "update=@/etc/hostname")[1] + guest.journal()
        assert re.search(f"Permission denied: '?{ADMIN}/{directory}", said)
    finally:
        guest.sh(f"cd {ADMIN}; systemctl stop {SERVICE}; rm -rf {directory}; mv {directory}.kept {directory}")


def test_a_request_names_the_file_in_its_way(guest: Guest) -> None:
    guest.sh(f"cd {ADMIN}/jobs; rm -f start.lock; install -m 600 /dev/null start.lock")
    try:
        status, said = guest.request("POST", "/backup", "-F", "action=START")
    finally:
        guest.sh(f"rm {ADMIN}/jobs/start.lock")

    assert status >= 400
    assert "start.lock" in said


def test_an_update_by_root_is_the_services(guest: Guest, build_update: BuildUpdate) -> None:
    update = build_update(SLOW)
    target = guest.path(f"{ADMIN}/home/sftp/uploads/software_package-{update.version}.enc")
    target.write_bytes(update.path.read_bytes())

    said = guest.run("jidoteki", "update")

    assert said.stdout.endswith("The update was installed\n")
    assert_updated(guest, update)
    assert guest.sh(f"find {ADMIN}/jobs {ADMIN}/spool {ADMIN}/tmp {ADMIN}/log/*.log -user root") == ""


def test_the_bundles_have_the_systems_logs_and_the_journal(guest: Guest, vendor: Path, tmp_path: Path) -> None:
    guest.sh("""
        echo 'a line of the syslog' >/var/log/syslog; chown root:adm /var/log/syslog; chmod 640 /var/log/syslog
        systemd-run --quiet --wait --unit=other-service echo 'a line of another service'
        journalctl --sync
    """)
    (logs, bundle) = ("/root/logs.tar.gz", "/root/debug-bundle.tar")

    assert guest.request("GET", "/logs", "-o", logs)[0] == 200
    assert guest.request("GET", "/debug", "-o", bundle)[0] == 200

    with tarfile.open(fileobj=io.BytesIO(guest.path(logs).read_bytes())) as archive:
        syslog = archive.extractfile("var/log/syslog")
        assert syslog and syslog.read() == b"a line of the syslog\n"
    (tmp_path / "debug-bundle.tar").write_bytes(guest.path(bundle).read_bytes())
    argv: list[str | Path] = [Path(sys.executable).with_name("jidoteki"), "debug-bundle", "open"]
    opened = [*argv, tmp_path / "debug-bundle.tar", "--key", vendor / "private.pem", "-o", tmp_path / "opened"]
    subprocess.run(opened, check=True, capture_output=True)
    (journal,) = tmp_path.glob("opened/**/journal.log")
    assert "a line of another service" in journal.read_text()


@pytest.mark.short
def test_the_unit_says_what_it_does(guest: Guest) -> None:
    assert guest.show("Type") == "notify"
    assert guest.show("StatusErrno") == "0"
    assert guest.show("WatchdogUSec") == "30s"
    assert "network-online.target" not in guest.show("After") + guest.show("Wants")
    rated = guest.sh(f"systemd-analyze security --no-pager {SERVICE} | tail -1")
    assert float(rated.rpartition(": ")[2].split()[0]) <= 1.5


@pytest.mark.parametrize("group", ["adm", "systemd-journal"])
def test_the_service_may_read_the_logs(guest: Guest, group: str) -> None:
    number = guest.sh(f"getent group {group}").split(":")[2]
    groups = guest.sh(f"sed -n 's/^Groups://p' /proc/{guest.main_pid}/status").split()

    assert number in groups
