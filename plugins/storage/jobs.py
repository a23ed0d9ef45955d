"""Writes the storage settings where the appliance's other tools read them; they come into force at the next reboot."""

from __future__ import annotations

import json
from typing import Any, Final

from jidoteki.hookspecs import Appliance, Job, JobFailed
from jidoteki.hookspecs.conf import shell_conf
from jidoteki.plugins.storage.validators import STORAGE

MASK: Final = "********"
"""What is shown of a password; posted back, it stands for the stored one."""


def options(appliance: Appliance) -> list[str]:
    """Return the types of storage this appliance offers; `local` alone when its list is missing or broken."""
    document = appliance.read_json(appliance.system_etc / "storage-options.json")
    listed = document.get("options") if isinstance(document, dict) else None
    known = [name for name in listed if name in list(STORAGE.schemas)] if isinstance(listed, list) else []
    return known or ["local"]


def stored(appliance: Appliance) -> dict[str, Any] | None:
    """Return the storage settings with their password, or None when there are none."""
    storage = appliance.read_json(appliance.etc / "storage.json")
    return storage if isinstance(storage, dict) else None


def masked(storage: dict[str, Any]) -> dict[str, Any]:
    """Return the storage settings as they may be shown."""
    return {**storage, "password": MASK} if "password" in storage else storage


def unmasked(appliance: Appliance, storage: dict[str, Any]) -> dict[str, Any]:
    """Return the storage settings with the stored password in place of the mask.

    :raises ValueError: none is stored.
    """
    if storage.get("password") != MASK:
        return storage
    password = (stored(appliance) or {}).get("password")
    if not isinstance(password, str):
        raise ValueError(f"settings.storage.password must be the password itself: there is none yet for {MASK} to keep")
    return {**storage, "password": password}


def change(job: Job) -> None:
    """Write the settings and tell the vendor's command.

    :raises JobFailed: they cannot be written, and nothing was changed; or the vendor's command failed.
    """
    appliance = job.appliance
    try:
        storage = unmasked(appliance, job.input["storage"])
    except ValueError as error:
        raise JobFailed(str(error)) from error
    job.log(f"Writing the settings of {storage['type']} storage")
    files = {
        appliance.etc / "storage.json": json.dumps(storage, separators=(",", ":")) + "\n",
        appliance.system_etc / "storage.conf": shell_conf(storage),
    }
    try:
        appliance.replace_files(files, mode=0o600)
    except OSError as error:
        raise JobFailed(f"The storage settings cannot be written and stay as they were: {error.strerror}") from error
    job.progress(50)
    if not job.apply("storage", storage):
        job.vendor_command("storage.sh")
    job.log("Storage settings changed; they come into force at the next reboot")
    job.progress(100)
