"""The job that writes the storage settings to the files of the appliance's other tools, for the next reboot."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import Appliance, Job, JobError, differences
from jidoteki.hookspecs.boots import boot_id
from jidoteki.hookspecs.conf import shell_conf
from jidoteki.hookspecs.former_files import recovery, replaced
from jidoteki.hookspecs.job_logs import failure_logged
from jidoteki.plugins.storage.validators import SCHEMAS

LOG: Final = "update_storage.log"
BEGIN: Final = "Updating settings. Please wait.."
SUCCESS: Final = "Updating settings successful"
FAILURE: Final = "Invalid or missing settings file"

MASK: Final = differences.MASK
"""The replacement of a password in responses; when posted back, it stands for the stored one."""
RESTART_NEEDED: Final = "restart-needed"


def _offer(appliance: Appliance) -> dict[str, Any]:
    """Return the list of options, with the vendor's other keys."""
    document = appliance.read_json(appliance.system_etc / "storage-options.json")
    offer = document if isinstance(document, dict) else {}
    listed = offer.get("options")
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    return {**offer, "options": names or ["local"]}


def offered(appliance: Appliance) -> list[str]:
    """Return the types of storage that can be set; only `local` if the list of options is missing or invalid."""
    return [name for name in _offer(appliance)["options"] if name in SCHEMAS] or ["local"]


def _document(appliance: Appliance) -> dict[str, Any] | None:
    """Return the stored document: `{"storage": {…}}`; earlier versions of this service wrote the inner object alone."""
    document = appliance.read_json(appliance.etc / "storage.json")
    if not isinstance(document, dict):
        return None
    return document if isinstance(document.get("storage"), dict) else {"storage": document}


def stored(appliance: Appliance) -> dict[str, Any] | None:
    """Return the stored settings with their password, or None."""
    document = _document(appliance)
    return None if document is None else dict(document["storage"])


def shown(appliance: Appliance) -> dict[str, Any] | None:
    """Return the stored settings, with masked passwords, and the options; None without settings."""
    document = _document(appliance)
    if document is None:
        return None
    masked: dict[str, Any] = json.loads(json.dumps(document), object_hook=_masked)
    told = {RESTART_NEEDED: True} if _needs_restart(appliance) else {}
    return {**_offer(appliance), **{key: each for key, each in masked.items() if key != "options"}, **told}


def _needs_restart(appliance: Appliance) -> bool:
    """Return whether the settings were changed in this boot: they come into force with the next one."""
    with contextlib.suppress(OSError, ValueError):
        changed_in = (appliance.read_text(_changed_in(appliance)) or "").strip()
        return bool(changed_in) and changed_in == boot_id(appliance.root)
    return False


def _masked(value: dict[str, Any]) -> dict[str, Any]:
    return {key: MASK if "password" in key.lower() else each for key, each in value.items()}


def unmasked(appliance: Appliance, storage: dict[str, Any]) -> dict[str, Any]:
    """Return the storage settings with the stored password in place of the mask.

    :raises ValueError: none is stored.
    """
    if storage.get("password") != MASK:
        return storage
    password = (stored(appliance) or {}).get("password")
    if type(password) not in (str, int):
        raise ValueError(f"settings.storage.password must be the password itself: there is none yet for {MASK} to keep")
    return {**storage, "password": str(password)}


def check(job: Job) -> None:
    """Tell a dry run what would change."""
    if job.dry_run:
        new = unmasked(job.appliance, job.input["storage"])
        job.preview({"changes": differences.between(stored(job.appliance), new, "storage")})


def change(job: Job) -> None:
    """Write the settings and run the vendor's command.

    :raises JobError: they cannot be written, or the vendor's command failed; the former files are restored, unless the
        message says otherwise.
    """
    job.log(BEGIN)
    with failure_logged(job, FAILURE):
        _change(job)
    job.log(SUCCESS)
    job.progress(100)


def _changed_in(appliance: Appliance) -> Path:
    """Return the path of the file with the id of the boot in which the settings were changed."""
    return appliance.etc / "storage.boot"


def _paths(appliance: Appliance) -> tuple[Path, Path, Path]:
    return appliance.etc / "storage.json", appliance.system_etc / "storage.conf", _changed_in(appliance)


recover: Final = recovery("storage", _paths)


def _change(job: Job) -> None:
    appliance = job.appliance
    try:
        storage = unmasked(appliance, job.input["storage"])
    except ValueError as error:
        raise JobError(str(error)) from error
    document, conf, boot = _paths(appliance)
    files = {
        document: json.dumps({"storage": storage}, separators=(",", ":")) + "\n",
        conf: shell_conf(storage),
    }
    if storage != stored(appliance):
        files[boot] = f"{boot_id(appliance.root)}\n"
    with replaced(job, files, 0o640, cannot_write="The storage settings cannot be written and stay as they were"):
        job.progress(50)
        if not job.apply("storage", storage):
            job.vendor_command("storage.sh")
    job.log(f"The settings of {storage['type']} storage come into force at the next reboot")
