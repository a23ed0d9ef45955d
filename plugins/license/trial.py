"""A license on trial: installed, so that the vendor's command can read it, until that has accepted it.

The former license is kept beside it as `license.asc.former` (empty if there was none). As long as that file exists the
change is not complete: after a kill or a power cut, the former license is restored from it.
"""

from __future__ import annotations

import contextlib
import os
import stat

from jidoteki.hookspecs import Appliance, Job, paths
from jidoteki.plugins.license.reading import LicenseFiles, ask_script, exit_warning


def install(job: Job, content: bytes) -> None:
    """Install a license, run the vendor's command, and keep the license if that prints a JSON object.

    :raises LicenseError: it does not; the former license is restored.
    :raises ToolError: the command cannot be run; the former license is restored.
    :raises OSError: the license cannot be stored; the former one is still active.
    """
    appliance = job.appliance
    files = LicenseFiles.of(appliance)
    try:
        _keep_former(appliance, files)
        appliance.replace_file(files.license, content, 0o640)
        _, status = ask_script(appliance, job.host_config["limits"]["command"])
        if status:
            job.log(f"Warning: {exit_warning(status)}")
    except BaseException:
        put_back(appliance)
        raise
    files.former.unlink()
    paths.sync_directory(files.former.parent)


def put_back(appliance: Appliance) -> None:
    """Restore the former license if a change was begun and not finished.

    :raises OSError: it cannot be restored now.
    """
    files = LicenseFiles.of(appliance)
    try:
        status = files.former.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        return  # somebody else's file: it never was the license
    kept = status.st_size > 0
    if kept:
        files.former.replace(files.license)
    else:
        files.license.unlink(missing_ok=True)
        paths.sync_directory(files.license.parent)
        files.former.unlink()
    paths.sync_directory(files.license.parent)


def _keep_former(appliance: Appliance, files: LicenseFiles) -> None:
    try:
        with open(paths.open_regular(files.license, follow=True), "rb") as file:
            status, content = os.fstat(file.fileno()), file.read(paths.MAX_READ)
    except FileNotFoundError:
        appliance.replace_file(files.former, b"", 0o600)
        return
    appliance.replace_file(files.former, content, 0o600)
    with contextlib.suppress(PermissionError):
        os.chown(files.former, status.st_uid, status.st_gid)
        os.chmod(files.former, stat.S_IMODE(status.st_mode) & 0o777)
