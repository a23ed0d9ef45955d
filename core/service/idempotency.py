"""`Idempotency-Key`: what was done for a key is not done twice, but answered as before.

https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07. A key is its credential's own. What
is answered is kept for 24 hours, encrypted with the key itself: some answers hold a secret that is shown once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import re
import secrets
from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from jidoteki.core.auth.gate import AuthenticationRequest
from jidoteki.core.http.answers import Whole
from jidoteki.core.http.parts import StoredUpload
from jidoteki.core.http.responses import json_response
from jidoteki.core.service.kept_answers import Kept, KeptAnswers, TooManyAnswersError
from jidoteki.core.service.requests import ApiRequest, RetryLaterError
from jidoteki.hookspecs import ApiError

logger = logging.getLogger(__name__)

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
MAX_ANSWER: Final = 64 * 1024
RETRY_AFTER: Final = {"Retry-After": "1"}
#: Such an answer says that nothing was done, and to try again.
_AGAIN: Final = (403, 408, 429, 503)
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_RUNNING = "A request with this Idempotency-Key is being carried out: ask again in a moment"
_INTERRUPTED = (
    "A request with this Idempotency-Key was interrupted, and may have been carried out or not: see what became of it, "
    "and send it with another key if it has to be sent again"
)
_NOT_KEPT = "A request with this Idempotency-Key was carried out; its answer cannot be given again"


def is_used(attempt: AuthenticationRequest, request: ApiRequest) -> bool:
    """Whether a request has such a key; dry runs need none, nor does the first setup, which nobody has a token for."""
    named = attempt.method == "POST" and HEADER in attempt.request.headers
    return named and not request.dry_run and bool(request.holder.key)


class Idempotency:
    """Knows the keys that were used.

    :param kept: where answers are kept.
    """

    def __init__(self, kept: KeptAnswers) -> None:
        self.kept = kept
        self.running: set[bytes] = set()

    async def look(self, attempt: AuthenticationRequest, request: ApiRequest) -> Key:
        """The key of a request, before its body is read.

        :raises ApiError: 400, it is none; 409, a request with it is being carried out; 503, it cannot be looked up.
        """
        given = attempt.request.headers.getall(HEADER)
        if len(given) != 1 or not _KEY.fullmatch(given[0]):
            raise ApiError(400, f"{HEADER} must be one key of 1 to 255 printable characters")
        shown = given[0].encode()
        key = Key(
            self,
            hashlib.sha256(b"id\0" + request.credential.encode() + b"\0" + shown).digest(),
            request.credential,
            hashlib.sha256(b"answer\0" + request.holder.key + b"\0" + shown).digest(),
            f"{attempt.method} {attempt.path.rstrip('/')}",
        )
        key.known = await key.find() is not None
        return key


@dataclass(slots=True)
class Key:
    """The key of one request.

    :param id: what it is kept under.
    :param credential: whose it is.
    :param secret: what the answer is encrypted with.
    :param target: method and path.
    :param known: whether it was used before.
    """

    _of: Idempotency
    id: bytes
    credential: str
    secret: bytes
    target: str
    known: bool = False

    async def find(self) -> Kept | None:
        """What is known of the key.

        :raises ApiError: 409, a request with it is being carried out; 503, it cannot be looked up.
        """
        self._check_running()
        found: Kept | None = await _stored(self._of.kept.find, self.id)
        return found

    def fingerprint(self, fields: Mapping[str, Any]) -> bytes:
        """What the request is told from another one by: its target and its parameters, whatever form they came in.

        :param fields: the parameters as they were sent.
        """
        whole = hashlib.sha256(self.target.encode())
        for name in sorted(fields):
            value = fields[name]
            if isinstance(value, StoredUpload):
                digest = value.digest
            else:
                digest = hashlib.sha256(value if isinstance(value, bytes) else str(value).encode()).digest()
            whole.update(hashlib.sha256(name.encode()).digest() + digest)
        return whole.digest()

    async def earlier(self, sent: bytes) -> web.StreamResponse | None:
        """The answer to the same request, when there was one before.

        :param sent: the fingerprint of its parameters.
        :raises ApiError: the error that was answered before; 409, one is being carried out or was interrupted; 422, it
            was another request.
        """
        kept = await self.find()
        if kept is None:
            return None
        if kept.fingerprint != sent:
            raise ApiError(422, f"This {HEADER} was used for another request")
        self._check_running()
        if kept.answer is None:
            raise ApiError(409, _INTERRUPTED)
        return _answer(_decrypted(self.secret, kept.answer))

    async def once(self, sent: bytes, answering: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
        """Carry the request out and keep its answer.

        :param sent: the fingerprint of its parameters.
        :raises ApiError: what it is answered; 409, another one is being carried out; 429 or 503, no more keys can be
            kept.
        """
        try:
            await self._begin(sent)
        except BaseException:
            answering.close()
            raise
        return await self._keep(answering)

    async def _begin(self, sent: bytes) -> None:
        self._check_running()
        self._of.running.add(self.id)
        try:
            if not await _stored(self._of.kept.begin, self.id, self.credential, sent):
                raise ApiError(409, _RUNNING, headers=RETRY_AFTER)
        except BaseException:
            self._of.running.discard(self.id)
            raise

    def _check_running(self) -> None:
        if self.id in self._of.running:
            raise ApiError(409, _RUNNING, headers=RETRY_AFTER)

    async def _keep(self, answering: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        told: dict[str, Any] | None = {"error": [500, None, None, {}]}
        try:
            response = await answering
            told = _told(response)
            return response
        except asyncio.CancelledError:
            told = None  # the service ends, and nobody knows what became of it
            raise
        except ApiError as error:
            told = {"error": [error.status, error.message, error.code, error.headers]}
            if isinstance(error, RetryLaterError) or error.status in _AGAIN:
                told = {}
            raise
        finally:
            await asyncio.shield(asyncio.ensure_future(self._finish(told)))

    async def _finish(self, told: dict[str, Any] | None) -> None:
        """Keep what was answered: an empty answer means that nothing was done, none that it is not known."""
        try:
            if told == {}:
                await _stored(self._of.kept.forget, self.id)
            elif told is not None:
                await _stored(self._of.kept.finish, self.id, _encrypted(self.secret, told))
        except ApiError as error:
            logger.error("What was answered to an %s: %s", HEADER, error.message)
        finally:
            self._of.running.discard(self.id)


async def _stored(function: Any, *arguments: Any) -> Any:
    """Call a function of what is kept in a thread.

    :raises ApiError: 429 or 503.
    """
    try:
        return await asyncio.to_thread(function, *arguments)
    except TooManyAnswersError as error:
        raise ApiError(429 if error.own else 503, str(error), headers={"Retry-After": "3600"}) from error
    except OSError as error:
        raise ApiError(503, f"The {HEADER} cannot be stored, so nothing was done: {error}") from error


def _told(response: web.StreamResponse) -> dict[str, Any]:
    """What of an answer is kept."""
    if isinstance(response, Whole):
        body, headers, whole = response.content, response.more, True
    elif isinstance(response, web.Response) and isinstance(response.body, bytes | None):
        body, headers, whole = response.body or b"", response.headers, False
    else:
        return {"error": [409, _NOT_KEPT, None, {}]}
    if len(body) > MAX_ANSWER:
        return {"error": [409, _NOT_KEPT, None, {}]}
    return {
        "status": response.status,
        "headers": dict(headers),
        "whole": whole,
        "body": base64.b64encode(body).decode(),
    }


def _answer(told: Mapping[str, Any]) -> web.StreamResponse:
    """The answer as it was.

    :raises ApiError: it was an error.
    """
    if "error" in told:
        status, message, code, headers = told["error"]
        raise ApiError(status, message, code, {**headers, REPLAYED: "true"})
    body, headers = base64.b64decode(told["body"]), {**told["headers"], REPLAYED: "true"}
    if told["whole"]:
        return json_response(body, told["status"], headers)
    return web.Response(body=body, status=told["status"], headers=headers)


def _encrypted(secret: bytes, told: Mapping[str, Any]) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(secret).encrypt(nonce, json.dumps(told).encode(), None)


def _decrypted(secret: bytes, content: bytes) -> dict[str, Any]:
    """What was encrypted.

    :raises ApiError: 409, it is damaged.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        told: dict[str, Any] = json.loads(AESGCM(secret).decrypt(content[:12], content[12:], None))
    except (InvalidTag, ValueError) as error:
        raise ApiError(409, _NOT_KEPT) from error
    return told
