"""Requests that curl sends, with signatures made by the library that clients use."""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Answer, Host
from jidoteki.testing.fixtures import TOKEN


class Keys(HTTPSignatureKeyResolver):
    def __init__(self, token: str) -> None:
        self._token = token

    def resolve_private_key(self, key_id: str) -> bytes:
        return hashlib.sha256(self._token.encode()).hexdigest().encode()


class Message:
    """A request for the library to sign."""

    def __init__(self, method: str, url: str, headers: dict[str, str]) -> None:
        self.method, self.url, self.headers = method, url, headers


def sign(
    host: Host,
    method: str,
    path: str,
    body: bytes | None = None,
    token: str = TOKEN,
    keyid: str = "admin",
    covered: tuple[str, ...] = ("@method", "@authority", "@path", "@query"),
    age: float = 0,
    nonce: str | None = "new",
) -> dict[str, str]:
    """The headers of a signed request."""
    headers: dict[str, Any] = {"Host": host.url.removeprefix("https://")}
    if body is not None:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        headers["Content-Digest"] = f"sha-256=:{digest}:"
        covered = (*covered, "content-digest")
    message = Message(method, f"{host.url}{PREFIX}{path}", headers)
    HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=Keys(token)).sign(
        message,
        key_id=keyid,
        created=datetime.now(UTC) - timedelta(seconds=age),
        nonce=secrets.token_urlsafe(24) if nonce == "new" else nonce,
        covered_component_ids=covered,
        use_existing_digest=body is not None,
    )
    return {name: str(value) for name, value in message.headers.items() if name != "Host"}


def send(host: Host, method: str, path: str, headers: dict[str, str], *more: str, source: str = "127.0.0.1") -> Answer:
    arguments = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    return host.curl(method, path, *arguments, *more, auth="none", source=source)
