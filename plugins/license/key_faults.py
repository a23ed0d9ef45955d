"""What keeps the keys of an appliance from reading licenses, found before there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jidoteki.plugins.license.gpg import Home, temporary_home

#: A clock that is not set yet is no fault of a key.
_OPTIONS: Final = ("--ignore-time-conflict",)


def of_secret_key(key: bytes, directory: Path) -> str | None:
    """Return why an OpenPGP secret key decrypts no license, whatever it is encrypted to; None if it can.

    :param directory: where to create a temporary home directory, closed to other users.
    :raises ToolError: GnuPG is missing or does not work.
    """
    with temporary_home(directory, _OPTIONS) as home:
        if not home.add(key, secret=True):
            return "it holds no OpenPGP secret key"
        if not home.secret_keys(capability="e"):
            return "it holds no key that decrypts, but one for signatures alone"
        if _has_passphrase(home):
            return "it must be usable without a passphrase"
    return None


def of_certificates(signers: bytes, directory: Path) -> str | None:
    """Return why OpenPGP certificates verify no license; None if they can.

    :param directory: where to create a temporary home directory, closed to other users.
    :raises ToolError: GnuPG is missing or does not work.
    """
    with temporary_home(directory, _OPTIONS) as home:
        return None if home.add(signers) else "it holds no OpenPGP certificate"


def of_both(key: bytes, signers: bytes, directory: Path) -> str | None:
    """Return why a secret key must not lie beside these certificates; None if it may.

    :param directory: where to create a temporary home directory, closed to other users.
    :raises ToolError: GnuPG is missing or does not work.
    """
    with temporary_home(directory, _OPTIONS) as home:
        if set(home.add(key, secret=True)) & set(home.add(signers)):
            return "it is the key that signs licenses: who reads it makes licenses for all appliances"
        return None


def _has_passphrase(home: Home) -> bool:
    """Return whether a secret key cannot be exported, which takes its passphrase."""
    exported = home.run("--output", home.path / "exported", "--export-secret-keys")
    return any(words[:1] == ("export_keys.secret",) for words in exported.arguments("ERROR"))
