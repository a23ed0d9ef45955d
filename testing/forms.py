"""The body of a form in the format of `curl -F`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping


def form(values: Mapping[str, str | bytes]) -> tuple[bytes | None, dict[str, str]]:
    """Return the body and the headers of a `multipart/form-data` form; None for a form without fields.

    :param values: texts, and files as bytes, by name.
    """
    if not values:
        return None, {}
    boundary = secrets.token_hex(16)
    parts = [_part(boundary, name, value) for name, value in values.items()]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def _part(boundary: str, name: str, value: str | bytes) -> bytes:
    file = f'; filename="{name}"' if isinstance(value, bytes) else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
