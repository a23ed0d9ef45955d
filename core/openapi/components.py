"""The shared components of the document: schemas, error responses and headers."""

from __future__ import annotations

from typing import Any

from jidoteki.core.http.responses import status_line
from jidoteki.hookspecs import differences

_STRING = {"type": "string"}

SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "description": "Every error has this shape, whoever raises it",
        "required": ["Status"],
        "properties": {
            "Status": {"type": "string", "pattern": "^[45][0-9][0-9] .+$"},
            "Error-Message": {"type": "string", "description": "One sentence that says what is wrong"},
            "error-code": {"type": "string", "description": "A code for scripts"},
            "First-Run": {
                "type": "boolean",
                "description": "Only where first runs are enabled: whether the passphrase still waits for its use",
            },
            "error-field": {
                "type": "string",
                "pattern": "^(\\/([^\\/~]|~[01])*)+$",
                "description": "JSON pointer of the parameter at fault, or of the value inside it",
                "examples": ["/settings/network/ip_address"],
            },
        },
        "additionalProperties": False,
    },
    "Done": {
        "type": "object",
        "required": ["Status"],
        "properties": {
            "Status": _STRING,
            "warnings": {"type": "array", "items": _STRING, "description": "What was done otherwise, or not at all"},
            "dry-run": {"const": True, "description": "Nothing was changed"},
            "changes": differences.SCHEMA,
        },
        "additionalProperties": False,
    },
    "Accepted": {
        "type": "object",
        "description": "A job was started and goes on in the background; poll Location until it has ended",
        "required": ["Status"],
        "properties": {
            "Status": {"const": "202 Accepted"},
            "Location": {"type": "string", "description": "Where to look how the job goes"},
            "warnings": {
                "type": "array",
                "items": _STRING,
                "description": "What is allowed and most likely a mistake",
            },
            "dry-run": {"const": True, "description": "No job was started"},
            "changes": differences.SCHEMA,
        },
        "additionalProperties": False,
    },
    "JobStatus": {
        "type": "object",
        "description": "How the last job of this kind went, or goes",
        "required": ["status", "log"],
        "properties": {
            "status": {
                "type": ["string", "null"],
                "description": "running, success, failed, cancelled, or what another tool says. null: nothing ran yet",
            },
            "percentage": {"description": "A number from 0 to 100, or what another tool says"},
            "log": {"type": ["string", "null"], "description": "The last ten lines"},
            "restarting": {**_STRING, "description": "There while the job waits for a restart of the appliance: why"},
            "error-message": _STRING,
            "error-code": _STRING,
        },
        "additionalProperties": {"description": "What else another tool says in the status file"},
    },
}

HEADERS: dict[str, Any] = {
    "Error-Message": {"description": "The message of the body, up to 512 characters", "schema": _STRING},
    "Location": {"description": "Where to look how the job goes", "schema": _STRING},
    "Job-Id": {"description": "The number of the job that was started", "schema": _STRING},
    "Retry-After": {"description": "Seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "Content-Range": {"description": "Which part this is, and of how many bytes", "schema": _STRING},
    "Preference-Applied": {"description": "What of the header Prefer was followed", "schema": _STRING},
    "Content-Disposition": {"description": "attachment, with the file's name", "schema": _STRING},
}

_ERRORS = {
    400: ("BadRequest", "A parameter is missing, unknown, given twice or not valid; or it cannot be done now"),
    403: ("Forbidden", "Not authenticated"),
    404: ("NotFound", "What this shows is not there"),
    408: ("RequestTimeout", "The body came too slowly, or stopped coming"),
    409: ("Conflict", "A request with this Idempotency-Key is being carried out, or was interrupted"),
    413: ("ContentTooLarge", "The body or a part of it is too long"),
    415: ("UnsupportedMediaType", "The body is no form"),
    417: ("ExpectationFailed", "The header Expect asks for more than 100-continue"),
    422: ("UnprocessableContent", "The Idempotency-Key was used for another request"),
    429: ("TooManyRequests", "Too many failed authentications from this address"),
    500: ("InternalError", "An internal error: the service's log has the details"),
    503: ("ServiceUnavailable", "Out of service: the log cannot be written, or a plugin or program failed"),
}

EVERYWHERE = (400, 403, 417, 429, 500, 503)
WITH_BODY = (408, 413, 415)
WITH_KEY = (409, 422)


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def headers(*names: str) -> dict[str, Any]:
    """Return references to shared headers."""
    return {name: _reference(name) for name in names}


def error(status: int, description: str) -> dict[str, Any]:
    """Return an error response."""
    names = ("Error-Message", "Retry-After") if status == 429 else ("Error-Message",)
    example = {"Status": status_line(status), "Error-Message": description}
    if status == 403:
        example["Error-Message"] = "Authentication error"
    return {
        "description": description,
        "headers": headers(*names),
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "example": example},
        },
    }


NOTHING: dict[str, Any] = {
    "description": "Nothing to show, for who prefers that to 404",
    "headers": headers("Preference-Applied"),
}


def shared_error(status: int) -> dict[str, str]:
    """Return a reference to a shared error response."""
    return {"$ref": f"#/components/responses/{_ERRORS[status][0]}"}


RESPONSES: dict[str, Any] = {
    **{name: error(status, description) for status, (name, description) in _ERRORS.items()},
    "NotModified": {"description": "You have it already"},
    "PreconditionFailed": error(412, "A condition of the request does not hold"),
    "RangeNotSatisfiable": error(416, "No such part") | {"headers": headers("Content-Range", "Error-Message")},
    "OtherError": {
        "description": "An error that a plugin raises",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    },
}
