"""The gate: every request is authenticated here, failures are slowed down and audited, scopes are held."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from dataclasses import dataclass

from aiohttp import web

from jidoteki.core import authority
from jidoteki.core.auth.authentication import FORBIDDEN, SETUP
from jidoteki.core.auth.credentials import credential_of
from jidoteki.core.auth.nonces import TooMany
from jidoteki.core.auth.signatures import WINDOW, NotSigned, Signed, verify
from jidoteki.core.auth.throttle import Gone, TooManyGuesses
from jidoteki.core.auth.users import Holder
from jidoteki.core.http.responses import Refused
from jidoteki.core.http.routes import Route
from jidoteki.core.logs.audit import AuditUnavailable
from jidoteki.core.service.service import Service
from jidoteki.hookspecs import PREFIX, ApiError

logger = logging.getLogger(__name__)

ESTABLISHED = 1
NEVER_SET_UP = f"{FORBIDDEN}: this appliance was never set up; begin with POST {SETUP} and a newtoken of your choice"


@dataclass(slots=True)  # not frozen: that takes three times as long to make, for each request
class Attempt:
    """A request that wants to get in.

    :param method: GET for HEAD.
    :param path: without the prefix, as it was sent.
    :param client: the address that it comes from.
    """

    request: web.BaseRequest
    route: Route
    method: str
    path: str
    client: str

    @property
    def target(self) -> str:
        """What the audit log says of it."""
        return f"{self.method} {PREFIX}{self.route.path}"


@dataclass(slots=True)
class Admitted:
    """Who it was that got in, and with what."""

    holder: Holder
    signed: Signed | None = None


async def admit(service: Service, attempt: Attempt) -> Admitted:
    """Return who it is, and may do this.

    :raises ApiError: 400 for two kinds of credential, 403, or 429 while too many guesses of this address wait.
    :raises ConnectionError: the client hung up.
    """
    if service.authenticator.lacks_passphrase():
        service.make_passphrase_soon()
    if service.nonces and "Signature-Input" in attempt.request.headers:
        await service.names.refresh()
    if service.throttle.is_free(attempt.client):
        admitted = _judge(service, attempt)
    else:
        admitted = await _judge_in_turn(service, attempt)
    if admitted is None:
        await note(service, attempt, "-", "authentication.failure", _original(service, attempt))
        raise ApiError(403, NEVER_SET_UP if service.authenticator.is_unset() else FORBIDDEN)
    user = admitted.holder.user
    if not user.may(attempt.method, attempt.route.path, attempt.route.changes):
        await note(service, attempt, user.name, "authorization.refused")
        raise ApiError(403, "This token may not do that")
    if admitted.signed:
        await _use_up(service, attempt, admitted.signed)
    return admitted


def in_force(service: Service, attempt: Attempt, admitted: Admitted) -> bool:
    """Whether a request would still be let in: its token, its scopes and the configuration may have changed since."""
    routes = service.routes.find(attempt.path) or {}
    route = routes.get(attempt.method)
    if route is None or route.endpoint is None or (admitted.signed and service.nonces is None):
        return False
    user = admitted.holder.user
    return service.authenticator.holder(user.name) == admitted.holder and user.may(
        attempt.method, route.path, route.changes
    )


async def note(
    service: Service, attempt: Attempt, user: str, action: str, original: tuple[str, str] | None = None
) -> None:
    """Note in the audit log what happens as often as clients like; reading goes on where that cannot be written."""
    with contextlib.suppress(AuditUnavailable):
        await asyncio.to_thread(service.audit.note, attempt.client, user, action, attempt.target, original)


def _original(service: Service, attempt: Attempt) -> tuple[str, str]:
    """What the original API calls a failed authentication, and what it says of the address."""
    if (attempt.method, attempt.route.path) == ("POST", SETUP):
        action = "token.setup.failed"
    else:
        action = "token.firstrun.failed" if service.first_run() else "token.authenticate.failed"
    return action, f"{PREFIX}{attempt.route.path}"[1:]


async def _judge_in_turn(service: Service, attempt: Attempt) -> Admitted | None:
    try:
        async with service.throttle.turn(attempt.client, lambda: _has_gone(attempt.request)):
            return _judge(service, attempt)
    except Gone as error:
        raise ConnectionResetError("The client hung up") from error
    except TooManyGuesses as error:
        headers = {"Retry-After": str(int(service.throttle.pause) + 1)}
        raise Refused(429, "Too many failed authentications from this address", headers) from error


def _judge(service: Service, attempt: Attempt) -> Admitted | None:
    """Judge the credential, and note a wrong one, in one step of the event loop."""
    admitted = _shown(service, attempt)
    if admitted is None:
        service.throttle.failed(attempt.client)
    return admitted


def _shown(service: Service, attempt: Attempt) -> Admitted | None:
    request = attempt.request
    credential = credential_of(request.rel_url.raw_query_string, request.headers.get("Authorization"))
    if service.nonces is None or "Signature-Input" not in request.headers:
        holder = service.authenticator.authenticate(attempt.method, attempt.path, credential)
        return Admitted(holder) if holder else None
    if credential is not None:
        raise ApiError(400, "Send one kind of credential: a signature, ?hash=, ?token= or the Authorization header")
    try:
        signed = verify(request, lambda keyid: getattr(service.authenticator.signer(keyid), "key", None))
    except NotSigned as error:
        logger.info("A signature of %s is refused: %s", attempt.client, error)
        return None
    _check_authority(service, request)
    holder = service.authenticator.signer(signed.keyid)
    return Admitted(holder, signed) if holder else None


def _check_authority(service: Service, request: web.BaseRequest) -> None:
    """Take a signature only if it was made for this appliance, whoever else takes the same token.

    :raises ApiError: 403, with what to do: it was shown to somebody who has the key.
    """
    host = request.headers.get("Host", "")
    named = authority.parse(host)
    transport = request.transport
    arrived_at = transport.get_extra_info("sockname") if transport else None
    if named is None or arrived_at is None or not service.names.include(named, arrived_at):
        raise ApiError(
            403,
            f"The signature is for {host}, which is no name of this appliance: sign for its address, its host name or "
            "a name in its certificate, with the port, or list the name in authentication.names",
        )


async def _use_up(service: Service, attempt: Attempt, signed: Signed) -> None:
    assert service.nonces
    try:
        fresh = service.nonces.use(signed)
    except TooMany as error:
        message = f"This key has signed too many requests within {2 * WINDOW} seconds"
        raise Refused(429, message, {"Retry-After": str(WINDOW)}) from error
    if not fresh:
        logger.warning("A request of %s was replayed", attempt.client)
        service.throttle.failed(attempt.client)
        await note(service, attempt, "-", "authentication.failure")
        raise ApiError(403, FORBIDDEN)
    try:
        await service.nonces.keep(signed)
    except OSError as error:
        raise ApiError(503, "The nonce of the signature cannot be stored, so the request is not answered") from error


def _has_gone(request: web.BaseRequest) -> bool:
    """Whether the client hung up: the kernel knows, also while nothing is read from the connection."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return True
    connection = transport.get_extra_info("socket")
    try:
        # The first byte of Linux' `struct tcp_info` is the state of the connection.
        return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED)
    except (OSError, AttributeError):
        return False
