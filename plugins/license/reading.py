"""Reading the active license, a JSON object, with the vendor's `license.sh` or with GnuPG."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import Appliance, paths, scripts, strict_json
from jidoteki.hookspecs.programs import script_environment
from jidoteki.plugins.license import gpg
from jidoteki.plugins.license.gpg import LicenseError
from jidoteki.plugins.license.programs import PATH, ToolError, command_of, environment, run

MAX_SIZE: Final = 1024 * 1024
MAX_AGE: Final = 60.0
"""Seconds for which GnuPG's result is cached while no file changes: keys expire."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LicenseFiles:
    """The paths of an appliance's license, its keys and the vendor's command."""

    license: Path
    former: Path
    """The former license, while a new one is on trial."""
    key: Path
    signers: Path
    script: Path

    @classmethod
    def of(cls, appliance: Appliance) -> LicenseFiles:
        """Return the paths for an appliance."""
        etc = appliance.etc
        return cls(
            license=etc / "license.asc",
            former=etc / "license.asc.former",
            key=etc / "license.key",
            signers=etc / "license.pub",
            script=appliance.bin / "license.sh",
        )

    def versions(self) -> tuple[tuple[int, ...] | None, ...]:
        """Return a value that changes whenever one of the files does."""
        return tuple(_version(path) for path in (self.license, self.key, self.signers, self.script))

    @property
    def scripted(self) -> bool:
        """Whether the vendor's command reads the license; GnuPG does not replace one that cannot be run."""
        return scripts.exists(self.script)


def read(appliance: Appliance, directory: Path, script_timeout: float) -> dict[str, Any]:
    """Return the content of the active license.

    :param directory: a directory for temporary keys, closed to other users.
    :param script_timeout: timeout of the vendor's command, in seconds.
    :raises LicenseError: it is missing, cannot be decrypted or verified, or is not a JSON object.
    :raises ToolError: GnuPG or the command is missing or does not work.
    """
    files = LicenseFiles.of(appliance)
    if not files.scripted:
        return verified(appliance, files.license, directory)
    document, status = ask_script(appliance, script_timeout)
    if status:
        logger.warning("%s", exit_warning(status))
    return document


def ask_script(appliance: Appliance, seconds: float) -> tuple[dict[str, Any], int]:
    """Run the vendor's command without an argument, so that it prints the active license, and return that.

    :return: the object, and the command's exit status, which does not make the license invalid.
    :raises LicenseError: it prints no JSON object.
    :raises ToolError: it cannot be run, timed out or printed too much.
    """
    # The same environment in the service, whose own PATH and directory are arbitrary, as in a job.
    env = environment(PATH=PATH, **script_environment(appliance))
    argv = command_of(LicenseFiles.of(appliance).script.absolute())
    status, output = run(argv, name="license.sh", env=env, timeout=seconds, limit=MAX_SIZE, cwd="/")
    try:
        return _document(output), status
    except LicenseError as error:
        ended = f" (exit status {status})" if status else ""
        raise LicenseError(f"The license is not valid: license.sh printed no JSON object{ended}") from error


def exit_warning(status: int) -> str:
    """Return the sentence for an exit status other than 0."""
    return f"license.sh ended with exit status {status}; what it printed counts"


def verified(appliance: Appliance, candidate: Path, directory: Path) -> dict[str, Any]:
    """Return the content of a license, decrypted and verified by GnuPG.

    :param candidate: the license's file.
    :param directory: a directory for temporary keys, closed to other users.
    :raises LicenseError: it is missing, cannot be decrypted or verified, or is not a JSON object.
    :raises ToolError: GnuPG is missing or does not work.
    """
    return _document(_from_gpg(LicenseFiles.of(appliance), candidate, directory))


def _from_gpg(files: LicenseFiles, candidate: Path, directory: Path) -> bytes:
    message = content_of(candidate)
    if message is None:
        raise LicenseError("There is no license yet: send one with POST /license")
    key = content_of(files.key)
    if key is None:
        raise LicenseError("The license cannot be decrypted: this appliance has no license.key")
    return gpg.decrypt(message, key, content_of(files.signers), directory)


def content_of(path: Path) -> bytes | None:
    """Return the content of one of the files; None if there is none.

    :raises LicenseError: it is too long.
    :raises ToolError: it cannot be read.
    """
    try:
        with open(paths.open_regular(path, follow=True), "rb") as file:
            content = file.read(MAX_SIZE + 1) or b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ToolError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_SIZE:
        raise LicenseError(f"{path.name} is longer than {MAX_SIZE} bytes")
    return content


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = strict_json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LicenseError("The license does not hold a JSON object") from error
    if not isinstance(document, dict):
        raise LicenseError("The license does not hold a JSON object")
    return document


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode


@dataclass(slots=True)
class LicenseInForce:
    """The active license, read by one request at a time; requests that wait share a result that is newer than they are.

    GnuPG reads each version of the files once a minute; the vendor's command is run for each reading.
    """

    appliance: Appliance
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _versions: object = None
    _began: float = float("-inf")
    _verified_at: float = 0.0
    _document: dict[str, Any] = field(default_factory=dict)
    _fault: LicenseError | ToolError | None = None

    async def get(self, script_timeout: float) -> dict[str, Any]:
        """Return its content.

        :param script_timeout: timeout of the vendor's command, in seconds.
        :raises LicenseError: it is missing or not valid.
        :raises ToolError: GnuPG or the command is missing or does not work.
        """
        asked = time.monotonic()
        async with self._lock:
            if self._began <= asked:
                began = time.monotonic()
                self._document, self._fault = await asyncio.to_thread(self._read, script_timeout)
                self._began = began
            if self._fault is not None:
                raise type(self._fault)(str(self._fault))
            return self._document

    def _read(self, script_timeout: float) -> tuple[dict[str, Any], LicenseError | ToolError | None]:
        files = LicenseFiles.of(self.appliance)
        versions = files.versions()
        if not files.scripted and versions == self._versions and time.monotonic() < self._verified_at + MAX_AGE:
            return self._document, self._fault
        directory = self.appliance.admin / "tmp"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._versions = None
        try:
            document, fault = read(self.appliance, directory, script_timeout), None
        except ToolError as error:
            return {}, error
        except LicenseError as error:
            document, fault = {}, error
        self._versions, self._verified_at = versions, time.monotonic()
        return document, fault
