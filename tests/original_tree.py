"""A tree as the original (1.24.0) and its scripts leave it on a machine in the field, made by hand."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from jidoteki.core.appliance import Appliance

#: The original's user and group, and those of its inbox.
ADMIN, SFTP, STAFF = 997, 998, 50

NETWORK = {
    "mode": "static", "interface": "eth0", "ip_address": "192.168.1.100", "netmask": "255.255.255.0",
    "gateway": "192.168.1.1", "dns1": "192.168.1.1", "hostname": "jidoteki", "ntpserver": "",
}  # fmt: skip
APP = {"name": "test app", "something": "[1, 2, 3]"}
CONF = """mode=static
interface=eth0
ip=192.168.1.100
subnet=255.255.255.0
router=192.168.1.1
dns="192.168.1.1"
hostname="jidoteki"
ntpserver=""
"""
STORAGE = {"storage": {"type": "iscsi", "ip": "10.0.0.3", "target": "t", "username": "u", "password": "secret"}}
BACKUP = b"".join((b"not looked at by this tree's tests", bytes(10_206)))
#: Every file in ADMIN: its owner, group, mode and content.
FILES: dict[str, tuple[int, int, int, str]] = {
    "etc/api.token": (0, ADMIN, 0o660, "the-token\nan old line\n"),
    "etc/api.token.setup": (ADMIN, ADMIN, 0o644, ""),
    "etc/network.json": (0, ADMIN, 0o640, json.dumps(NETWORK) + "\n"),
    "etc/app.json": (0, ADMIN, 0o640, json.dumps(APP) + "\n"),
    "etc/storage.json": (0, ADMIN, 0o640, json.dumps(STORAGE) + "\n"),
    "etc/license.asc": (0, ADMIN, 0o640, "-----BEGIN PGP MESSAGE-----\n\n-----END PGP MESSAGE-----\n"),
    "etc/version.txt": (0, 0, 0o644, "2.0.0\nbuilt somewhere\n"),
    "etc/changelog.txt": (0, 0, 0o644, "2.0.0\n\n  * everything\n"),
    "etc/build.txt": (0, 0, 0o644, "20261127\n"),
    "etc/health.json": (ADMIN, ADMIN, 0o644, '{"disk":{"used":"1G","free":"1G","total":"2G","percentage":50}}'),
    "etc/status_update.json": (0, ADMIN, 0o644, '{"status":"success","percentage":100}'),
    "etc/status_update.txt": (0, ADMIN, 0o644, "success\n"),
    "etc/status_certs.txt": (0, ADMIN, 0o644, "success\n"),
    "etc/backup.txt": (0, 0, 0o644, "app config/*.conf\n"),
    "etc/logs.txt": (0, 0, 0o644, "/var/log/one.log /var/log/two.log\n"),
    "etc/debug.txt": (0, 0, 0o644, "echo one\necho two\n"),
    "log/update.log": (0, 0, 0o644, "[1600000000][VIRTUAL APPLIANCE] Update successful\n"),
    "log/update_certs.log": (0, 0, 0o644, "[1600000000][VIRTUAL APPLIANCE] Add TLS certificates successful\n"),
    "log/update_backup.log": (0, 0, 0o644, "[1600000000][VIRTUAL APPLIANCE] Backup complete\n"),
    "home/sftp/uploads/backup.tar": (0, 0, 0o644, BACKUP.decode()),
    "home/sftp/uploads/backup.json": (
        0, ADMIN, 0o644,
        f'{{"status":"success","filesize":"12.0K","sha256":"{hashlib.sha256(BACKUP).hexdigest()}"}}',
    ),
}  # fmt: skip
SYSTEM_FILES: dict[str, tuple[int, int, int, str]] = {
    "network.conf": (0, ADMIN, 0o640, CONF),
    "storage.conf": (0, ADMIN, 0o640, 'type="iscsi"\nip="10.0.0.3"\n'),
    "storage-options.json": (0, 0, 0o644, '{"options":["local","iscsi","ceph"]}\n'),
    "allservices.txt": (0, 0, 0o644, "nginx openssh\nntpd\n"),
}
TLS = {"private/enterprise.key": STAFF, "certs/enterprise.crt": STAFF, "enterprise.pem": ADMIN}


def make(appliance: Appliance) -> None:
    """Make the files of an appliance those that the original leaves, its TLS certificate apart.

    As root they belong to whom they belong there, else to whoever runs this.
    """
    for below, files in ((appliance.admin, FILES), (appliance.system_etc, SYSTEM_FILES)):
        for name, (owner, group, mode, content) in files.items():
            _write(below / name, content, owner, group, mode)
    for directory in (appliance.etc, appliance.log):
        _give(directory, 0, ADMIN)
        directory.chmod(0o1775)
    _give(appliance.uploads, SFTP, ADMIN)
    appliance.uploads.chmod(0o770)
    tls = appliance.system_etc / "pki/tls"
    for name, group in TLS.items():
        _give(tls / name, 0, group)
        (tls / name).chmod(0o640)


def _write(path: Path, content: str, owner: int, group: int, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(content)
    _give(path, owner, group)
    path.chmod(mode)


def _give(path: Path, owner: int, group: int) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner, group)


def access(path: Path) -> tuple[int, int, str]:
    """Owner, group and mode of a file."""
    status = path.stat()
    return status.st_uid, status.st_gid, oct(status.st_mode & 0o7777)
