"""The parameters of an endpoint, and the schema that validates their values."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Container, Mapping
from typing import Any

import voluptuous as vol
from aiohttp import web

from jidoteki.core.http.parts import StoredUpload
from jidoteki.core.http.responses import header_text, parameter_error
from jidoteki.hookspecs import ApiError, Document, Endpoint, Upload, file_names, validators

NOT_LISTED = "; 'parameters' in the configuration does not list it"


class Form:
    """The parameters of one endpoint, compiled for reading and validating requests.

    :param accepted: the names that the configuration allows; None for all.
    """

    def __init__(self, endpoint: Endpoint, accepted: frozenset[str] | None) -> None:
        self.kinds: dict[str, Any] = {}
        #: Whether a request may have no parameters.
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
                if not isinstance(marker, vol.Required) and not _has_default(marker):
                    continue
            schema[marker] = _field_validator(validator)  # its default counts, or it is missed, even if not accepted
            if isinstance(marker, vol.Optional):
                self._optional.add(name)
            elif name in self.kinds or not _has_default(marker):
                self.needs_nothing = False
        self._has_defaults = any(map(_has_default, schema))
        self._schema = vol.Schema(schema)
        self._in_path: Mapping[str, str] = {}

    def with_path(self, values: Mapping[str, str]) -> Form:
        """Return the form of a request whose path contains these parameters, which the body must not repeat."""
        if not values:
            return self
        form = copy.copy(self)
        form._in_path = values
        form.kinds = {name: kind for name, kind in self.kinds.items() if name not in values}
        return form

    @property
    def is_empty(self) -> bool:
        """Whether the endpoint has no parameters at all."""
        return not self.kinds and not self._in_path

    @property
    def is_optional(self) -> bool:
        """Whether a request may have no parameters, and then has no values either."""
        return self.needs_nothing and not self._has_defaults and not self._in_path

    def validate(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the validated values.

        An empty optional file counts as absent: browsers submit one if no file was chosen.

        :raises ApiError: 400 with a sentence that names the parameter and what is allowed.
        """
        given = {name: value for name, value in fields.items() if name not in self._optional or not _is_empty(value)}
        try:
            return dict(self._schema({**given, **self._in_path}))
        except vol.Invalid as error:
            name = str(error.path[0]) if error.path else ""
            value = given.get(name)
            why = NOT_LISTED if name in self._switched_off else _hint(name, value)
            said = f"{validators.explain(error)}{why}"
            raise ApiError(400, said, field=validators.field_at_fault(error)) from error

    async def query_values(self, request: web.BaseRequest) -> dict[str, Any]:
        """Return the validated values of a request's query; what else is in it is no parameter.

        :raises ApiError: as `validate` does; 400, one is given twice, or the configuration does not list it.
        """
        if self.is_empty and not self._switched_off:
            return {}
        query = request.query
        for name in self._switched_off:
            if name in query:
                self.check_name(name)
        given = {name: query.getall(name) for name in self.kinds if name in query}
        if not given and self.is_optional:
            return {}
        for name, values in given.items():
            if len(values) > 1:
                raise parameter_error(name, "is given twice")
        return await asyncio.to_thread(self.validate, {name: values[0] for name, values in given.items()})

    def check_no_query(self, query: Container[str]) -> None:
        """Refuse parameters of the form in the query, where they would be ignored.

        :raises ApiError: 400.
        """
        for name in self.kinds:
            if name in query:
                raise parameter_error(name, "must be sent in the body, not in the query")

    def check_name(self, name: str) -> None:
        """Refuse a parameter that the endpoint does not have."""
        if name not in self.kinds:
            shown = header_text(name[:64])
            allowed = f"allowed: {', '.join(self.kinds)}" if self.kinds else "this endpoint has none"
            why = NOT_LISTED if name in self._switched_off else ""
            said = f"Unknown parameter {shown!r}, {allowed}{why}"
            raise ApiError(400, said, field=validators.pointer(name))


def _has_default(marker: Any) -> bool:
    return not isinstance(getattr(marker, "default", vol.UNDEFINED), vol.Undefined)


def _field_validator(validator: Any) -> Any:
    if isinstance(validator, Upload):
        return _non_empty
    if isinstance(validator, Document):
        return validator.validator
    return validator


def _hint(name: str, value: Any) -> str:
    """Return the likely cause of a refused value, as curl did not send what its user meant; or an empty string."""
    if isinstance(value, bytes) and file_names.looks_like_one(value):
        return f"; {file_names.hint(name)}"
    return "; it ends with a newline" if isinstance(value, str) and value.endswith(("\n", "\r")) else ""


def _is_empty(value: Any) -> bool:
    """Return whether a value is an empty file or document."""
    return value == b"" or (isinstance(value, StoredUpload) and value.size == 0)


def _non_empty(value: StoredUpload) -> StoredUpload:
    if value.size == 0:
        raise vol.Invalid("must not be empty")
    return value
