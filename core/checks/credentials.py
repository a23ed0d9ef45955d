"""Checks of the token, the certificate, the update keys, and private keys that must not be on an appliance."""

from __future__ import annotations

import datetime
import itertools
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jidoteki.core.appliance import Appliance
from jidoteki.core.checks.advice import readable
from jidoteki.core.files.ownership import user_name
from jidoteki.core.http import tls
from jidoteki.hookspecs import Finding, paths

if TYPE_CHECKING:
    from jidoteki.core.endpoints.update.verifying_keys import VerifyingKeys

EXPIRES_SOON = datetime.timedelta(days=30)
NEW_CERTIFICATE = "Send a new certificate with POST /certs."
MAX_FILES = 1000
MAX_KEY = 64 * 1024


def check(appliance: Appliance) -> Iterator[Finding]:
    """Check the appliance's credentials, and the keys that it trusts."""
    yield from _token(appliance)
    yield from _certificate(appliance)
    yield from _tls_keys(appliance)
    yield from _update_keys(appliance.keys)
    yield from _wrong_keys(appliance.keys)
    yield from _signing_keys(appliance)


def _token(appliance: Appliance) -> Iterator[Finding]:
    path = appliance.etc / "api.token"
    if not path.exists() and not (appliance.etc / "api.token.setup").exists():
        advice = "Set one with POST /setup before others can reach the appliance."
        yield Finding("warning", "token", "there is no token: anybody may make the first setup", advice, str(path))
    elif path.exists():
        yield from _token_in(path)


def _token_in(path: Path) -> Iterator[Finding]:
    try:
        token = paths.read_regular(path, follow=True).strip()
    except OSError as error:
        user = user_name(os.geteuid())
        message = f"{user} cannot read it ({error.strerror or error}), so nobody can use the API"
        advice = f"Run: chown {user} {shlex.quote(str(path))}" if path.is_file() else "Put the token there, in a file."
        yield Finding("error", "token", message, advice, str(path))
        return
    if not token:
        advice = "Remove the file to allow a new first setup."
        yield Finding("error", "token", "it holds no token, so nobody can use the API", advice, str(path))


def _certificate(appliance: Appliance) -> Iterator[Finding]:
    path = tls.bundle(appliance)
    if not path.exists():
        message = "there is no certificate; a self-signed one is made at the next start"
        yield Finding("warning", "certificate", message, NEW_CERTIFICATE, str(path))
        return
    from cryptography import x509

    try:
        tls.context_from(path)
        certificate = x509.load_pem_x509_certificates(paths.read_regular(path, follow=True))[0]
        unsupported = tls.unsupported_keys(path)
    except (OSError, ValueError, x509.InvalidVersion) as error:
        message = f"the certificate cannot be used: {getattr(error, 'strerror', None) or error}"
        yield Finding("error", "certificate", message, NEW_CERTIFICATE, str(path))
        return
    for told in unsupported:
        yield Finding("warning", "certificate", told, NEW_CERTIFICATE, str(path))
    now, ends = datetime.datetime.now(datetime.UTC), certificate.not_valid_after_utc
    if ends < now:
        yield Finding("error", "certificate", f"it ended on {ends:%Y-%m-%d}", NEW_CERTIFICATE, str(path))
    elif ends < now + EXPIRES_SOON:
        yield Finding("warning", "certificate", f"it ends on {ends:%Y-%m-%d}", NEW_CERTIFICATE, str(path))
    if certificate.not_valid_before_utc > now:
        message = f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
        yield Finding(
            "error", "certificate", message, "Set the clock, or send another one with POST /certs.", str(path)
        )


def _update_keys(keys: Path) -> Iterator[Finding]:
    # Imported late, as are other modules that only one check needs.
    from jidoteki.core.endpoints.update import package

    try:
        package.load_keys(keys)
    except package.PackageError as error:
        message = str(error)
        name = next((each for each in ("updates.key", "updates.revoked") if each in message), "updates.pub")
        advice = f"Run: jidoteki provision --keys DIR, where DIR has it; without {name} the appliance takes no updates."
        if isinstance(error.__cause__, PermissionError):
            advice = readable(keys / name)
        elif name == "updates.revoked" and os.path.lexists(keys / name):
            advice = "Let root own it, with an id of a revoked key in each line; else the appliance takes no updates."
        yield Finding("error", "updates", message, advice, str(keys / name))


def _tls_keys(appliance: Appliance) -> Iterator[Finding]:
    pki = appliance.system_etc / "pki/tls"
    for path in (tls.bundle(appliance), pki / "private/enterprise.key"):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & 0o007:
            message = f"every user of this machine may read or change the key of TLS (mode {mode:04o})"
            advice = f"Run: chmod o-rwx {shlex.quote(str(path))}"
            yield Finding("error", "permissions", message, advice, str(path))


def _wrong_keys(keys: Path) -> Iterator[Finding]:
    from jidoteki.core.endpoints.update import key_files

    key = keys / "updates.key"
    content = _content(key)
    if content and (problem := key_files.passphrase_problem(content)):
        advice = "Put the vendor's updates.key there: one line of text, with which the packages are encrypted."
        yield Finding("error" if problem.fatal else "warning", "updates", problem.message, advice, str(key))
    yield from _odd_verifying_keys(keys)


def _odd_verifying_keys(keys: Path) -> Iterator[Finding]:
    from jidoteki.core.endpoints.update import key_files

    found = _verifying_keys(keys)
    for name, error in found.problems.items() if found.valid else ():
        message = f"it holds no key that counts: {getattr(error, 'strerror', None) or error}"
        advice = "Put a public key of the vendor's there, as root, or remove it."
        if isinstance(error, PermissionError):
            advice = readable(keys / name)
        yield Finding("warning", "updates", message, advice, str(keys / name))
    for each in found.valid:
        path = str(keys / each.name)
        if each.bits is not None and each.bits < key_files.MIN_BITS:
            message = f"it is an RSA key of {each.bits} bits, which can be broken: packages are only as safe as it is"
            yield Finding("warning", "updates", message, f"Use one of {key_files.MIN_BITS} bits at least.", path)
        elif each.bits is None and each.name == "updates.pub":
            message = "it is no RSA key: it verifies updates, and debug bundles cannot be encrypted to it"
            yield Finding("warning", "updates", message, "Put it into updates.pub.d, and an RSA key here.", path)
    for each in found.revoked:
        message = f"this key is revoked, and no package counts that it signed ({each.id})"
        yield Finding("note", "updates", message, "Remove it, or replace it.", str(keys / each.name))


def _verifying_keys(keys: Path) -> VerifyingKeys:
    from jidoteki.core.endpoints.update import verifying_keys

    try:
        return verifying_keys.load(keys)
    except (OSError, ValueError):  # told as a problem of updates
        return verifying_keys.VerifyingKeys()


def _signing_keys(appliance: Appliance) -> Iterator[Finding]:
    """Check for the vendor's private keys, with which anybody could sign packages that the appliance accepts."""
    from jidoteki.core.endpoints.update import key_files

    found = _verifying_keys(appliance.keys)
    public = [each.key for each in (*found.valid, *found.revoked)]
    for path in _files_beside(appliance):
        content = _content(path)
        if content is None or not key_files.holds_private_key(content):
            continue
        if path.name == "private.pem" or key_files.signs_for(content, public):
            message = "the key that signs updates lies on the appliance: who reads it signs updates for all of them"
            yield Finding("error", "updates", message, "Remove it, and use another one if it got out.", str(path))


def _files_beside(appliance: Appliance) -> Iterator[Path]:
    """Yield the files in the directories where keys are usually put."""
    places = {appliance.admin, appliance.etc, appliance.keys, appliance.bin, appliance.system_etc, appliance.uploads}
    for directory in sorted(places):
        try:
            found = sorted(itertools.islice(directory.iterdir(), MAX_FILES))
        except OSError:
            continue
        yield from found


def _content(path: Path) -> bytes | None:
    try:
        return paths.read_regular(path, MAX_KEY)
    except OSError:
        return None
