"""The modes of what the service makes on a bare system, with the umask that its unit and it itself have."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

#: Directories below the root that other users get into, and those that are closed to them.
OPEN = (
    "opt", "opt/jidoteki", "opt/jidoteki/tinyadmin", "opt/jidoteki/tinyadmin/etc", "opt/jidoteki/tinyadmin/log",
    "opt/jidoteki/tinyadmin/home", "opt/jidoteki/tinyadmin/home/sftp", "opt/jidoteki/tinyadmin/home/sftp/uploads",
    "usr", "usr/local", "usr/local/etc", "usr/local/etc/pki", "usr/local/etc/pki/tls", "usr/local/etc/pki/tls/certs",
    "usr/local/etc/pki/tls/cacerts",
)  # fmt: skip
CLOSED = (
    "opt/jidoteki/tinyadmin/jobs", "opt/jidoteki/tinyadmin/spool", "opt/jidoteki/tinyadmin/tmp",
    "usr/local/etc/pki/tls/private",
)  # fmt: skip
FILES = {
    "usr/local/etc/pki/tls/enterprise.pem": 0o600,
    "usr/local/etc/pki/tls/private/enterprise.key": 0o600,
    "usr/local/etc/pki/tls/certs/enterprise.crt": 0o600,
    "opt/jidoteki/tinyadmin/etc/api.token": 0o600,
    "opt/jidoteki/tinyadmin/etc/health.json": 0o644,
    "opt/jidoteki/tinyadmin/log/jidoteki-audit.log": 0o600,
}


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def bare(jidoteki_host: MakeHost) -> Host:
    """A host on a root without anything, set up by its first client."""
    host = jidoteki_host(start=False)
    for name in ("opt", "usr"):
        shutil.rmtree(host.appliance.root / name)
    before = os.umask(0o077)
    try:
        host.start()
    finally:
        os.umask(before)
    return host


def test_each_path_of_a_new_tree(bare: Host) -> None:
    assert bare.post("/setup", "-F", "newtoken=a-new-token-of-this-test", auth="none").status == 200
    root = bare.appliance.root

    modes = {name: oct(mode_of(root / name)) for name in (*OPEN, *CLOSED, *FILES)}

    wanted = {**dict.fromkeys(OPEN, 0o755), **dict.fromkeys(CLOSED, 0o700), **FILES}
    assert modes == {name: oct(mode) for name, mode in wanted.items()}


def test_new_certificates_make_the_way_to_them(jidoteki_host: MakeHost) -> None:
    """With a group whose tools read the key."""
    host = jidoteki_host(start=False, enable=("certs",), files={"group": os.getgid()})
    tls = host.appliance.system_etc / "pki/tls"
    pair = [(tls / name).read_bytes() for name in ("private/enterprise.key", "certs/enterprise.crt")]
    host.start()
    shutil.rmtree(tls / "private")
    shutil.rmtree(tls / "cacerts")

    answer = host.request("POST", "/certs", {"private": pair[0], "public": pair[1]})

    assert answer.status == 202, answer
    assert host.wait_for_job("/certs")["status"] == "success"
    assert mode_of(tls / "private") == 0o755
    assert mode_of(tls / "private/enterprise.key") == 0o640
    assert mode_of(tls / "certs/enterprise.crt") & 0o007 == 0 or mode_of(tls / "certs/enterprise.crt") == 0o644


def test_a_directory_that_is_there_keeps_its_mode(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    host.appliance.etc.chmod(0o1775)
    host.appliance.uploads.chmod(0o770)

    host.start()

    assert (mode_of(host.appliance.etc), mode_of(host.appliance.uploads)) == (0o1775, 0o770)
