"""What the license in force says, a JSON object: told by the vendor's `license.sh`, or by GnuPG."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import Appliance, paths, scripts, strict_json
from jidoteki.hookspecs.programs import places
from jidoteki.plugins.license import gpg
from jidoteki.plugins.license.gpg import LicenseInvalid
from jidoteki.plugins.license.programs import PATH, ToolFailed, command_of, environment, run

MAX_SIZE: Final = 1024 * 1024
MAX_AGE: Final = 60.0
"""Seconds for which GnuPG's judgement holds while no file changes: keys expire."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LicenseFiles:
    """Where the license of an appliance and what reads it lie."""

    license: Path
    former: Path
    """The license before, while a new one is on trial."""
    key: Path
    signers: Path
    script: Path

    @classmethod
    def of(cls, appliance: Appliance) -> LicenseFiles:
        """The files of this appliance."""
        etc = appliance.etc
        return cls(
            license=etc / "license.asc",
            former=etc / "license.asc.former",
            key=etc / "license.key",
            signers=etc / "license.pub",
            script=appliance.bin / "license.sh",
        )

    def versions(self) -> tuple[tuple[int, ...] | None, ...]:
        """What differs as soon as one of the files is another one."""
        return tuple(_version(path) for path in (self.license, self.key, self.signers, self.script))

    @property
    def scripted(self) -> bool:
        """Whether the vendor's command reads the license: one that cannot run is no reason to do without."""
        return scripts.is_there(self.script)


def read(appliance: Appliance, directory: Path, script_time: float) -> dict[str, Any]:
    """Return what the license in force says.

    :param directory: where keys may lie meanwhile, closed to other users.
    :param script_time: seconds that the vendor's command may take.
    :raises LicenseInvalid: it is missing, cannot be decrypted or verified, or is not a JSON object.
    :raises ToolFailed: what reads it is missing or does not work.
    """
    files = LicenseFiles.of(appliance)
    if not files.scripted:
        return verified(appliance, files.license, directory)
    document, status = ask_script(appliance, script_time)
    if status:
        logger.warning("%s", exit_warning(status))
    return document


def ask_script(appliance: Appliance, seconds: float) -> tuple[dict[str, Any], int]:
    """Call the vendor's command without an argument, so that it reads the license in force; return what it prints.

    :return: the object, and the command's exit status, which judges nothing.
    :raises LicenseInvalid: it prints no JSON object.
    :raises ToolFailed: it cannot be run, takes too long or prints too much.
    """
    # The same in the service, which was started who knows where and with what PATH, as in a job.
    env = environment(PATH=PATH, **places(appliance))
    argv = command_of(LicenseFiles.of(appliance).script.absolute())
    status, output = run(argv, name="license.sh", env=env, timeout=seconds, limit=MAX_SIZE, cwd="/")
    try:
        return _document(output), status
    except LicenseInvalid as error:
        ended = f" (exit status {status})" if status else ""
        raise LicenseInvalid(f"The license is not valid: license.sh printed no JSON object{ended}") from error


def exit_warning(status: int) -> str:
    """Return the sentence for an exit status other than 0."""
    return f"license.sh ended with exit status {status}; what it printed counts"


def verified(appliance: Appliance, candidate: Path, directory: Path) -> dict[str, Any]:
    """Return what a license says, once GnuPG has decrypted and verified it.

    :param candidate: the license's file.
    :param directory: where keys may lie meanwhile, closed to other users.
    :raises LicenseInvalid: it is missing, cannot be decrypted or verified, or is not a JSON object.
    :raises ToolFailed: GnuPG is missing or does not work.
    """
    return _document(_from_gpg(LicenseFiles.of(appliance), candidate, directory))


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
        document = strict_json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LicenseInvalid("The license does not hold a JSON object") from error
    if not isinstance(document, dict):
        raise LicenseInvalid("The license does not hold a JSON object")
    return document


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode


@dataclass(slots=True)
class LicenseInForce:
    """The license in force, by one reader at a time; whoever waits for a reading that began meanwhile shares it.

    GnuPG reads each version of the files once a minute, the vendor's command is asked anew for each reading.
    """

    appliance: Appliance
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _versions: object = None
    _began: float = float("-inf")
    _judged_at: float = 0.0
    _document: dict[str, Any] = field(default_factory=dict)
    _fault: LicenseInvalid | ToolFailed | None = None

    async def get(self, script_time: float) -> dict[str, Any]:
        """Return what it says.

        :param script_time: seconds that the vendor's command may take.
        :raises LicenseInvalid: there is none, or it is not valid.
        :raises ToolFailed: what reads it is missing or does not work.
        """
        asked = time.monotonic()
        async with self._lock:
            if self._began <= asked:
                began = time.monotonic()
                self._document, self._fault = await asyncio.to_thread(self._read, script_time)
                self._began = began
            if self._fault is not None:
                raise type(self._fault)(str(self._fault))
            return self._document

    def _read(self, script_time: float) -> tuple[dict[str, Any], LicenseInvalid | ToolFailed | None]:
        files = LicenseFiles.of(self.appliance)
        versions = files.versions()
        if not files.scripted and versions == self._versions and time.monotonic() < self._judged_at + MAX_AGE:
            return self._document, self._fault
        directory = self.appliance.admin / "tmp"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._versions = None
        try:
            document, fault = read(self.appliance, directory, script_time), None
        except ToolFailed as error:
            return {}, error
        except LicenseInvalid as error:
            document, fault = {}, error
        self._versions, self._judged_at = versions, time.monotonic()
        return document, fault
