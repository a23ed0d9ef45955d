"""The gate: every request is authenticated here, failures are slowed down and audited, scopes are held."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from aiohttp import web

from jidoteki.core.audit import AuditUnavailable
from jidoteki.core.authentication import credential_of
from jidoteki.core.responses import Refused
from jidoteki.core.service import Service
from jidoteki.core.signatures import NotSigned, Signed, verify
from jidoteki.core.throttle import TooManyGuesses
from jidoteki.core.users import User
from jidoteki.hookspecs import PREFIX, ApiError

logger = logging.getLogger(__name__)

FORBIDDEN = "Authentication error"
SIGNED: web.RequestKey[Signed] = web.RequestKey("signed", Signed)


async def admit(service: Service, request: web.BaseRequest, method: str, path: str) -> User:
    """Return who it is.

    :param method: GET for HEAD.
    :param path: without the prefix.
    :raises ApiError: 400 for two kinds of credential, 403, or 429 while too many guesses of this address wait.
    """
    address = request.remote or "-"
    if service.throttle.is_free(address):
        user = _judge(service, request, method, path)
        if user is None:
            service.throttle.failed(address)
    else:
        user = await _judge_in_turn(service, request, method, path, address)
    if user is None:
        await _note_failure(service, address, f"{method} {PREFIX}{path}")
        raise ApiError(403, FORBIDDEN)
    if service.nonces and (signed := request.get(SIGNED)):
        try:
            await service.nonces.keep(signed)
        except OSError as error:
            raise ApiError(
                503, "The nonce of the signature cannot be stored, so the request is not answered"
            ) from error
    return user


async def _judge_in_turn(
    service: Service, request: web.BaseRequest, method: str, path: str, address: str
) -> User | None:
    try:
        async with service.throttle.turn(address):
            user = _judge(service, request, method, path)
            if user is None:
                service.throttle.failed(address)
            return user
    except TooManyGuesses as error:
        headers = {"Retry-After": str(int(service.throttle.pause) + 1)}
        raise Refused(429, "Too many failed authentications from this address", headers) from error


def _judge(service: Service, request: web.BaseRequest, method: str, path: str) -> User | None:
    """Judge the credential, in one step of the event loop."""
    credential = credential_of(request.rel_url.raw_query_string, request.headers.get("Authorization"))
    if service.nonces is None or "Signature-Input" not in request.headers:
        return service.authenticator.authenticate(method, path, credential)
    if credential is not None:
        raise ApiError(400, "Send one kind of credential: a signature, ?hash=, ?token= or the Authorization header")
    try:
        signed = verify(request, service.authenticator.signing_key)
    except NotSigned as error:
        logger.info("A signature of %s is refused: %s", request.remote, error)
        return None
    if not service.nonces.use(signed):
        logger.warning("A request of %s was replayed", request.remote)
        return None
    request[SIGNED] = signed
    return service.authenticator.signer(signed.keyid)


async def _note_failure(service: Service, address: str, target: str) -> None:
    with contextlib.suppress(AuditUnavailable):
        await asyncio.to_thread(service.audit.write, "-", address, "-", "authentication.failure", target)
