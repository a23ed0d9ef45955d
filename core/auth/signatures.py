"""Signed requests: HTTP Message Signatures (RFC 9421) with HMAC-SHA256, each valid once.

A signature covers `@method`, `@authority`, `@path` and `@query`, and `content-digest` (RFC 9530) with any method that
may have a body, even if that is empty. It has the parameters `created`, `nonce` and `keyid`, the name of the token that
it is made with (`admin`, or a named token's). The key is the one of `?hash=`: the hexadecimal SHA-256 of the token. It
is valid only for the appliance whose name or address is its `@authority`: see `authority.Names`.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiohttp import web

WINDOW = 300
MAX_HEADERS = 1024
WITHOUT_BODY = ("GET", "HEAD")
SIGNED_BY = ("Signature", "Signature-Input", "Content-Digest")
#: Serialized, without parameters: `"@method";req` is another one.
COVERED = frozenset(('"@method"', '"@authority"', '"@path"', '"@query"'))
ONE = "there must be exactly one signature, of @method and the rest"
_NONCE = re.compile(r"[\x21-\x7e]{16,128}")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")

KeyOf = Callable[[str], bytes | None]


class SignatureError(Exception):
    """An invalid signature; the message is the reason, for the log only."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A valid signature.

    :param digest: SHA-256 that the body must have; None with methods that have no body.
    """

    keyid: str
    nonce: str
    created: int
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class _Message:
    """A request in the shape that the library expects."""

    method: str
    url: str
    headers: Any


def verify(request: web.BaseRequest, key_of: KeyOf) -> Signed:
    """Verify the signature of a request.

    :param key_of: returns the key of a keyid.
    :raises SignatureError: it is missing, wrong, too long, expired, or covers too little.
    """
    headers = request.headers
    if sum(len(each) for name in SIGNED_BY for each in headers.getall(name, ())) > MAX_HEADERS:
        raise SignatureError(f"its headers are longer than {MAX_HEADERS} characters")
    # Before the library parses them, which costs more than all the rest of a request.
    if sum(each.count('"@method"') for each in headers.getall("Signature-Input", ())) != 1:
        raise SignatureError(ONE)
    import http_message_signatures as library

    class Keys(library.HTTPSignatureKeyResolver):
        def resolve_public_key(self, key_id: str) -> bytes:
            key = key_of(key_id)
            if key is None:
                raise SignatureError("nobody has this key")
            return key

    body = request.method not in WITHOUT_BODY or request.can_read_body
    covered = COVERED | {'"content-digest"'} if body else COVERED
    verifier = library.HTTPMessageVerifier(signature_algorithm=library.algorithms.HMAC_SHA256, key_resolver=Keys())
    # From the same parts that the request is dispatched by; `authority.check` ensured that none of them can end early.
    target = request.rel_url
    url = f"{request.scheme}://{headers.get('Host', '')}{target.raw_path}?{target.raw_query_string}"
    try:
        results = verifier.verify(
            _Message(request.method, url, headers),
            max_age=timedelta(seconds=WINDOW),
        )
    except SignatureError:
        raise
    except Exception as error:  # the library's parsers raise any exception on hostile headers
        raise SignatureError(f"{type(error).__name__}: {error}") from error
    # Not by `require_components`: the library parses these names with each request, even of those without a key.
    for result in results:
        if missing := covered - result.covered_components.keys():
            raise SignatureError(f"it does not cover {', '.join(sorted(missing))}")
    return _signed(results, headers.get("Content-Digest", "") if body else None)


def _signed(results: Any, digest_header: str | None) -> Signed:
    if len(results) != 1:
        raise SignatureError(ONE)
    parameters = results[0].parameters
    keyid, nonce, created = (parameters.get(name) for name in ("keyid", "nonce", "created"))
    if not isinstance(keyid, str) or not isinstance(nonce, str) or not _NONCE.fullmatch(nonce):
        raise SignatureError("keyid and nonce (16 to 128 printable characters) must be there")
    if not isinstance(created, int) or abs(time.time() - created) > WINDOW:
        raise SignatureError(f"it was not created within the last {WINDOW} seconds")
    return Signed(keyid, nonce, created, None if digest_header is None else _digest(digest_header))


def _digest(header: str) -> bytes:
    match = _DIGEST.fullmatch(header.strip())
    if match is None:
        raise SignatureError("Content-Digest must be one sha-256 digest")
    return base64.b64decode(match[1])
