"""Validators for the reference's character classes and lengths. Each raises voluptuous.Invalid with what is allowed.

A message continues the parameter's name: "must be 3 to 14 letters and digits". `explain` joins the two.
Composed validators keep their parts in attributes, from which the API description is generated.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, final

import voluptuous as vol

from jidoteki.hookspecs.descriptions import Label
from jidoteki.hookspecs.documents import json_document
from jidoteki.hookspecs.explanations import explain, field_at_fault, pointer, unknown

__all__ = [
    "Text",
    "address",
    "described",
    "device",
    "explain",
    "field_at_fault",
    "hostname",
    "interface",
    "json_document",
    "mount_options",
    "netmask",
    "or_number",
    "pointer",
    "port",
    "prefix_length",
    "printable",
    "server",
    "share",
    "strict",
    "target",
    "together",
    "token",
    "unknown",
    "variants",
]


_Validator = TypeVar("_Validator", bound=Callable[..., object])


@final
@dataclass(frozen=True, slots=True)
class Text:
    """A string of ASCII characters of one character class.

    :param characters: the inside of a regular expression's `[…]`.
    :param minimum: shortest length in characters.
    :param maximum: greatest length in characters.
    :param allowed: the rule in words, to follow "must be".
    :param parse: raises ValueError for strings of the right characters that are still invalid.
    """

    characters: str
    minimum: int
    maximum: int
    allowed: str
    parse: Callable[[str], object] | None = None

    @property
    def pattern(self) -> str:
        """The characters and lengths as a regular expression of JSON Schema."""
        return f"^[{self.characters}]{{{self.minimum},{self.maximum}}}$"

    def __call__(self, value: object) -> str:
        """Return `value` unchanged, or raise voluptuous.Invalid."""
        if not isinstance(value, str):
            raise vol.Invalid(f"must be a string: {self.allowed}")
        if not re.fullmatch(f"[{self.characters}]{{{self.minimum},{self.maximum}}}", value):
            raise vol.Invalid(f"must be {self.allowed}")
        if self.parse is not None:
            try:
                self.parse(value)
            except ValueError:
                raise vol.Invalid(f"must be {self.allowed}") from None
        return value


@final
@dataclass(frozen=True, slots=True)
class or_number:
    """A text that a JSON document may also give as a whole number, such as `"netmask": 24`; its digits are validated.

    :param text: the validator of the digits.
    :param maximum: greatest valid number, if there is one.
    """

    text: Text
    maximum: int | None = None

    @property
    def minimum(self) -> int:
        """The smallest number that has enough digits."""
        return 10 ** (self.text.minimum - 1) if self.text.minimum > 1 else 0

    def __call__(self, value: object) -> str:
        """Return the text, or raise voluptuous.Invalid."""
        return self.text(str(value) if type(value) is int and value >= 0 else value)


def described(schema: Mapping[str, Any]) -> Callable[[_Validator], _Validator]:
    """Attach to a validating function the JSON Schema that the API description shows; nothing is validated against it.

    :param schema: JSON Schema 2020-12, such as `{"type": "string", "pattern": "^[a-z]+$"}`.
    :return: a decorator.
    """

    def decorate(validator: _Validator) -> _Validator:
        validator.json_schema = schema  # type: ignore[attr-defined]  # functions take attributes
        return validator

    return decorate


def prefix_length(mask: str, version: int) -> int:
    """Return the prefix length of a netmask.

    :param mask: `255.255.255.0`, `ffff:ffff::`, `24`, `/24`, or an IPv6 prefix with its length, `2001:db8::/64`.
    :param version: IP version of the address that the mask belongs to, 4 or 6.
    :raises ValueError: it is not a netmask of that version.
    """
    network, slash, length = mask.rpartition("/")
    bits = {4: 32, 6: 128}[version]
    if network and (version == 4 or ipaddress.ip_address(network).version != version):
        raise ValueError(f"{mask} is not a netmask of IPv{version}")
    if not slash and ("." in mask or ":" in mask):
        return _ones(mask, bits)
    if not re.fullmatch("[0-9]{1,3}", length) or not 1 <= int(length) <= bits:
        raise ValueError(f"{length} is not a prefix length of IPv{version}")
    return int(length)


def _ones(mask: str, bits: int) -> int:
    address = ipaddress.ip_address(mask)
    ones = int(address).bit_count()
    if not ones or address.max_prefixlen != bits or int(address) != ((1 << ones) - 1) << (bits - ones):
        raise ValueError(f"{mask} is not a netmask of {bits} bits")
    return ones


def _netmask(mask: str) -> int:
    try:
        return prefix_length(mask, 4)
    except ValueError:
        return prefix_length(mask, 6)


def _port_number(value: str) -> None:
    if not re.fullmatch("[0-9]+", value) or not 1 <= int(value) <= 65535:
        raise ValueError(value)


_HEXADECIMAL: Final = "abcdef0123456789ABCDEF.:"
_PORT: Final = Text("0-9._/-", 1, 5, "a number from 1 to 65535", _port_number)

interface: Final = Text("a-zA-Z0-9", 3, 14, "3 to 14 letters and digits")
hostname: Final = Text("a-zA-Z0-9.-", 3, 255, "3 to 255 letters, digits, '.' and '-'")
"""A host name. It may begin with '-', as in the reference: a command line needs `--` before it."""
server: Final = Text("a-zA-Z0-9.:-", 3, 255, "3 to 255 letters, digits, '.', '-' and ':'")
"""A host by name or address, such as a time server."""
address: Final = Text(_HEXADECIMAL, 3, 45, "an IPv4 or IPv6 address of 3 to 45 characters", ipaddress.ip_address)
netmask: Final = Text(
    _HEXADECIMAL + "/",
    2,
    45,
    "a netmask such as 255.255.255.0, or a prefix length such as 24 or /64, of 2 to 45 characters",
    _netmask,
)
printable: Final = Text("!-~", 3, 255, "3 to 255 printable ASCII characters without spaces")
token: Final = Text("!-~", 1, 255, "1 to 255 printable ASCII characters without spaces")
device: Final = hostname
share: Final = Text("a-zA-Z0-9._/-", 3, 255, "3 to 255 letters, digits, '.', '-', '_' and '/'")
mount_options: Final = Text("a-zA-Z0-9.=,-", 3, 255, "3 to 255 letters, digits, '.', '-', '=' and ','")
target: Final = Text("a-zA-Z0-9._:-", 3, 255, "3 to 255 letters, digits, '.', '-', '_' and ':'")
"""The name of an iSCSI target."""


def port(value: object) -> str:
    """Return a TCP port, given as a string or a number, as a string."""
    if type(value) is not int:
        return _PORT(value)
    if not 1 <= value <= 65535:
        raise vol.Invalid(f"must be {_PORT.allowed}")
    return str(value)


@final
class strict:
    """An object with the keys of `schema` and no others; the error for an unknown key names the most similar one.

    :param schema: maps names, or voluptuous markers of names, to validators.
    :param empty_is_absent: whether a key with an empty string as its value counts as missing.
    """

    def __init__(self, schema: Mapping[Any, Any], *, empty_is_absent: bool = False) -> None:
        self.schema: Final = vol.Schema(dict(schema))
        self.empty_is_absent: Final = empty_is_absent
        self.known: Final = frozenset(str(key) for key in schema)

    def __call__(self, value: object) -> Any:
        """Return the validated object, or raise voluptuous.Invalid."""
        if not isinstance(value, dict):
            raise vol.DictInvalid("must be an object")
        for key in value:
            if key not in self.known:
                raise unknown(key, self.known)
        if self.empty_is_absent:
            value = {key: each for key, each in value.items() if each != ""}
        return self.schema(value)


@final
class variants:
    """An object whose other keys depend on the value of one of them.

    :param key: the key that selects the variant.
    :param schemas: for each of its values, the schema of the other keys.
    :param label: how the key is shown to people.
    :param offered: returns the values that count at present, if not all do: others are refused, and not described.
    """

    def __init__(
        self,
        key: str,
        schemas: Mapping[str, Mapping[Any, Any]],
        *,
        label: Label | None = None,
        offered: Callable[[], Collection[str]] | None = None,
    ) -> None:
        self.key: Final = key
        selecting = vol.Required(key, description=label)
        self.schemas: Final = {name: strict({selecting: name, **rest}) for name, rest in schemas.items()}
        self._offered = offered

    @property
    def offered(self) -> Mapping[str, strict]:
        """The variants that count at present, by name."""
        if self._offered is None:
            return self.schemas
        names = self._offered()
        return {name: each for name, each in self.schemas.items() if name in names}

    def __call__(self, value: object) -> Any:
        """Return the validated object, or raise voluptuous.Invalid."""
        if not isinstance(value, dict):
            raise vol.DictInvalid("must be an object")
        if self.key not in value:
            raise vol.RequiredFieldInvalid("is required", path=[self.key])
        name, offered = value[self.key], self.offered
        if not isinstance(name, str) or name not in offered:
            where = " on this appliance" if len(offered) < len(self.schemas) else ""
            raise vol.Invalid(f"must be one of {', '.join(offered)}{where}", path=[self.key])
        return offered[name](value)


def together(labels: Mapping[str, Label] | None = None, /, **validators: Any) -> dict[vol.Inclusive, Any]:
    """Return a part of a schema: optional keys that must be given all together or not at all.

    :param labels: how the keys are shown to people.
    """
    shown = labels or {}
    *most, last = validators
    names = f"{', '.join(most)} and {last}"
    message = f"needs {names} together or none of them"
    return {
        vol.Inclusive(name, names, msg=message, description=shown.get(name)): validator
        for name, validator in validators.items()
    }
