"""What the API's own description says of an answer, where a sentence is not enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

DONE: Final = {"$ref": "#/components/schemas/Done"}
"""The schema of `{"Status": "200 OK"}`."""

JOB_STATUS: Final = {"$ref": "#/components/schemas/JobStatus"}
"""The schema of what `request.job_status()` returns."""


@dataclass(frozen=True, slots=True)
class Described:
    """An answer of an endpoint, in `Endpoint.responses`.

    :param description: a sentence; all that counts for errors, which have one shape.
    :param schema: JSON Schema 2020-12 of a JSON answer.
    :param examples: answers as they may be: JSON values, or text.
    :param media: the media type.
    """

    description: str
    schema: Mapping[str, Any] | None = None
    examples: tuple[Any, ...] = ()
    media: str = "application/json"
