"""Descriptions of responses and of fields for the OpenAPI document, and for the forms made from it."""

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


@dataclass(frozen=True, slots=True)
class Label:
    """How a field is shown to people: the `description` of a voluptuous marker, where a sentence is not enough.

    `vol.Required("ip_address", description=Label("IP address"))`; in forms, JSON documents inside them, or queries.

    :param title: one to four words, such as `Host name`.
    :param description: a sentence; by default what the validator says of itself.
    :param secret: whether nobody may see it who looks over a shoulder, and no response shows it.
    """

    title: str
    description: str = ""
    secret: bool = False

    def __str__(self) -> str:
        """Return the description."""
        return self.description
