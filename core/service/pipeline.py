"""The way of one request: route, authentication, form, handler, answer."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from time import perf_counter

from aiohttp import HttpVersion10, HttpVersion11, web

from jidoteki.core import docs_page
from jidoteki.core.auth.gate import AuthenticationRequest
from jidoteki.core.http import authority
from jidoteki.core.http.forms import Form
from jidoteki.core.http.protocol import authenticated
from jidoteki.core.http.rendering import Attachment, render
from jidoteki.core.http.responses import SECURITY_HEADERS, error_response, told
from jidoteki.core.http.routes import METHODS, OutOfService, Route, Routes
from jidoteki.core.http.streaming import Streamed
from jidoteki.core.logs.service import CLIENT
from jidoteki.core.pages.serving import Pages
from jidoteki.core.service import changing
from jidoteki.core.service.admission import Admission
from jidoteki.core.service.requests import handled
from jidoteki.core.service.service import Service
from jidoteki.hookspecs import PREFIX, ApiError, FileDownload, Visit

logger = logging.getLogger(__name__)

BELOW = f"{PREFIX}/"
NOT_SERVED = f"Nothing is served here: {docs_page.PATH} shows what is"
NO_CONTENT = "nothing=204"
KNOWN_METHODS = frozenset({*METHODS, "HEAD"})


class Pipeline:
    """The handler of all requests of the service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pages = Pages()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; raises nothing but ConnectionError."""
        began = perf_counter()
        try:
            response = await self._answer(request)
        except ApiError as error:
            response = self._error(error)
        except web.HTTPException as error:
            response = self._error(ApiError(error.status))
        except ConnectionError:
            raise
        except PermissionError as error:  # such as a file that root made in the service's place
            logger.exception("%s %s failed", request.method, request.path)
            response = self._error(_closed(error))
        except (Exception, SystemExit, KeyboardInterrupt):  # a plugin's sys.exit must not stop the service
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
        head = request.method == "HEAD"
        method = "GET" if head else request.method
        path = request.rel_url.raw_path
        if not path.startswith(BELOW):
            return await self._show_page(request)
        path = path[len(PREFIX) :]
        generation = self._service.generation
        route = _route(generation.routes, method, path)
        client = generation.proxies.client_of(request)
        if client != request.remote:
            request[CLIENT] = client
        attempt = AuthenticationRequest(request, route, method, path, client, head)
        if generation.authenticator.lacks_passphrase():
            self._service.make_passphrase_soon()
        with generation.proxies.turn(request, client):
            found = await generation.gate.admit(attempt)
            authenticated(request)
            if isinstance(route, OutOfService):
                raise ApiError(503, route.problem)
            admission = Admission(self._service, attempt, found)
            form = route.form.with_path(route.values_in(path))
            return await (changing.answer if route.changes else self._read)(admission, route, form)

    async def _read(self, admission: Admission, route: Route, form: Form) -> web.StreamResponse:
        """Answer a request that changes nothing."""
        try:
            return await self._shown(admission, route, form)
        except ApiError as error:
            if error.status != 404 or not _prefers_no_content(admission.attempt.request):
                raise
            _, reason = told(error)
            return web.Response(status=204, headers={**SECURITY_HEADERS, **reason, "Preference-Applied": NO_CONTENT})

    async def _shown(self, admission: Admission, route: Route, form: Form) -> web.StreamResponse:
        values = await form.query_values(admission.attempt.request)
        api = admission.request(route.plugin, values)
        response = await handled(route, api)
        if isinstance(response, FileDownload):
            await admission.check()
            original = route.endpoint.audited_as(values) if route.endpoint.audited_as else None
            await admission.note("download", original)
        rendered = await render(response, filename=admission.found.filename)
        if type(rendered) is Attachment:  # isinstance would ask the abstract base classes of every other answer
            rendered.watch = admission.watch
            if isinstance(response, FileDownload):
                rendered.resuming = api.resuming(response.filename, generated=response.generated)
        elif type(rendered) is Streamed:
            rendered.watch, rendered.streams = admission.watch, self._service.streams
            rendered.failed = partial(self._stream_failed, route)
        return rendered

    def _stream_failed(self, route: Route, error: Exception) -> None:
        self._service.figures.failures[route.plugin.name] += 1
        target = f"{route.endpoint.method} {route.path}"
        logger.error("The plugin %s failed in the middle of %s", route.plugin.name, target, exc_info=error)

    async def _show_page(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request outside of the API, without authentication."""
        generation = self._service.generation
        visit = Visit(generation.authenticator.setup_state())
        page = await self._pages.answer(request, generation.assembly.pages, visit)
        if page is None:
            raise ApiError(404, NOT_SERVED)
        return page


def _prefers_no_content(request: web.BaseRequest) -> bool:
    """Return whether the client prefers 204 to 404 at an endpoint with nothing to show; RFC 7240 has the header.

    Browsers report each 404 as an error on their console, where nothing is wrong.
    """
    return any(each.strip().lower() == NO_CONTENT for each in request.headers.get("Prefer", "").split(","))


def _closed(error: PermissionError) -> ApiError:
    """Return the error for a file that the service's user cannot use."""
    if not isinstance(error.filename, str):
        return ApiError(500)
    return ApiError(500, f"The service cannot use the file {Path(error.filename).name}: {error.strerror}")


def _route(routes: Routes, method: str, path: str) -> Route | OutOfService:
    """What answers a request; its method is GET for HEAD."""
    found = routes.find(path)
    if found is None:
        raise ApiError(404, NOT_SERVED)
    route = found.get(method)
    if route is None:
        allowed = sorted({*found, "HEAD"} if "GET" in found else found)
        raise ApiError(405, f"Use {' or '.join(sorted(found))}", headers={"Allow": ", ".join(allowed)})
    return route
