"""Shared parts of `Host` and `InProcessClient`: responses, credentials, configuration, audit log."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.credentials import request_hash


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the host."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def credential(method: str, path: str, token: str | None, auth: str) -> str:
    """Return the query that authenticates a request.

    :param path: without the prefix.
    :param auth: hash, token or none.
    :raises ValueError: the path has a query, which would be signed with it.
    """
    if auth == "none" or token is None:
        return ""
    if "?" in path:
        raise ValueError(f"{path}: a query does not belong to the path, but is passed as query=")
    return f"token={token}" if auth == "token" else f"hash={request_hash(method, PREFIX + path, token)}"


def configure(appliance: Appliance, sections: Mapping[str, object]) -> None:
    """Change keys of the configuration; `_` in a name stands for `-`."""
    document = json.loads(appliance.configuration.read_text())
    document.update({name.replace("_", "-"): value for name, value in sections.items()})
    appliance.replace_file(appliance.configuration, json.dumps(document))


def audit_lines(appliance: Appliance) -> list[list[str]]:
    """Return the lines of the audit log: time, id, location, user, action, target."""
    path = appliance.log / "jidoteki-audit.log"
    return list(csv.reader(path.read_text().splitlines())) if path.exists() else []


def is_audited(appliance: Appliance, action: str, target: str) -> bool:
    """Return whether the audit log has a line with this action and a target that begins with `target`."""
    return any(line[4] == action and line[5].startswith(target) for line in audit_lines(appliance))
