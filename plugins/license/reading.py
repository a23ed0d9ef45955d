"""The license as a JSON object: read by the vendor's `license.sh` where there is one, else by GnuPG."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from jidoteki.hookspecs import Appliance, paths
from jidoteki.plugins.license import gpg
from jidoteki.plugins.license.gpg import LicenseInvalid
from jidoteki.plugins.license.programs import ToolFailed, environment, run

MAX_SIZE: Final = 1024 * 1024
SCRIPT_TIMEOUT: Final = 60.0
MAX_AGE: Final = 60.0
"""Seconds for which a judgement holds while no file changes: keys expire, and a vendor's command may know more."""


@dataclass(frozen=True, slots=True)
class LicenseFiles:
    """Where the license of an appliance and what reads it lie."""

    license: Path
    key: Path
    signers: Path
    script: Path

    @classmethod
    def of(cls, appliance: Appliance) -> LicenseFiles:
        """The files of this appliance."""
        etc = appliance.etc
        return cls(etc / "license.asc", etc / "license.key", etc / "license.pub", appliance.bin / "license.sh")

    def versions(self) -> tuple[tuple[int, ...] | None, ...]:
        """What differs as soon as one of the files is another one."""
        return tuple(_version(path) for path in (self.license, self.key, self.signers, self.script))

    @property
    def scripted(self) -> bool:
        """Whether the vendor's command reads licenses."""
        return self.script.is_file() and os.access(self.script, os.X_OK)


def read(appliance: Appliance, candidate: Path, directory: Path) -> dict[str, Any]:
    """Return what a license says, once it is decrypted and verified.

    :param candidate: the license's file.
    :param directory: where keys may lie meanwhile, closed to other users.
    :raises LicenseInvalid: it is missing, cannot be decrypted or verified, or is not a JSON object.
    :raises ToolFailed: what reads it is missing or does not work.
    """
    files = LicenseFiles.of(appliance)
    content = _from_script(appliance, files, candidate) if files.scripted else _from_gpg(files, candidate, directory)
    return _document(content)


def _from_script(appliance: Appliance, files: LicenseFiles, candidate: Path) -> bytes:
    env = environment(JIDO_ADMIN_PATH=str(appliance.admin))
    code, output = run([files.script, candidate], env=env, timeout=SCRIPT_TIMEOUT, limit=MAX_SIZE)
    if code != 0:
        raise LicenseInvalid("The license was refused by license.sh")
    return output


def _from_gpg(files: LicenseFiles, candidate: Path, directory: Path) -> bytes:
    message = _content(candidate)
    if message is None:
        raise LicenseInvalid("There is no license yet: send one with POST /license")
    key = _content(files.key)
    if key is None:
        raise LicenseInvalid("The license cannot be decrypted: this appliance has no license.key")
    return gpg.decrypt(message, key, _content(files.signers), directory)


def _content(path: Path) -> bytes | None:
    try:
        with open(paths.open_regular(path, follow=True), "rb") as file:
            content = file.read(MAX_SIZE + 1) or b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ToolFailed(f"{path.name} cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_SIZE:
        raise LicenseInvalid(f"{path.name} is longer than {MAX_SIZE} bytes")
    return content


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise LicenseInvalid("The license does not hold a JSON object") from error
    if not isinstance(document, dict):
        raise LicenseInvalid("The license does not hold a JSON object")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode


@dataclass(slots=True)
class LicenseInForce:
    """The license in force, read once for each version of its files, by one reader at a time."""

    appliance: Appliance
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _versions: object = None
    _read_at: float = 0.0
    _document: dict[str, Any] | None = None
    _fault: str = ""

    async def get(self) -> dict[str, Any]:
        """Return what it says.

        :raises LicenseInvalid: there is none, or it is not valid.
        :raises ToolFailed: what reads it is missing or does not work.
        """
        async with self._lock:
            await asyncio.to_thread(self._refresh)
            if self._document is None:
                raise LicenseInvalid(self._fault)
            return self._document

    def _refresh(self) -> None:
        files = LicenseFiles.of(self.appliance)
        versions = files.versions()
        if versions == self._versions and time.monotonic() < self._read_at + MAX_AGE:
            return
        directory = self.appliance.admin / "tmp"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._versions = None
        try:
            self._document, self._fault = read(self.appliance, files.license, directory), ""
        except LicenseInvalid as error:
            self._document, self._fault = None, str(error)
        self._versions, self._read_at = versions, time.monotonic()
