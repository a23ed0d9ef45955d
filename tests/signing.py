"""Requests with signatures made as RFC 9421 says, without the library that verifies them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from multidict import CIMultiDict
from yarl import URL

NONCE = "abcdefgh12345678"
COVERED = ("@method", "@authority", "@path", "@query")


def digest_of(body: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


@dataclass
class Signing:
    """A request to sign; `request` returns it as the gate gets it.

    :param parameters: of the signature, as they are written.
    :param body: None for none.
    """

    token: str = "secret"
    method: str = "GET"
    path: str = "/api/v1/admin/version"
    query: str = ""
    host: str = "appliance.example:8443"
    covered: tuple[str, ...] = COVERED
    body: bytes | None = None
    created: float | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    label: str = "sig"

    def headers(self) -> CIMultiDict[str]:
        headers = CIMultiDict(Host=self.host)
        covered = self.covered
        if self.body is not None:
            headers["Content-Digest"] = digest_of(self.body)
            covered = (*covered, "content-digest")
        created = int(time.time() if self.created is None else self.created)
        named = {"created": str(created), "keyid": '"admin"', "nonce": f'"{NONCE}"', **self.parameters}
        components = " ".join(f'"{each}"' for each in covered)
        given = "".join(f";{name}={value}" for name, value in named.items() if value)
        described = f"({components}){given}"
        values = {
            "@method": self.method,
            "@authority": self.host,
            "@path": self.path,
            "@query": f"?{self.query}",
            "content-digest": headers.get("Content-Digest", ""),
        }
        base = "\n".join([*(f'"{each}": {values[each]}' for each in covered), f'"@signature-params": {described}'])
        key = hashlib.sha256(self.token.encode()).hexdigest().encode()
        signature = base64.b64encode(hmac.digest(key, base.encode(), "sha256")).decode()
        headers["Signature-Input"] = f"{self.label}={described}"
        headers["Signature"] = f"{self.label}=:{signature}:"
        return headers

    def request(self, **changed: Any) -> Any:
        """All that is read of a request, with its headers signed; `changed` afterwards."""
        target = f"{self.path}?{self.query}" if self.query else self.path
        made = {
            "method": self.method,
            "headers": self.headers(),
            "rel_url": URL(target, encoded=True),
            "scheme": "https",
            "can_read_body": self.body is not None,
            "transport": SimpleNamespace(
                get_extra_info={"sockname": ("127.0.0.1", 8443)}.get, is_closing=lambda: False
            ),
        }
        return SimpleNamespace(**{**made, **changed})
