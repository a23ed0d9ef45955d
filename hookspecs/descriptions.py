"""Descriptions of responses for the OpenAPI document, where a sentence is not enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jidoteki.hookspecs import differences

DONE: Final = {"$ref": "#/components/schemas/Done"}
"""The schema of `{"Status": "200 OK"}`."""

JOB_STATUS: Final = {"$ref": "#/components/schemas/JobStatus"}
"""The schema of the value that `request.job_status()` returns."""


def previewing(status: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a response that in a dry run contains the facts of `Job.preview`.

    :param status: the response's `Status`, such as `202 Accepted`.
    :param properties: JSON Schema of each fact.
    """
    return {
        "type": "object",
        "required": ["Status"],
        "properties": {
            "Status": {"const": status},
            "Location": {"type": "string", "description": "Where to look how the job goes"},
            "dry-run": {"const": True, "description": "Nothing was changed"},
            "changes": differences.SCHEMA,
            **properties,
        },
        "additionalProperties": False,
    }


@dataclass(frozen=True, slots=True)
class Described:
    """The description of a response, in `Endpoint.responses`.

    :param description: a sentence; errors need no more, as they all have the same schema.
    :param schema: JSON Schema 2020-12 of a JSON response.
    :param examples: examples of the response: JSON values, or text.
    :param media: the media type.
    """

    description: str
    schema: Mapping[str, Any] | None = None
    examples: tuple[Any, ...] = ()
    media: str = "application/json"
