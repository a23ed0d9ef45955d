"""`Idempotency-Key`: a repeated request is not executed again, but gets the same response.

https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07. Each credential has its own keys.
Responses are kept for 24 hours, encrypted with the key itself, because some contain a secret that is shown once.
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
from jidoteki.core.auth.users import Holder
from jidoteki.core.http.answers import Whole
from jidoteki.core.http.parts import StoredUpload
from jidoteki.core.http.responses import json_response
from jidoteki.core.service.kept_answers import Kept, KeptAnswers, TooManyAnswersError
from jidoteki.core.service.refusals import RetryLaterError
from jidoteki.hookspecs import ApiError

logger = logging.getLogger(__name__)

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
MAX_ANSWER: Final = 64 * 1024
RETRY_AFTER: Final = {"Retry-After": "1"}
#: Statuses that mean that nothing was done, and the request may be repeated.
_AGAIN: Final = (403, 408, 429, 503)
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_RUNNING = "A request with this Idempotency-Key is being carried out: ask again in a moment"
_INTERRUPTED = (
    "A request with this Idempotency-Key was interrupted, and may have been carried out or not: see what became of it, "
    "and send it with another key if it has to be sent again"
)
_NOT_KEPT = "A request with this Idempotency-Key was carried out; its answer cannot be given again"


class Idempotency:
    """The keys in use.

    :param kept: the stored responses.
    """

    def __init__(self, kept: KeptAnswers) -> None:
        self.kept = kept
        self.running: set[bytes] = set()

    async def look(self, attempt: AuthenticationRequest, holder: Holder, dry_run: bool) -> Key | None:
        """The key of a request, before its body is read; None where it has none.

        The first setup needs none, which nobody has a token for, nor does a dry run.

        :raises ApiError: 400, it is invalid; 409, a request with it is running; 503, it cannot be looked up.
        """
        given = attempt.request.headers.getall(HEADER, ())
        if not given or attempt.method != "POST":
            return None
        if len(given) != 1 or not _KEY.fullmatch(given[0]):
            raise ApiError(400, f"{HEADER} must be one key of 1 to 255 printable characters")
        if dry_run or not holder.key:
            return None
        shown = given[0].encode()
        key = Key(
            self,
            hashlib.sha256(b"id\0" + holder.credential.encode() + b"\0" + shown).digest(),
            holder.credential,
            hashlib.sha256(b"answer\0" + holder.key + b"\0" + shown).digest(),
            f"{attempt.method} {attempt.path.rstrip('/')}",
        )
        key.known = await key.find() is not None
        return key


@dataclass(slots=True)
class Key:
    """The key of one request.

    :param id: the key in the database.
    :param credential: the name of its credential.
    :param secret: encrypts the response.
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
        """Return the stored record of the key.

        :raises ApiError: 409, a request with it is running; 503, it cannot be looked up.
        """
        self._check_running()
        found: Kept | None = await _in_thread(self._of.kept.find, self.id)
        return found

    def fingerprint(self, fields: Mapping[str, Any]) -> bytes:
        """Return a digest of the request's target and parameters, in any encoding of the form.

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
        """Return the response to the same request, if there was one before.

        :param sent: the request's fingerprint.
        :raises ApiError: the error that was returned before; 409, one is running or was interrupted; 422, it was a
            different request.
        """
        kept = await self.find()
        if kept is None:
            return None
        if kept.fingerprint != sent:
            raise ApiError(422, f"This {HEADER} was used for another request")
        self._check_running()
        if kept.answer is None:
            raise ApiError(409, _INTERRUPTED)
        return _restored(_decrypted(self.secret, kept.answer))

    async def once(self, sent: bytes, answering: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
        """Execute the request and store its response.

        :param sent: the request's fingerprint.
        :raises ApiError: the request's own error; 409, another one is running; 429 or 503, no more keys can be stored.
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
            if not await _in_thread(self._of.kept.begin, self.id, self.credential, sent):
                raise ApiError(409, _RUNNING, headers=RETRY_AFTER)
        except BaseException:
            self._of.running.discard(self.id)
            raise

    def _check_running(self) -> None:
        if self.id in self._of.running:
            raise ApiError(409, _RUNNING, headers=RETRY_AFTER)

    async def _keep(self, answering: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        stored: dict[str, Any] | None = {"error": [500, None, None, {}]}
        try:
            response = await answering
            stored = _recorded(response)
            return response
        except asyncio.CancelledError:
            stored = None  # the service is stopping, and the outcome is unknown
            raise
        except ApiError as error:
            stored = {"error": [error.status, error.message, error.code, error.headers]}
            if isinstance(error, RetryLaterError) or error.status in _AGAIN:
                stored = {}
            raise
        finally:
            await asyncio.shield(asyncio.ensure_future(self._finish(stored)))

    async def _finish(self, stored: dict[str, Any] | None) -> None:
        """Store the response; an empty one means that nothing was done, None that the outcome is unknown."""
        try:
            if stored == {}:
                await _in_thread(self._of.kept.forget, self.id)
            elif stored is not None:
                await _in_thread(self._of.kept.finish, self.id, _encrypted(self.secret, stored))
        except ApiError as error:
            logger.error("What was answered to an %s: %s", HEADER, error.message)
        finally:
            self._of.running.discard(self.id)


async def _in_thread(function: Any, *arguments: Any) -> Any:
    """Call a function of the database in a thread.

    :raises ApiError: 429 or 503.
    """
    try:
        return await asyncio.to_thread(function, *arguments)
    except TooManyAnswersError as error:
        raise ApiError(429 if error.own else 503, str(error), headers={"Retry-After": "3600"}) from error
    except OSError as error:
        raise ApiError(503, f"The {HEADER} cannot be stored, so nothing was done: {error}") from error


def _recorded(response: web.StreamResponse) -> dict[str, Any]:
    """Return the part of a response that is stored."""
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


def _restored(stored: Mapping[str, Any]) -> web.StreamResponse:
    """Return the stored response.

    :raises ApiError: it was an error.
    """
    if "error" in stored:
        status, message, code, headers = stored["error"]
        raise ApiError(status, message, code, {**headers, REPLAYED: "true"})
    body, headers = base64.b64decode(stored["body"]), {**stored["headers"], REPLAYED: "true"}
    if stored["whole"]:
        return json_response(body, stored["status"], headers)
    return web.Response(body=body, status=stored["status"], headers=headers)


def _encrypted(secret: bytes, stored: Mapping[str, Any]) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(secret).encrypt(nonce, json.dumps(stored).encode(), None)


def _decrypted(secret: bytes, content: bytes) -> dict[str, Any]:
    """Decrypt a stored response.

    :raises ApiError: 409, it is damaged.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        stored: dict[str, Any] = json.loads(AESGCM(secret).decrypt(content[:12], content[12:], None))
    except (InvalidTag, ValueError) as error:
        raise ApiError(409, _NOT_KEPT) from error
    return stored
