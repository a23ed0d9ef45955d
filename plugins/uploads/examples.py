"""Examples and schemas of the responses of `/uploads`."""

from __future__ import annotations

from typing import Any, Final

from jidoteki.hookspecs import Described, differences

_UPLOAD: Final[dict[str, Any]] = {
    "id": "8f14e45fceea167a5a36dedd4bea2543",
    "offset": 73400320,
    "length": 104857600,
    "metadata": "filename cGFja2FnZS5lbmM=",
    "expires": 1432140922,
}
_CREATED: Final = {"Status": "201 Created"}
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": list(_UPLOAD),
    "properties": {
        "id": {"type": "string", "description": "`upload:ID` is the file in a form once all of it is there"},
        "offset": {"type": "integer", "minimum": 0, "description": "Bytes that are there"},
        "length": {"type": "integer", "minimum": 0, "description": "Bytes that there will be"},
        "metadata": {"type": "string", "description": "The header Upload-Metadata, as it was sent"},
        "expires": {"type": "integer", "description": "When it is removed, in seconds since the epoch"},
    },
}
_BEGUN_SCHEMA: Final[dict[str, Any]] = {
    **_SCHEMA,
    "required": ["Status"],
    "properties": {**_SCHEMA["properties"], "changes": differences.SCHEMA},
}
SHOWN: Final = Described("How far the upload is", _SCHEMA, (_UPLOAD,))
BEGUN: Final = Described("It may be sent to Location; for a dry run, the status", _BEGUN_SCHEMA, (_UPLOAD | _CREATED,))
LISTED: Final = Described(
    "The uploads",
    {"type": "object", "required": ["uploads"], "properties": {"uploads": {"type": "array", "items": _SCHEMA}}},
    ({"uploads": [_UPLOAD]},),
)
