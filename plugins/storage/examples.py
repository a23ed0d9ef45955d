"""Examples of storage settings in requests and responses."""

from __future__ import annotations

from typing import Any

NFS = {"type": "nfs", "mount_options": "noacl,sync", "ip": "192.168.1.100", "share": "/nfs/storage"}
ISCSI = {
    "type": "iscsi",
    "target": "iqn.2016-01.com.example:storage.lun1",
    "ip": "192.168.1.100",
    "username": "user",
    "password": "pass",
}
NBD = {"type": "nbd", "export_name": "otherexport", "ip": "192.168.1.100", "port": "1043"}

POSTED: dict[str, Any] = {
    name: {"settings": {"storage": storage}}
    for name, storage in {
        "Local disk": {"type": "local"},
        "Network File System": NFS,
        "ATA over Ethernet": {"type": "aoe", "device": "e0.1"},
        "iSCSI": ISCSI,
        "Network Block Device": NBD,
    }.items()
}

SHOWN = {"storage": NFS, "options": ["local", "nfs", "nbd", "iscsi", "aoe"]}
SHOWN_SCHEMA = {
    "type": "object",
    "required": ["storage", "options"],
    "properties": {
        "storage": {"type": "object", "description": "What is set, and what other tools put beside it"},
        "options": {"type": "array", "items": {"type": "string"}},
        "restart-needed": {"const": True, "description": "Only where what is set is not in force before a reboot"},
    },
}
