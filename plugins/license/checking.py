"""What `jidoteki check` finds that keeps licenses from being read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from jidoteki.hookspecs import Appliance, Finding
from jidoteki.plugins.license import programs
from jidoteki.plugins.license.reading import LicenseFiles

GPG = "gpg"


def check(appliance: Appliance) -> Iterator[Finding]:
    """Yield what is missing to read a license, where there is one and no vendor's command reads it."""
    files = LicenseFiles.of(appliance)
    if files.scripted or not os.path.lexists(files.license):
        return
    if not shutil.which(GPG, path=programs.PATH):
        message = f"licenses cannot be read: {GPG} is in none of {programs.PATH}"
        yield Finding("error", "license", message, "Install GnuPG, or a license.sh that does without.")
    if not os.path.lexists(files.key):
        message = f"the license cannot be read: there is no {files.key.name}, the key that decrypts it"
        yield Finding("error", "license", message, "Put the appliance's own OpenPGP secret key there.", str(files.key))
