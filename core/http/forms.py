"""The parameters of an endpoint: which there are, and the schema that checks what a request sends."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import voluptuous as vol

from jidoteki.core.http.parts import StoredUpload
from jidoteki.core.http.responses import header_text
from jidoteki.hookspecs import ApiError, Document, Endpoint, Upload, file_names, validators


class Form:
    """The parameters of one endpoint, ready to read and to check what a request sends.

    :param accepted: the names that the configuration lets through; None for all.
    """

    def __init__(self, endpoint: Endpoint, accepted: frozenset[str] | None) -> None:
        self.kinds: dict[str, Any] = {}
        #: Whether a request may come without any parameter.
        self.needs_nothing = True
        self._switched_off: set[str] = set()
        self._optional: set[str] = set()
        schema: dict[Any, Any] = {}
        for marker, validator in endpoint.parameters.items():
            name = str(marker.schema if isinstance(marker, vol.Marker) else marker)
            if accepted is None or name in accepted:
                self.kinds[name] = validator
            else:
                self._switched_off.add(name)
                if not isinstance(marker, vol.Optional) or isinstance(marker.default, vol.Undefined):
                    continue
            schema[marker] = _field_validator(validator)  # of one that is not accepted the default still counts
            if isinstance(marker, vol.Optional):
                self._optional.add(name)
            else:
                self.needs_nothing = False
        defaults = (getattr(each, "default", vol.UNDEFINED) for each in schema)
        self._has_defaults = any(not isinstance(each, vol.Undefined) for each in defaults)
        self._schema = vol.Schema(schema)
        self._in_path: Mapping[str, str] = {}

    def with_path(self, values: Mapping[str, str]) -> Form:
        """The form of a request whose path gives these parameters, so that nothing else in it may."""
        if not values:
            return self
        form = copy.copy(self)
        form._in_path = values
        form.kinds = {name: kind for name, kind in self.kinds.items() if name not in values}
        return form

    @property
    def is_empty(self) -> bool:
        """Whether a request can give no parameters at all."""
        return not self.kinds and not self._in_path

    @property
    def is_optional(self) -> bool:
        """Whether a request may come without any parameter, and then has no values either."""
        return self.needs_nothing and not self._has_defaults and not self._in_path

    def validate(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the validated values.

        An optional file without content counts as none: that is how forms send a file that nobody chose.

        :raises ApiError: 400 with a sentence that names the parameter and what is allowed.
        """
        given = {name: value for name, value in fields.items() if name not in self._optional or not _is_empty(value)}
        try:
            return dict(self._schema({**given, **self._in_path}))
        except vol.Invalid as error:
            name = str(error.path[0]) if error.path else ""
            value = given.get(name)
            raise ApiError(400, f"{validators.explain(error)}{_hint(name, value)}") from error

    def check_name(self, name: str) -> None:
        """Refuse a parameter that the endpoint does not have."""
        if name not in self.kinds:
            shown = header_text(name[:64])
            allowed = f"allowed: {', '.join(self.kinds)}" if self.kinds else "this endpoint has none"
            why = "; 'parameters' in the configuration does not list it" if name in self._switched_off else ""
            raise ApiError(400, f"Unknown parameter {shown!r}, {allowed}{why}")


def _field_validator(validator: Any) -> Any:
    if isinstance(validator, Upload):
        return _non_empty
    if isinstance(validator, Document):
        return validator.validator
    return validator


def _hint(name: str, value: Any) -> str:
    """What is most likely wrong with a value that was refused: what curl sent is not what its user meant."""
    if isinstance(value, bytes) and file_names.looks_like_one(value):
        return f"; {file_names.hint(name)}"
    return "; it ends with a newline" if isinstance(value, str) and value.endswith(("\n", "\r")) else ""


def _is_empty(value: Any) -> bool:
    """Whether it is a file or a document without content."""
    return value == b"" or (isinstance(value, StoredUpload) and value.size == 0)


def _non_empty(value: StoredUpload) -> StoredUpload:
    if value.size == 0:
        raise vol.Invalid("must not be empty")
    return value
