"""The gate: authenticates every request, throttles and audits failures, and enforces scopes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from dataclasses import dataclass

from aiohttp import web

from jidoteki.core.addresses import parse_authority
from jidoteki.core.auth.authentication import FORBIDDEN, SETUP, Authenticator
from jidoteki.core.auth.credentials import credential_of
from jidoteki.core.auth.nonces import Nonces, TooManyNoncesError
from jidoteki.core.auth.signatures import WINDOW, SignatureError, Signed, verify
from jidoteki.core.auth.throttle import ClientGoneError, Throttle, TooManyGuessesError
from jidoteki.core.auth.tickets import Tickets
from jidoteki.core.auth.users import Holder
from jidoteki.core.http.authority import Names
from jidoteki.core.http.routes import OutOfService, Route, Routes
from jidoteki.core.logs.audit import AuditLog, AuditUnavailableError
from jidoteki.hookspecs import PREFIX, ApiError

logger = logging.getLogger(__name__)

ESTABLISHED = 1
NEVER_SET_UP = f"{FORBIDDEN}: this appliance was never set up; begin with POST {SETUP} and a newtoken of your choice"


@dataclass(slots=True)  # not frozen: that takes three times as long to make, for each request
class AuthenticationRequest:
    """A request to be authenticated.

    :param method: GET for HEAD.
    :param path: without the prefix, as it was sent.
    :param client: the address of the client.
    :param head: whether HEAD was sent: what it is answered has no body, and it changes nothing.
    """

    request: web.BaseRequest
    route: Route | OutOfService
    method: str
    path: str
    client: str
    head: bool = False

    @property
    def target(self) -> str:
        """The target in the audit log of what clients can repeat at will."""
        return f"{self.method} {PREFIX}{self.route.path}"

    @property
    def exact_target(self) -> str:
        """The target of a change, with the parameter in its path."""
        return f"{self.method} {PREFIX}{self.path.rstrip('/')}"


@dataclass(slots=True)
class Authenticated:
    """The holder of an authenticated request's credential, and the signature of a signed request.

    :param filename: what the ticket of the request says that the downloaded file is called.
    """

    holder: Holder
    signed: Signed | None = None
    filename: str = ""

    @property
    def user(self) -> str:
        """The user's name."""
        return self.holder.user.name

    @property
    def body_digest(self) -> bytes | None:
        """The signed SHA-256 of the body; None without one."""
        return self.signed.digest if self.signed else None


@dataclass(frozen=True, slots=True)
class Gate:
    """Authenticates and authorizes the requests under one configuration.

    :param nonces: None where signatures are not accepted.
    :param names: the names of this appliance, one of which a signature must cover.
    :param tickets: what a request may show in the place of a credential, once.
    """

    authenticator: Authenticator
    nonces: Nonces | None
    names: Names
    throttle: Throttle
    audit: AuditLog
    tickets: Tickets

    async def admit(self, attempt: AuthenticationRequest) -> Authenticated:
        """Authenticate and authorize a request.

        :raises ApiError: 400 for two kinds of credential, 403, or 429 while too many guesses from this address wait.
        :raises ConnectionError: the client hung up.
        """
        if self.nonces and "Signature-Input" in attempt.request.headers:
            await self.names.refresh()
        if self.throttle.is_free(attempt.client):
            found = self._authenticate(attempt)
        else:
            found = await self._authenticate_in_turn(attempt)
        if found is None:
            await self.note(attempt, "-", "authentication.failure", self._original(attempt))
            raise ApiError(403, NEVER_SET_UP if self.authenticator.is_unset() else FORBIDDEN)
        if not found.holder.user.may(attempt.method, attempt.route.path, attempt.route.changes):
            await self.note(attempt, found.user, "authorization.refused")
            raise ApiError(403, "This token may not do that")
        if found.signed and self.nonces:
            await self._use_up(self.nonces, attempt, found.signed)
        return found

    def still_admits(self, routes: Routes, attempt: AuthenticationRequest, found: Authenticated) -> bool:
        """Return whether a request is still authorized: its token, scopes and the configuration may have changed."""
        route = (routes.find(attempt.path) or {}).get(attempt.method)
        if not isinstance(route, Route) or (found.signed and self.nonces is None):
            return False
        user = found.holder.user
        return self.authenticator.holder(user.name) == found.holder and user.may(
            attempt.method, route.path, route.changes
        )

    async def note(
        self, attempt: AuthenticationRequest, user: str, action: str, original: tuple[str, str] | None = None
    ) -> None:
        """Audit an event that clients can repeat at will; an audit log that cannot be written stops no reading."""
        with contextlib.suppress(AuditUnavailableError):
            await asyncio.to_thread(self.audit.note, attempt.client, user, action, attempt.target, original)

    def _original(self, attempt: AuthenticationRequest) -> tuple[str, str]:
        """Return the original API's action and target for a failed authentication."""
        if (attempt.method, attempt.route.path) == ("POST", SETUP):
            action = "token.setup.failed"
        else:
            action = "token.firstrun.failed" if self.authenticator.first_run_shown() else "token.authenticate.failed"
        return action, f"{PREFIX}{attempt.route.path}"[1:]

    async def _authenticate_in_turn(self, attempt: AuthenticationRequest) -> Authenticated | None:
        try:
            async with self.throttle.turn(attempt.client, lambda: _has_gone(attempt.request)):
                return self._authenticate(attempt)
        except ClientGoneError as error:
            raise ConnectionResetError("The client hung up") from error
        except TooManyGuessesError as error:
            headers = {"Retry-After": str(self.throttle.retry_after)}
            raise ApiError(429, "Too many failed authentications from this address", headers=headers) from error

    def _authenticate(self, attempt: AuthenticationRequest) -> Authenticated | None:
        """Check the credential and record a failure, in one step of the event loop."""
        found = self._check_credential(attempt)
        if found is None:
            self.throttle.failed(attempt.client)
        return found

    def _check_credential(self, attempt: AuthenticationRequest) -> Authenticated | None:
        request = attempt.request
        credential = credential_of(request.rel_url.raw_query_string, request.headers.get("Authorization"))
        is_signed = "Signature-Input" in request.headers
        if credential is None and not is_signed and attempt.method == "GET" and "ticket" in request.query:
            return self._with_ticket(attempt)
        if self.nonces is None or not is_signed:
            holder = self.authenticator.authenticate(attempt.method, attempt.path, credential)
            return Authenticated(holder) if holder else None
        if credential is not None:
            raise ApiError(400, "Send one kind of credential: a signature, ?hash=, ?token= or the Authorization header")
        try:
            signed = verify(request, lambda keyid: getattr(self.authenticator.signer(keyid), "key", None))
        except SignatureError as error:
            logger.info("A signature of %s is refused: %s", attempt.client, error)
            return None
        self._check_authority(request)
        holder = self.authenticator.signer(signed.keyid)
        return Authenticated(holder, signed) if holder else None

    def _with_ticket(self, attempt: AuthenticationRequest) -> Authenticated | None:
        """Whom a ticket was made for, as long as their credential is what it was then; it is used up by that."""
        shown = attempt.request.query.getall("ticket")
        if attempt.request.method != "GET" or len(shown) != 1:
            return None
        ticket = self.tickets.redeem(shown[0], attempt.path.removesuffix("/"))
        if ticket is None or self.authenticator.holder(ticket.holder.user.name) != ticket.holder:
            return None
        return Authenticated(ticket.holder, filename=ticket.filename)

    def _check_authority(self, request: web.BaseRequest) -> None:
        """Accept a signature only if it was made for this appliance, as others may have the same token.

        :raises ApiError: 403, with advice: the client has the key.
        """
        host = request.headers.get("Host", "")
        named = parse_authority(host)
        transport = request.transport
        arrived_at = transport.get_extra_info("sockname") if transport else None
        if named is None or arrived_at is None or not self.names.include(named, arrived_at):
            raise ApiError(
                403,
                f"The signature is for {host}, which is no name of this appliance: sign for its address, its host name "
                "or a name in its certificate, with the port, or list the name in authentication.names",
            )

    async def _use_up(self, nonces: Nonces, attempt: AuthenticationRequest, signed: Signed) -> None:
        try:
            fresh = nonces.use(signed)
        except TooManyNoncesError as error:
            message = f"This key has signed too many requests within {2 * WINDOW} seconds"
            raise ApiError(429, message, headers={"Retry-After": str(WINDOW)}) from error
        if not fresh:
            logger.warning("A request of %s was replayed", attempt.client)
            self.throttle.failed(attempt.client)
            await self.note(attempt, "-", "authentication.failure")
            raise ApiError(403, FORBIDDEN)
        try:
            await nonces.keep(signed)
        except OSError as error:
            raise ApiError(
                503, "The nonce of the signature cannot be stored, so the request is not answered"
            ) from error


def _has_gone(request: web.BaseRequest) -> bool:
    """Return whether the client hung up: the kernel knows even while nothing is read from the connection."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return True
    connection = transport.get_extra_info("socket")
    try:
        # The first byte of Linux' `struct tcp_info` is the state of the connection.
        return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED)
    except (OSError, AttributeError):
        return False
