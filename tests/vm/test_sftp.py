"""Packages that come by SFTP, on a guest with OpenSSH that is set up by the commands of docs/vendors.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NOT_BOOTED, BuildUpdate
from guestkit import ADMIN, CannotBootError, Guest, base, booted, copied
from walks import commands

UPLOADS = f"{ADMIN}/home/sftp/uploads"
SERVER, TIMER, UPLOAD = commands("vendors.md", "Packages by SFTP")
KNOWN = "-o StrictHostKeyChecking=accept-new"


@pytest.fixture(scope="module")
def inbox(suite: str, deb: Path, vendor: Path) -> Iterator[Guest]:
    """A guest whose packages come by SFTP; root's home has the user's key."""
    try:
        tree = base(suite, "sftp", ",openssh-server,openssh-client")
    except CannotBootError as error:
        pytest.skip(f"{NOT_BOOTED}: {error}")
    with copied(tree) as copy, booted(copy) as guest:
        guest.path("/root/product.deb").write_bytes(deb.read_bytes())
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        guest.path("/root/keys").mkdir()
        for name in ("updates.key", "updates.pub"):
            (guest.path("/root/keys") / name).write_bytes((vendor / name).read_bytes())
        guest.run("jidoteki", "provision", "--keys", "/root/keys", timeout=120)
        guest.sh("cd /root && ssh-keygen -q -t ed25519 -N '' -f sftp-key && mv sftp-key.pub sftp.pub")
        install, rest = SERVER.split("\n", 1)
        assert install == "apt install openssh-server"  # done: a guest has no network
        guest.sh(f"set -e; cd /root; {rest}")
        guest.sh(f"set -e; {TIMER}")
        yield guest


def upload(guest: Guest, content: bytes) -> None:
    guest.path("/root/update.enc").write_bytes(content)
    guest.sh(f"set -e; cd /root; {UPLOAD.replace('HOST', '127.0.0.1').replace('sftp -i', f'sftp {KNOWN} -i')}")


def test_what_came_is_installed_and_removed(inbox: Guest, build_update: BuildUpdate) -> None:
    update = build_update("#!/bin/sh\n")
    assert inbox.sh("systemctl is-active jidoteki-update.timer") == "active\n"

    upload(inbox, update.path.read_bytes())
    inbox.run("systemctl", "start", "jidoteki-update.service")

    assert inbox.path(f"{ADMIN}/etc/version.txt").read_text() == f"{update.version}\n"
    assert inbox.sh(f"ls {UPLOADS}") == ""
    inbox.run("systemctl", "start", "jidoteki-update.service")
    assert inbox.sh("systemctl show --property=ConditionResult --value jidoteki-update.service") == "no\n"


def test_what_is_no_package_fails_where_systemd_tells_and_is_removed(inbox: Guest) -> None:
    upload(inbox, b"nonsense")

    done = inbox.run("systemctl", "start", "jidoteki-update.service", check=False)

    assert done.returncode == 1
    assert "E1005" in inbox.sh("journalctl --no-pager -u jidoteki-update")
    assert inbox.sh(f"ls {UPLOADS}") == ""


def test_the_user_sees_nothing_else_and_gets_no_shell(inbox: Guest) -> None:
    ssh = f"{KNOWN} -i sftp-key"
    seen = inbox.sh(f"cd /root && echo 'ls -1 /' | sftp -q -b - {ssh} sftp@127.0.0.1")
    assert seen.splitlines()[1:] == ["/uploads"]
    for batch in ("put sftp.pub /other", "put sftp.pub ../etc", "rm ../uploads"):
        assert inbox.run(
            "sh", "-c", f"cd /root && echo '{batch}' | sftp -q -b - {ssh} sftp@127.0.0.1", check=False
        ).returncode
    shell = inbox.run("sh", "-c", f"cd /root && ssh {ssh} sftp@127.0.0.1 id", check=False, timeout=30)
    assert (shell.returncode != 0, "uid=" in shell.stdout) == (True, False)
    forwarded = (
        f"cd /root && timeout 10 ssh {ssh} -o ExitOnForwardFailure=yes -W 127.0.0.1:8443 sftp@127.0.0.1 </dev/null"
    )
    assert inbox.run("sh", "-c", forwarded, check=False, timeout=30).returncode


def test_check_finds_nothing_about_it(inbox: Guest) -> None:
    assert "uploads" not in inbox.run("jidoteki", "check", check=False).stdout
