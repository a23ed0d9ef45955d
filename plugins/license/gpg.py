"""Licenses as OpenPGP messages, read and made by GnuPG in a temporary home directory for each call.

The decision is based on the status lines of GnuPG's doc/DETAILS. The exit status alone is not enough: it is 0 for a
signature made by an expired key, and for an unsigned message.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jidoteki.plugins.license.programs import ToolError, environment, run

MAX_SIZE: Final = 1024 * 1024
MAX_STATUS: Final = 256 * 1024
TIMEOUT: Final = 30.0
LONGEST_HOME: Final = 80
"""Characters of its path: a socket's has at most 107, and the agent's sockets are in the home directory."""

OPTIONS: Final = (
    "--no-options", "--batch", "--no-tty", "--yes", "--status-fd", "1", "--pinentry-mode", "error",
    "--trust-model", "always", "--disable-dirmngr", "--no-auto-key-retrieve", "--no-auto-check-trustdb",
)  # fmt: skip

PASSPHRASE_ERRORS: Final = (11, 85, 99, 177)
"""Codes of libgpg-error: bad passphrase, no pinentry, cancelled, no passphrase given."""

SIGNATURE_FAULTS: Final = {
    "BADSIG": "The signature of the license is wrong: it was changed after it was signed",
    "EXPSIG": "The signature of the license has expired: ask your vendor for a new license",
    "EXPKEYSIG": "The key that signed the license has expired: ask your vendor for a new license or license.pub",
    "REVKEYSIG": "The key that signed the license was revoked: ask your vendor for a new license",
    "ERRSIG": "The license is not signed by the key in license.pub",
}


class LicenseError(Exception):
    """A license that is not accepted; the message is a full sentence."""


class NoMessageError(LicenseError):
    """A file that is not an OpenPGP message at all."""


@dataclass(frozen=True, slots=True)
class Status:
    """The result of a GnuPG run: its exit status, and `(keyword, arguments)` of each status line."""

    code: int
    lines: tuple[tuple[str, tuple[str, ...]], ...]

    def count(self, keyword: str) -> int:
        """Return the number of status lines with a keyword."""
        return sum(each == keyword for each, _ in self.lines)

    def arguments(self, keyword: str) -> list[tuple[str, ...]]:
        """Return the arguments of each status line with a keyword."""
        return [arguments for each, arguments in self.lines if each == keyword]


@dataclass(frozen=True, slots=True)
class Home:
    """A GnuPG home directory, with a path short enough for sockets."""

    program: str
    path: Path
    options: tuple[str, ...] = ()

    def run(self, *arguments: str | Path) -> Status:
        """Run GnuPG in this home directory.

        :raises ToolError: it cannot be started, timed out or printed too much.
        """
        code, output = self._output(*arguments)
        words = [line.split() for line in output.split("\n")]
        return Status(
            code, tuple((line[1], tuple(line[2:])) for line in words if line[:1] == ["[GNUPG:]"] and line[1:])
        )

    def secret_keys(self, capability: str = "") -> frozenset[str]:
        """Return the ids of the present secret keys and subkeys, in the form of `ENC_TO`.

        :param capability: what they must be for, in the letters of GnuPG's doc/DETAILS.
        """
        _, output = self._output("--with-colons", "--list-secret-keys")
        fields = [line.split(":") for line in output.split("\n")]
        keys = [each for each in fields if each[0] in ("sec", "ssb") and each[11:]]
        return frozenset(each[4] for each in keys if capability in each[11])

    def _output(self, *arguments: str | Path) -> tuple[int, str]:
        argv = [self.program, "--homedir", self.path, *OPTIONS, *self.options, *arguments]
        code, output = run(argv, env=environment(), timeout=TIMEOUT, limit=MAX_STATUS)
        return code, output.decode("utf-8", "replace")

    def add(self, content: bytes, secret: bool = False) -> list[str]:
        """Import keys and return the fingerprints of all imported ones, or of those with a secret part."""
        source = self.path / "import"
        source.write_bytes(content)
        imported = self.run("--import", "--", source).arguments("IMPORT_OK")
        source.unlink()
        return [words[1] for words in imported if len(words) > 1 and (not secret or int(words[0]) & 16)]

    def export(self, *arguments: str) -> str:
        """Return keys in ASCII armor."""
        target = self.path / "export"
        if self.run("--armor", "--output", target, *arguments).code != 0:
            raise ToolError("gpg cannot export the key it made")
        return target.read_text(encoding="ascii")


def decrypt(message: bytes, key: bytes, signers: bytes | None, directory: Path) -> bytes:
    """Decrypt a message and verify its signature.

    :param message: an OpenPGP message, in ASCII armor or binary.
    :param key: the OpenPGP secret key it is encrypted to, without a passphrase.
    :param signers: the OpenPGP certificate by whose key it must be signed; None when no signature is needed.
    :param directory: where to create the temporary home directory, closed to other users.
    :raises LicenseError: it cannot be decrypted or verified.
    :raises ToolError: GnuPG is missing or does not work.
    """
    try:
        return _decrypted(message, key, signers, directory)
    except LicenseError:
        if not _is_good_another_time(message, key, signers, directory):
            raise
    says = time.strftime("%Y-%m-%d", time.gmtime())
    raise LicenseError(f"The clock of this appliance says {says}, which is before its license or a key of it was made")


def _is_good_another_time(message: bytes, key: bytes, signers: bytes | None, directory: Path) -> bool:
    """Return whether a message is refused only because its keys or signatures are from the future by this clock.

    GnuPG itself reports only that it finds no key in such files.
    """
    try:
        _decrypted(message, key, signers, directory, ("--ignore-time-conflict",))
    except LicenseError:
        return False
    return True


def _decrypted(
    message: bytes, key: bytes, signers: bytes | None, directory: Path, options: tuple[str, ...] = ()
) -> bytes:
    with temporary_home(directory, options) as home:
        if not home.add(key, secret=True):
            raise LicenseError("The license cannot be decrypted: license.key holds no OpenPGP secret key")
        trusted = None if signers is None else home.add(signers)
        if trusted is not None and not trusted:
            raise LicenseError("The license cannot be verified: license.pub holds no OpenPGP certificate")
        source, target = home.path / "message", home.path / "content"
        source.write_bytes(message)
        verify = () if trusted is not None else ("--skip-verify",)
        status = home.run(*verify, "--max-output", str(MAX_SIZE), "--output", target, "--decrypt", "--", source)
        content = target.read_bytes() if target.exists() else b""
        _check_key(status, home)
        _check_signatures(status)
        _check_whole(status, len(content))
        if trusted is not None:
            _check_signed(status, frozenset(trusted))
        return content


def make_license(document: dict[str, Any], recipient: bytes, signer: bytes, directory: Path | None = None) -> str:
    """Make a license: a JSON object, signed and encrypted, in ASCII armor.

    :param recipient: the OpenPGP certificate of the appliance's `license.key`.
    :param signer: the vendor's OpenPGP secret key, without a passphrase; its certificate is the `license.pub`.
    :param directory: where to create the temporary home directory; by default the system's temporary directory.
    :raises ToolError: GnuPG is missing, or a key cannot be used.
    """
    with temporary_home(directory) as home:
        recipients, signers = home.add(recipient), home.add(signer, secret=True)
        if not recipients or not signers:
            missing = "--sign-key" if recipients else "--recipient"
            needed = "the appliance's OpenPGP certificate and the vendor's OpenPGP secret key"
            raise ToolError(f"A license needs {needed}, and there is none in {missing}")
        source, target = home.path / "content", home.path / "message"
        source.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        parties = ("--recipient", recipients[0], "--local-user", signers[0])
        if home.run("--armor", "--output", target, *parties, "--sign", "--encrypt", "--", source).code != 0:
            raise ToolError("gpg cannot make the license: neither key may be expired or revoked or have a passphrase")
        return target.read_text(encoding="ascii")


def make_keys(name: str, directory: Path | None = None) -> tuple[str, str]:
    """Make an OpenPGP key for signing and decryption, without a passphrase or expiry.

    :param name: its user id, such as `Enterprise Company <cto@enterprise>`.
    :param directory: where to create the temporary home directory; by default the system's temporary directory.
    :return: the secret key and the certificate, in ASCII armor.
    :raises ToolError: GnuPG is missing or does not work.
    """
    unprotected = ("--pinentry-mode", "loopback", "--passphrase", "")
    with temporary_home(directory) as home:
        made = home.run(*unprotected, "--quick-generate-key", name, "ed25519", "cert,sign", "never")
        fingerprints = [words[1] for words in made.arguments("KEY_CREATED") if len(words) > 1]
        if made.code != 0 or not fingerprints:
            raise ToolError("gpg cannot make a key")
        if home.run(*unprotected, "--quick-add-key", fingerprints[0], "cv25519", "encr", "never").code != 0:
            raise ToolError("gpg cannot make a key that decrypts")
        secret = home.export(*unprotected, "--export-secret-keys", fingerprints[0])
        return secret, home.export("--export", fingerprints[0])


@contextmanager
def temporary_home(directory: Path | None, options: tuple[str, ...] = ()) -> Iterator[Home]:
    """Yield an empty home directory below another one.

    :raises ToolError: GnuPG is missing or does not work.
    """
    program = shutil.which("gpg")
    if program is None:
        raise ToolError("gpg is not installed: install GnuPG, or provide the command license.sh")
    try:
        with tempfile.TemporaryDirectory(prefix="gnupg-", dir=directory) as path, _short(Path(path)) as short:
            (short / "common.conf").touch()  # otherwise some versions write one that starts a key daemon
            (short / "gpg-agent.conf").write_text("disable-scdaemon\nno-allow-external-cache\n", encoding="ascii")
            try:
                yield Home(program, short, options)
            finally:
                _stop_agent(short)
    except OSError as error:
        raise ToolError(f"gpg cannot work: {error.strerror or error}") from error


@contextmanager
def _short(path: Path) -> Iterator[Path]:
    """Yield a short path to a directory, through a symlink if its own is too long."""
    if len(str(path)) <= LONGEST_HOME:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="gnupg-") as beside:
        link = Path(beside) / "h"
        link.symlink_to(path)
        yield link


def _stop_agent(home: Path) -> None:
    """End the agent at once; without gpgconf it ends by itself soon after its home directory is removed."""
    program = shutil.which("gpgconf")
    if program is not None:
        run([program, "--homedir", home, "--kill", "all"], env=environment(), timeout=TIMEOUT, limit=MAX_STATUS)


def _check_key(status: Status, home: Home) -> None:
    if not status.count("BEGIN_DECRYPTION"):
        seen = status.count("PLAINTEXT") or status.count("ENC_TO")
        if not seen:
            raise NoMessageError("The license is not an OpenPGP message")
        raise LicenseError("The license is not encrypted")
    if any(_asks_for_passphrase(words) for words in status.arguments("ERROR")):
        raise LicenseError("license.key cannot decrypt the license: it must be usable without a passphrase")
    # GnuPG 2.4 reports NO_SECKEY for a present key, too, if the message is damaged.
    named = {words[0] for words in status.arguments("ENC_TO") if words}
    if not status.count("DECRYPTION_KEY") and not named & home.secret_keys():
        raise LicenseError("The license is not encrypted to the key in license.key: it is for another appliance")


def _asks_for_passphrase(words: tuple[str, ...]) -> bool:
    """Return whether `words` are `pkdecrypt_failed` and one of PASSPHRASE_ERRORS, the low half of the number."""
    return len(words) > 1 and words[0] == "pkdecrypt_failed" and int(words[1]) & 0xFFFF in PASSPHRASE_ERRORS


def _check_signatures(status: Status) -> None:
    """Check for bad signatures; before `_check_whole`, as GnuPG may then end without a status of the decryption."""
    for keyword, fault in SIGNATURE_FAULTS.items():
        if status.count(keyword):
            raise LicenseError(fault)


def _check_whole(status: Status, size: int) -> None:
    if status.code != 0 and size >= MAX_SIZE:
        raise LicenseError(f"The license holds more than {MAX_SIZE} bytes")
    decrypted = status.count("DECRYPTION_OKAY") == 1 and not status.count("DECRYPTION_FAILED")
    if status.code != 0 or not decrypted or status.count("PLAINTEXT") != 1:
        raise LicenseError("The license is damaged: send the file as your vendor made it")


def _check_signed(status: Status, trusted: frozenset[str]) -> None:
    made_by = [words[-1] for words in status.arguments("VALIDSIG") if words]
    if not made_by or not status.count("GOODSIG"):
        raise LicenseError("The license is not signed: a signature by the key in license.pub is needed")
    if not trusted.issuperset(made_by):
        raise LicenseError(SIGNATURE_FAULTS["ERRSIG"])
