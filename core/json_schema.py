"""JSON Schemas (2020-12, as OpenAPI 3.1 has them) from the validators that check what a client sends."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, get_origin, get_type_hints

import voluptuous as vol
from voluptuous_openapi import UNSUPPORTED, OpenApiVersion, convert  # type: ignore[import-untyped]  # no types

from jidoteki.hookspecs import Document, Label, Upload
from jidoteki.hookspecs.validators import Text, json_document, or_number, port, strict, variants

Schema = dict[str, Any]

#: A file, for tools that know OpenAPI 3.0 (`format`) and for those that know 3.1 (`contentMediaType`).
FILE: Schema = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream", "minLength": 1}

#: What all validators that `vol.Boolean()` makes wrap.
_BOOLEAN = getattr(vol.Boolean(), "__wrapped__", None)
_ANY_OBJECT: Schema = {"type": "object", "additionalProperties": True}


def of_form(parameters: Mapping[Any, Any], accepted: Iterable[str]) -> Schema:
    """The schema of a form, with the parameters that the configuration lets through and no others."""
    allowed = set(accepted)
    return _object({key: each for key, each in parameters.items() if _name(key) in allowed}, closed=True)


def of_validator(validator: Any) -> Schema:
    """What a voluptuous validator, an Upload or a Document accepts; `{}`, anything, for one that can't be described."""
    if isinstance(validator, vol.Schema):
        return _schema(validator)
    try:
        schema: Schema = convert(validator, custom_serializer=_serialize, openapi_version=OpenApiVersion.V3_1)
    except Exception:  # a validator may be any callable, and what cannot be described is no error
        return {}
    return schema


def is_json(validator: Any) -> bool:
    """Whether a parameter is a JSON document."""
    return isinstance(validator, Document) and isinstance(validator.validator, json_document)


def _serialize(validator: Any) -> Any:
    """What voluptuous-openapi leaves to its caller; UNSUPPORTED for what it knows itself."""
    if hasattr(validator, "json_schema"):
        return dict(validator.json_schema)
    if isinstance(validator, Upload):
        return {**FILE, "maxLength": validator.max_size} if validator.max_size else dict(FILE)
    if isinstance(validator, Document):
        inner = validator.validator
        return of_validator(inner.schema) if isinstance(inner, json_document) else dict(FILE)
    if isinstance(validator, Text):
        return _text(validator)
    if isinstance(validator, or_number):
        return {"anyOf": [_text(validator.text), _whole(validator.minimum, validator.maximum)]}
    if validator is port:
        return {"oneOf": [{"type": "string", "pattern": "^[0-9]{1,5}$"}, _whole(1, 65535)], "examples": ["1043"]}
    if isinstance(validator, strict):
        schema = _object(validator.schema.schema, closed=True)
        return _with_empty(schema) if validator.empty_is_absent else schema
    if isinstance(validator, variants):
        return _variants(validator)
    if _BOOLEAN is not None and getattr(validator, "__wrapped__", None) is _BOOLEAN:
        return {"type": "boolean"}  # and words such as `yes`, which people need not know
    if isinstance(validator, Mapping):
        return _object(validator, closed=vol.Extra not in validator)
    return _combined(validator)


def _combined(validator: Any) -> Any:
    if isinstance(validator, vol.Union):
        return {"anyOf": [of_validator(each) for each in validator.validators]}
    if isinstance(validator, vol.All):
        parts = [part for each in validator.validators if (part := of_validator(each))]
        return _merged(parts)
    if validator is object or _is_opaque(validator):
        return {}
    return UNSUPPORTED


def _is_opaque(validator: Any) -> bool:
    """Whether a validator is a callable of somebody's own that does not even say which type it takes."""
    if isinstance(validator, type) or get_origin(validator) or not callable(validator):
        return False
    function = validator if inspect.isroutine(validator) else type(validator).__call__
    if function.__module__.startswith("voluptuous"):
        return False
    taken = [hint for name, hint in get_type_hints(function).items() if name != "return"]
    return not taken or taken[0] in (object, Any)


def _schema(validator: vol.Schema) -> Schema:
    schema = of_validator(validator.schema)
    if validator.extra != vol.PREVENT_EXTRA:
        schema.pop("additionalProperties", None)
    return schema


def _merged(parts: list[Schema]) -> Schema:
    """All of several schemas: one object where they say different things, `allOf` where they do not."""
    merged: Schema = {}
    for part in [part for part in parts if part != _ANY_OBJECT] or parts[:1]:
        if any(merged.get(key, value) != value for key, value in part.items()):
            return {"allOf": [part for part in parts if part != _ANY_OBJECT]}
        merged |= part
    return merged


def _text(text: Text) -> Schema:
    return {
        "type": "string",
        "pattern": text.pattern,
        "minLength": text.minimum,
        "maxLength": text.maximum,
        "description": text.allowed[0].upper() + text.allowed[1:],
    }


def _whole(minimum: int, maximum: int | None) -> Schema:
    return {"type": "integer", "minimum": minimum} | ({} if maximum is None else {"maximum": maximum})


def _variants(validator: variants) -> Schema:
    return {
        "type": "object",
        "oneOf": [
            {"title": name, **_object(each.schema.schema, closed=True)} for name, each in validator.offered.items()
        ],
        "discriminator": {"propertyName": validator.key},
    }


def _name(key: Any) -> str:
    return str(key.schema if isinstance(key, vol.Marker) else key)


def _object(schema: Mapping[Any, Any], closed: bool) -> Schema:
    properties, required = {}, []
    inclusive: dict[str, list[str]] = {}
    exclusive: dict[str, list[str]] = {}
    for key, validator in schema.items():
        if key is vol.Extra or not isinstance(_unmarked(key), str):
            continue
        name = _name(key)
        properties[name] = _property(key, validator)
        if isinstance(key, vol.Required):
            required.append(name)
        if isinstance(key, vol.Inclusive):
            inclusive.setdefault(key.group_of_inclusion, []).append(name)
        if isinstance(key, vol.Exclusive):
            exclusive.setdefault(key.group_of_exclusion, []).append(name)
    result: Schema = {"type": "object", "properties": properties}
    if required:
        result["required"] = required
    if inclusive:
        result["dependentRequired"] = _together(inclusive.values())
    if exclusive:
        result["allOf"] = [_at_most_one(names) for names in exclusive.values()]
    if closed and len(properties) == len(schema):
        result["additionalProperties"] = False
    return result


def _with_empty(schema: Schema) -> Schema:
    """The same object, in which an empty string stands for a key that is not given."""
    required = schema.get("required", ())
    properties = {
        name: each if name in required or not each else _or_empty(each) for name, each in schema["properties"].items()
    }
    groups = {tuple(sorted([name, *others])) for name, others in schema.get("dependentRequired", {}).items()}
    rules = [*schema.get("allOf", ()), *(_together_or_empty(group) for group in sorted(groups))]
    changed = {key: each for key, each in schema.items() if key != "dependentRequired"} | {"properties": properties}
    return changed | ({"allOf": rules} if rules else {})


def _or_empty(schema: Schema) -> Schema:
    """The same value or an empty string; what people are shown of it stays outside."""
    shown = {key: each for key, each in schema.items() if key in ("title", "writeOnly", "default")}
    return {**shown, "anyOf": [{key: each for key, each in schema.items() if key not in shown}, {"const": ""}]}


def _together_or_empty(group: Iterable[str]) -> Schema:
    names = list(group)
    nothing, something = (dict.fromkeys(names, each) for each in ({"const": ""}, {"not": {"const": ""}}))
    return {"anyOf": [{"properties": nothing}, {"required": names, "properties": something}]}


def _unmarked(key: Any) -> Any:
    return key.schema if isinstance(key, vol.Marker) else key


def _property(key: Any, validator: Any) -> Schema:
    schema = of_validator(validator)
    if isinstance(key, vol.Marker) and key.description:
        schema = {**schema, **_labelled(key.description)}
    default = getattr(key, "default", vol.UNDEFINED)
    if not isinstance(default, vol.Undefined) and callable(default):
        schema = {**schema, "default": default()}
    return schema


def _labelled(description: Any) -> Schema:
    """What a marker says of its field."""
    if not isinstance(description, Label):
        return {"description": str(description)}
    said: Schema = {"title": description.title}
    if description.description:
        said["description"] = description.description
    return {**said, "writeOnly": True} if description.secret else said


def _together(groups: Iterable[list[str]]) -> dict[str, list[str]]:
    """All of a group or none of it."""
    return {name: [other for other in group if other != name] for group in groups for name in group}


def _at_most_one(names: list[str]) -> Schema:
    return {
        "oneOf": [*({"required": [name]} for name in names), {"not": {"anyOf": [{"required": [n]} for n in names]}}]
    }
