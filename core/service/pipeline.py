"""The way of one request: route, authentication, form, handler, answer, with audit lines before and after a change."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from aiohttp import HttpVersion10, HttpVersion11, web

from jidoteki.core import docs_page
from jidoteki.core.auth.authentication import FORBIDDEN
from jidoteki.core.auth.gate import Authenticated, AuthenticationRequest
from jidoteki.core.http import authority, dry_run
from jidoteki.core.http.bodies import Body
from jidoteki.core.http.forms import Form
from jidoteki.core.http.protocol import authenticated, receive_body
from jidoteki.core.http.responses import Attachment, error_response, render
from jidoteki.core.http.routes import METHODS, OutOfService, Route, Routes
from jidoteki.core.http.streaming import Streamed
from jidoteki.core.logs.audit import AuditUnavailableError
from jidoteki.core.logs.service import CLIENT
from jidoteki.core.service import idempotency
from jidoteki.core.service.file_sources import NamedFiles
from jidoteki.core.service.requests import ApiRequest, refusal
from jidoteki.core.service.service import Service
from jidoteki.hookspecs import PREFIX, ApiError, FileDownload, JsonResponse, Response

logger = logging.getLogger(__name__)

CROSS_SITE = ("cross-site", "same-site")
BELOW = f"{PREFIX}/"
NOT_SERVED = f"Nothing is served here: {docs_page.PATH} shows what is"
KNOWN_METHODS = frozenset({*METHODS, "HEAD"})

T = TypeVar("T")


class Pipeline:
    """Answers every request of the service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._docs = docs_page.Docs()
        self._telling: set[asyncio.Future[None]] = set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """The one handler of the application; never raises but for a broken connection."""
        began = perf_counter()
        try:
            response = await self._answer(request)
        except ApiError as error:
            response = self._error(error)
        except web.HTTPException as error:
            response = self._error(ApiError(error.status))
        except ConnectionError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt):  # a plugin's sys.exit must not end the service
            logger.exception("%s %s failed", request.method, request.path)
            response = self._error(ApiError(500))
        method = request.method if request.method in KNOWN_METHODS else "other"
        self._service.answered[method, response.status] += 1
        self._service.figures.requests.observe(perf_counter() - began)
        if not request.content.at_eof():
            response.force_close()
        return response

    def _error(self, error: ApiError) -> web.StreamResponse:
        return error_response(error, self._service.generation.authenticator.first_run_shown())

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.version not in (HttpVersion11, HttpVersion10):
            raise ApiError(400, "Use HTTP/1.1")
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            raise ApiError(417, "The only expectation that can be met is 100-continue")
        authority.check(request)
        path = request.rel_url.raw_path
        if not path.startswith(BELOW):
            if docs_page.is_below(path):
                return await self._show_docs(request)
            raise ApiError(404, NOT_SERVED)
        path = path[len(PREFIX) :]
        generation = self._service.generation
        route, method = _route(generation.routes, request, path)
        client = generation.proxies.client_of(request)
        if client != request.remote:
            request[CLIENT] = client
        attempt = AuthenticationRequest(request, route, method, path, client)
        if generation.authenticator.lacks_passphrase():
            self._service.make_passphrase_soon()
        with generation.proxies.turn(request, client):
            return await self._serve(attempt, await generation.gate.admit(attempt))

    async def _serve(self, attempt: AuthenticationRequest, found: Authenticated) -> web.StreamResponse:
        route, request = attempt.route, attempt.request
        authenticated(request)
        if isinstance(route, OutOfService):
            raise ApiError(503, route.problem)
        api = ApiRequest(
            self._service.appliance,
            route.plugin.section,
            self._service,
            attempt.client,
            found.holder,
            request.headers,
            body_digest=found.body_digest,
        )
        form = route.form.with_path(route.values_in(attempt.path))
        if route.changes:
            return await self._change(route, attempt, found, api, form)
        api.values = await self._query_values(request, form)
        response = await self._handle(route, attempt, found, api)
        if isinstance(response, FileDownload):
            await self._check_again(attempt, found)
            original = route.endpoint.audited_as(api.values) if route.endpoint.audited_as else None
            await self._note(attempt, api.user, "download", original)
        rendered = await render(response)
        if type(rendered) is Attachment:  # isinstance would ask the abstract base classes of every other answer
            rendered.watch = partial(self._watch, attempt, found)
            if isinstance(response, FileDownload):
                rendered.resuming = api.resuming(response.filename, generated=response.generated)
        elif type(rendered) is Streamed:
            rendered.watch, rendered.streams = partial(self._watch, attempt, found), self._service.streams
        return rendered

    async def _handle(
        self, route: Route, attempt: AuthenticationRequest, found: Authenticated, api: ApiRequest
    ) -> Response:
        """Call the handler of a route, and count its failures.

        One that reads the body itself is ended when its sender may send it no more.
        """
        answering = route.endpoint.handler(api)
        try:
            return await (self._while_admitted(answering, attempt, found) if route.endpoint.body else answering)
        except (ApiError, web.HTTPException, ConnectionError, asyncio.CancelledError):
            raise
        except BaseException:
            self._service.figures.failures[route.plugin.name] += 1
            raise

    @contextmanager
    def _watch(self, attempt: AuthenticationRequest, found: Authenticated, end: Callable[[], None]) -> Iterator[None]:
        """End an answer that is being sent when who asked for it may have it no more."""

        def revoked() -> None:
            end()
            telling = asyncio.ensure_future(self._note(attempt, found.user, "authorization.revoked"))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

        with self._service.in_flight.watched(lambda: self._still_admits(attempt, found), revoked):
            yield

    def _still_admits(self, attempt: AuthenticationRequest, found: Authenticated) -> bool:
        """Whether what is in force now lets a request in that was let in before."""
        generation = self._service.generation
        return generation.gate.still_admits(generation.routes, attempt, found)

    async def _note(
        self, attempt: AuthenticationRequest, user: str, action: str, original: tuple[str, str] | None = None
    ) -> None:
        await self._service.generation.gate.note(attempt, user, action, original)

    async def _check_again(self, attempt: AuthenticationRequest, found: Authenticated) -> None:
        """Let nobody act whose token was changed or revoked since the request began.

        :raises ApiError: 403.
        """
        if not self._still_admits(attempt, found):
            await self._note(attempt, found.user, "authorization.revoked")
            raise ApiError(403, FORBIDDEN)

    async def _show_docs(self, request: web.BaseRequest) -> web.StreamResponse:
        """The pages that describe the API: outside of its prefix and without authentication."""
        if request.method not in ("GET", "HEAD"):
            raise ApiError(405, "Use GET", headers={"Allow": "GET, HEAD"})
        return await self._docs.answer(request, self._service.generation.routes)

    async def _query_values(self, request: web.BaseRequest, form: Form) -> dict[str, Any]:
        if form.is_empty:
            return {}
        given = {name: request.query.getall(name) for name in form.kinds if name in request.query}
        if not given and form.is_optional:
            return {}
        for name, values in given.items():
            if len(values) > 1:
                raise ApiError(400, f"{name} is given twice")
        return await asyncio.to_thread(form.validate, {name: values[0] for name, values in given.items()})

    async def _change(
        self, route: Route, attempt: AuthenticationRequest, found: Authenticated, api: ApiRequest, form: Form
    ) -> web.StreamResponse:
        request = attempt.request
        api.id = secrets.token_hex(8)
        api.dry_run = dry_run.is_asked_for(request.query, form.kinds) or request.method == "HEAD"
        if attempt.method == "POST":
            _check_query(request, form)
        if attempt.method == "GET" and _by_accident(request):
            raise ApiError(403, "This address changes the appliance and is not for prefetching or other sites")
        key = await self._service.idempotency.look(attempt, api) if idempotency.is_used(attempt, api) else None
        if route.endpoint.starts and not (key and key.known):
            running = await self._service.jobs.busy(route.endpoint.starts)
            if running:
                raise refusal(self._service.jobs.job_type(route.endpoint.starts), running)
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11:
            assert request.transport
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        receive_body(request)
        service = self._service
        named = NamedFiles(service.generation.assembly.file_sources, api)
        body = Body(
            request,
            form,
            service.generation.limits,
            service.appliance.spool,
            service.room,
            service.buffers,
            api.user,
            found.body_digest,
            named.find,
            hashed=key is not None,
        )
        sent = b""
        try:
            if attempt.method == "GET":
                api.values = await self._query_values(request, form)
            elif route.endpoint.body:
                if key:
                    raise ApiError(400, f"{idempotency.HEADER} is for requests with a form")
                api.values = await asyncio.to_thread(form.validate, {})
                api.stream = body.stream(route.endpoint.body)
            else:
                await self._while_admitted(body.read(), attempt, found)
                if key:
                    sent = key.fingerprint(body.fields)
                    if answer := await key.earlier(sent):
                        await self._note(attempt, api.user, "request.repeated")
                        return answer
                api.values = await body.values()
            answering = self._audited(route, attempt, found, api)
            response = await (answering if key is None else key.once(sent, answering))
            if response.status < 300 and not api.dry_run:
                await named.used()
            return response
        finally:
            await asyncio.shield(body.discard())

    async def _while_admitted(self, reading: Awaitable[T], attempt: AuthenticationRequest, found: Authenticated) -> T:
        """Read the body for as long as its sender may send it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as revoked:
                with self._service.in_flight.watched(
                    lambda: self._still_admits(attempt, found), lambda: revoked.reschedule(loop.time())
                ):
                    return await reading
        except TimeoutError:
            await self._check_again(attempt, found)
            raise

    async def _audited(
        self, route: Route, attempt: AuthenticationRequest, found: Authenticated, api: ApiRequest
    ) -> web.StreamResponse:
        """Carry out a change between two audit lines; without the first one nothing is done."""
        if api.dry_run:
            await self._check_again(attempt, found)
            return await render(await self._handle(route, attempt, found, api), dry_run=True)
        audit, endpoint = self._service.audit, route.endpoint
        try:
            await asyncio.to_thread(audit.write, api.id, api.client, api.user, "request.begun", attempt.target, True)
        except AuditUnavailableError as error:
            raise ApiError(503, "The audit log cannot be written, so nothing may be changed") from error
        status = 500
        try:
            await self._check_again(attempt, found)
            response = await render(_naming_the_job(await self._handle(route, attempt, found, api), api.job_id))
            status = response.status
            return response
        except ApiError as error:
            status = error.status
            raise
        finally:
            done = f"{attempt.target} {status} {api.job_id}".rstrip()
            try:
                await asyncio.to_thread(audit.write, api.id, api.client, api.user, "request.done", done)
                if status < 300 and endpoint.audited_as:
                    await asyncio.to_thread(audit.write_original, *endpoint.audited_as(api.values))
            except AuditUnavailableError:
                pass


def _route(routes: Routes, request: web.BaseRequest, path: str) -> tuple[Route | OutOfService, str]:
    """What answers a request, and its method, which is GET for HEAD from here on."""
    found = routes.find(path)
    if found is None:
        raise ApiError(404, NOT_SERVED)
    method = "GET" if request.method == "HEAD" else request.method
    route = found.get(method)
    if route is None:
        allowed = sorted({*found, "HEAD"} if "GET" in found else found)
        raise ApiError(405, f"Use {' or '.join(sorted(found))}", headers={"Allow": ", ".join(allowed)})
    return route, method


def _naming_the_job(response: Response, id: str) -> Response:
    """The answer with the `Job-Id` that each 202 has, also that of a handler which waited for its job."""
    if id and isinstance(response, JsonResponse) and response.status == 202:
        return dataclasses.replace(response, headers={"Job-Id": id, **response.headers})
    return response


def _check_query(request: web.BaseRequest, form: Form) -> None:
    """Refuse parameters of the form in the query, where they would be ignored.

    :raises ApiError: 400.
    """
    for name in form.kinds:
        if name in request.query:
            raise ApiError(400, f"{name} must be sent in the body, not in the query")


def _by_accident(request: web.BaseRequest) -> bool:
    """Whether a browser fetches ahead, or for a page of another site."""
    purposes = (request.headers.get(name, "").lower() for name in ("Sec-Purpose", "Purpose", "X-Moz"))
    return any("prefetch" in each or "prerender" in each for each in purposes) or (
        request.headers.get("Sec-Fetch-Site", "").lower() in CROSS_SITE
    )
