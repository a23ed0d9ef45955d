"""The JSON format of records."""

from __future__ import annotations

import json
from typing import Any

from jidoteki.hookspecs import JobRecord


def described(record: JobRecord) -> dict[str, Any]:
    """Return a record in the format of the API; times are whole seconds since the epoch."""
    shown: dict[str, Any] = {
        "id": record.id,
        "type": record.type,
        "status": record.status,
        "percentage": record.percentage,
        "started": int(record.started),
        "finished": None if record.ended is None else int(record.ended),
        "user": record.user,
        "client": record.client,
        "cancellable": record.cancellable,
    }
    if record.status == "failed":
        shown |= {"error-message": record.error_message, "error-code": record.error_code}
    if record.restarting:
        shown["restarting"] = record.restarting
    return shown


def encoded(answer: dict[str, Any]) -> bytes:
    """Return a response as compact JSON; characters that UTF-8 cannot encode are escaped."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
