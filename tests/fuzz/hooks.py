"""What schemathesis must know of this API and cannot read in the document: how to sign, and which token must stay."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

from jidoteki.hookspecs.credentials import request_hash

KEEPS_THE_TOKEN = ("1", "true", "")


@schemathesis.auth(refresh_interval=None)
class Signature:
    """Signs each request with the hash of its method and path; a hash is not kept for the next one."""

    def get(self, case: Any, context: Any) -> str:
        """The hash."""
        return request_hash(case.method.upper(), case.operation.full_path, os.environ["JIDOTEKI_FUZZ_TOKEN"])

    def set(self, case: Any, data: str, context: Any) -> None:
        """Put it into the query."""
        case.query = {**(case.query or {}), "hash": data}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Let no `POST /setup` that would succeed change the token that every other request needs: make it a dry run."""
    changes = str((case.query or {}).get("dry-run", "0")) in ("0", "false")
    if case.operation.label == "POST /api/v1/admin/setup" and changes:
        case.query = {**(case.query or {}), "dry-run": "1"}
