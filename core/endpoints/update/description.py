"""What a package says of itself in its `package.json`, which it need not have."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import voluptuous as vol

from jidoteki.core.endpoints.update import versions
from jidoteki.core.endpoints.update.versions import Version, VersionError
from jidoteki.hookspecs import strict_json

FILE: Final = "package.json"
MAX_SIZE: Final = 64 * 1024


def _version(text: str) -> str:
    try:
        return versions.parse(text)
    except VersionError as error:
        raise vol.Invalid("must be a version of 1 to 64 printable ASCII characters") from error


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise vol.Invalid("must be a whole number of bytes")
    return value


_NAME: Final = vol.All(str, vol.Length(min=1, max=128))
_KNOWN: Final = vol.Schema(
    {
        "name": _NAME,
        "product": _NAME,
        "minimum-version": vol.All(str, _version),
        "free-space": vol.All(_whole, vol.Range(min=0, max=1 << 50)),
        "reboot": bool,
        "rollback-reboot": bool,
        "notes": vol.All(str, vol.Length(max=16 * 1024)),
    },
    extra=vol.REMOVE_EXTRA,
)
KEYS: Final = tuple(str(key) for key in _KNOWN.schema)


@dataclass(frozen=True, slots=True)
class Description:
    """The keys of a `package.json`.

    :param minimum_version: the oldest version that the package can be installed over.
    :param free_space: bytes that it needs beside what it unpacks to.
    :param reboot: whether the appliance restarts before the update is verified once more.
    :param rollback_reboot: whether it restarts again after a way back, if it did before; None for as `reboot`.
    """

    name: str | None = None
    product: str | None = None
    minimum_version: str | None = None
    free_space: int = 0
    reboot: bool = False
    rollback_reboot: bool | None = None
    notes: str | None = None

    @property
    def restarts_back(self) -> bool:
        """Whether the appliance restarts again after a way back, if it did before."""
        return self.reboot and self.rollback_reboot is not False

    def shown(self) -> dict[str, Any]:
        """Return what a dry run shows."""
        told = {**asdict(self), "rollback_reboot": self.restarts_back}
        return {key.replace("_", "-"): value for key, value in told.items()}


def parse(content: bytes | str) -> Description:
    """Return the description in a file; keys that are not known mean nothing.

    :raises ValueError: it is not valid; the message is a part of a sentence.
    """
    try:
        value = strict_json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    try:
        known = _KNOWN(value)
    except vol.Invalid as error:
        where = ".".join(str(each) for each in error.path)
        raise ValueError(f"{where}: {error.msg}") from error
    return Description(**{key.replace("-", "_"): each for key, each in known.items()})


def content(source: Path, given: Mapping[str, Any]) -> bytes | None:
    """Return the `package.json` of a package that is built: that of its directory, with what is given instead.

    :param source: the directory.
    :param given: values by key; None for those that are not given.
    :return: None if there is neither.
    :raises ValueError: it is not valid, or has keys that are not known.
    :raises OSError: the file of the directory cannot be read.
    """
    path, values = source / FILE, {key: value for key, value in given.items() if value is not None}
    if os.path.lexists(path):
        before = strict_json.loads(path.read_bytes()[: MAX_SIZE + 1])
        if not isinstance(before, dict):
            raise ValueError("it is no JSON object")
        values = {**before, **values}
    if not values:
        return None
    made = (json.dumps(values, ensure_ascii=False, indent=2) + "\n").encode()
    parse(made)
    unknown = next((key for key in values if key not in KEYS), None)
    if unknown is not None:
        raise ValueError(f"{unknown}: no such key; there are {', '.join(KEYS)}")
    if len(made) > MAX_SIZE:
        raise ValueError(f"it is longer than {MAX_SIZE} bytes")
    return made


def require_suitable(told: Description, installed: str | None, product: str | None) -> None:
    """Refuse a package that is not for this appliance.

    :param product: of the appliance, if it is known.
    :raises VersionError: it is of another product, or the installed version is too old.
    """
    if told.product is not None and product is not None and told.product != product:
        raise VersionError(f"The package is for the product {told.product!r}, and this is {product!r}")
    if told.minimum_version is None:
        return
    needed = f"The package needs version {told.minimum_version} or newer to come from"
    if installed is None:
        raise VersionError(f"{needed}, and the installed version is not known")
    one, other = Version.of(installed), Version.of(told.minimum_version)
    if not one.is_comparable(other) or one < other:
        raise VersionError(f"{needed}; {installed} is installed")
