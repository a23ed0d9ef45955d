"""A gate with stand-ins for what it is given, and requests that come to it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict
from yarl import URL

from jidoteki.core.appliance import Appliance
from jidoteki.core.auth.authentication import Authenticator
from jidoteki.core.auth.gate import Authenticated, AuthenticationRequest, Gate
from jidoteki.core.auth.nonces import Nonces
from jidoteki.core.auth.throttle import Throttle
from jidoteki.core.auth.tickets import Tickets
from jidoteki.core.http.routes import Route
from jidoteki.core.logs.audit import AuditUnavailableError
from jidoteki.hookspecs import ApiError
from jidoteki.hookspecs.credentials import secret_of

PREFIX = "/api/v1/admin"
CLIENT = "192.0.2.7"


class Names:
    """Those that the test gives."""

    def __init__(self) -> None:
        self.ours = True
        self.refreshed = 0
        self.asked: list[tuple[Any, Any]] = []

    async def refresh(self) -> None:
        self.refreshed += 1

    def include(self, authority: Any, connection: Any) -> bool:
        self.asked.append((authority, connection))
        return self.ours


class Audit:
    """What was noted."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []
        self.full = False

    def note(self, *line: Any) -> None:
        if self.full:
            raise AuditUnavailableError
        self.notes.append(line)


class Door:
    """A gate with all its parts."""

    def __init__(
        self, root: Path, token: str | None = "secret", signatures: bool = True, first_run: bool = False
    ) -> None:
        self.appliance = Appliance(root, root / "admin")
        self.appliance.etc.mkdir(parents=True, exist_ok=True)
        if token is not None:
            (self.appliance.etc / "api.token").write_text(token)
        robot = {"key": secret_of(b"r2").decode(), "scopes": ["GET /version"]}
        (self.appliance.etc / "api.tokens.json").write_text(json.dumps({"tokens": {"robot": robot}}))
        self.names, self.audit = Names(), Audit()
        self.pause = 30.0
        self.throttle = Throttle(lambda: self.pause)
        self.nonces = Nonces(self.appliance.etc) if signatures else None
        self.gate = Gate(
            Authenticator(self.appliance, first_run, 5, named_tokens=True), self.nonces, self.names,  # type: ignore[arg-type]
            self.throttle, self.audit, Tickets(),  # type: ignore[arg-type]  # all that is used of them
        )  # fmt: skip

    async def admit(self, attempt: AuthenticationRequest) -> Authenticated:
        return await self.gate.admit(attempt)

    async def refused(self, attempt: AuthenticationRequest) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await self.admit(attempt)
        return caught.value


def route(path: str = "/version", changes: bool = False) -> Any:
    return Route(path, None, None, None, changes)  # type: ignore[arg-type]  # the gate reads no more


def attempt(
    query: str = "",
    method: str = "GET",
    path: str = "/version",
    authorization: str | None = None,
    changes: bool = False,
) -> AuthenticationRequest:
    headers = CIMultiDict({"Authorization": authorization} if authorization else {})
    url = URL(f"{PREFIX}{path}?{query}", encoded=True)
    request: Any = SimpleNamespace(method=method, headers=headers, rel_url=url, query=url.query, transport=None)
    return AuthenticationRequest(request, route(path, changes), method, path, CLIENT)
