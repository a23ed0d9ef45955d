"""Writes the network's settings for systemd-networkd in place of calling the vendor's `network.sh`."""

from typing import Any

from jidoteki.hookspecs import Job, hookimpl


@hookimpl
def jidoteki_apply(job: Job, name: str, document: dict[str, Any]) -> bool:
    if name != "network":
        return False
    path = job.appliance.root / "etc/systemd/network/50-appliance.network"
    path.parent.mkdir(parents=True, exist_ok=True)
    job.appliance.replace_file(path, f"[Match]\nName={document['interface']}\n\n[Network]\nDHCP=yes\n")
    return True
