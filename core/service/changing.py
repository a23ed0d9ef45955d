"""The way of a change: whether it may begin, its body, and its handler between two lines of the audit log."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import HttpVersion11, web

from jidoteki.core.addresses import parse_authority
from jidoteki.core.auth.authentication import FIRST_SETUP
from jidoteki.core.auth.gate import Authenticated
from jidoteki.core.http import confirming, dry_run
from jidoteki.core.http.bodies import Body
from jidoteki.core.http.forms import Form
from jidoteki.core.http.incoming import Incoming
from jidoteki.core.http.protocol import receive_body
from jidoteki.core.http.rendering import render
from jidoteki.core.http.routes import Route
from jidoteki.core.jobs.launch import BusyError
from jidoteki.core.logs.audit import AuditUnavailableError
from jidoteki.core.service import idempotency, keeping, previews
from jidoteki.core.service.admission import Admission
from jidoteki.core.service.file_sources import NamedFiles
from jidoteki.core.service.idempotency import Key
from jidoteki.core.service.refusals import refusing
from jidoteki.core.service.requests import ApiRequest, Change, handled
from jidoteki.hookspecs import ApiError, JsonResponse, Response

CROSS_SITE = ("cross-site", "same-site")


async def answer(admission: Admission, route: Route, form: Form) -> web.StreamResponse:
    """Carry out a request that changes the appliance, or judge it where it is a dry run."""
    service, attempt, found = admission.service, admission.attempt, admission.found
    request = attempt.request
    asked = dry_run.is_asked_for(request.query, form.kinds) or attempt.head
    change = Change(secrets.token_hex(8), asked, confirming.seconds(request.query, route.endpoint, form))
    if attempt.method == "POST":
        form.check_no_query(request.query)
    _check_meant(request, attempt.method, found)
    key = await service.idempotency.look(attempt, found.holder, change.dry_run)
    if key and change.confirm:
        key.target += f"?confirm={change.confirm}"
    if not (key and key.known):
        await _check_startable(admission, route)
    _ask_for_body(request)
    named = NamedFiles(service.generation.assembly.file_sources, partial(admission.request, values={}, change=change))
    limits = service.generation.limits
    incoming = Incoming(request, limits, found.body_digest)
    body = Body(
        incoming, form, limits, service.appliance.spool, service.room, service.buffers, found.user, named.find,
        hashed=key is not None,
    )  # fmt: skip
    sent, stream = b"", None
    try:
        if attempt.method == "GET":
            values = await form.query_values(request)
        elif route.endpoint.body:
            values, stream = await _streamed(route.endpoint.body, form, incoming, key)
        else:
            await admission.bounds(body.read())
            if key:
                sent = key.fingerprint(body.fields)
                if earlier := await key.earlier(sent):
                    await admission.note("request.repeated")
                    return earlier
            values = await body.values()
        answering = _audited(admission, route, change, admission.request(route.plugin, values, change, stream))
        response = await (answering if key is None else key.once(sent, answering))
        if response.status < 300 and not change.dry_run:
            await named.used()
        return response
    finally:
        await asyncio.shield(body.discard())


async def _check_startable(admission: Admission, route: Route) -> None:
    """Refuse a request whose job cannot start now, before its body comes."""
    jobs = admission.service.jobs
    if route.endpoint.starts:
        job = jobs.job_type(route.endpoint.starts)
        async with refusing(admission.service, job, "started"):
            if running := await asyncio.to_thread(jobs.launcher.busy, job.name):
                raise BusyError(running)


def _ask_for_body(request: web.BaseRequest) -> None:
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11:
        assert request.transport
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    receive_body(request)


async def _streamed(
    media: str, form: Form, incoming: Incoming, key: Key | None
) -> tuple[dict[str, Any], AsyncIterator[bytes]]:
    """The values of a request whose handler reads the body, and that."""
    if key:
        raise ApiError(400, f"{idempotency.HEADER} is for requests with a form")
    return await asyncio.to_thread(form.validate, {}), incoming.stream(media)


async def _audited(admission: Admission, route: Route, change: Change, api: ApiRequest) -> web.StreamResponse:
    """Execute a change between two audit lines; if the first cannot be written, do nothing."""
    if change.dry_run:
        await admission.check()
        return await render(previews.told(await _handled(admission, route, api), route, api), dry_run=True)
    audit, audited_as = admission.service.audit, route.endpoint.audited_as
    try:
        async with audit.change(change.id, api.client, api.user, admission.attempt.exact_target) as outcome:
            status = 500
            try:
                if route.endpoint.persist:
                    await keeping.check(api)
                await admission.check()
                made = await _handled(admission, route, api)
                if route.endpoint.persist:
                    made = await keeping.keep(api, made)
                response = await render(_naming_the_job(made, change.job_id))
                status = response.status
            except ApiError as error:
                status = error.status
                raise
            finally:
                outcome += [str(status), *filter(None, [change.job_id])]
    except AuditUnavailableError as error:
        raise ApiError(503, "The audit log cannot be written, so nothing may be changed") from error
    if status < 300 and audited_as:
        with suppress(AuditUnavailableError):
            await asyncio.to_thread(audit.write_original, *audited_as(api.values))
    return response


async def _handled(admission: Admission, route: Route, api: ApiRequest) -> Response:
    """Call the handler; one that reads the body itself is ended when its sender may send it no more."""
    handling = handled(route, api)
    return await (admission.bounds(handling) if route.endpoint.body else handling)


def _naming_the_job(response: Response, id: str) -> Response:
    """The answer with the `Job-Id` that each 202 has, also that of a handler which waited for its job."""
    if id and isinstance(response, JsonResponse) and response.status == 202:
        return dataclasses.replace(response, headers={"Job-Id": id, **response.headers})
    return response


def _check_meant(request: web.BaseRequest, method: str, found: Authenticated) -> None:
    """Refuse what a browser sends unasked: a GET that it fetches ahead, or a request for a page of another site.

    Of other requests that is the first setup alone: the others need a credential, which no other site has.

    :raises ApiError: 403.
    """
    purposes = (request.headers.get(name, "").lower() for name in ("Sec-Purpose", "Purpose", "X-Moz"))
    ahead = any("prefetch" in each or "prerender" in each for each in purposes)
    site = request.headers.get("Sec-Fetch-Site", "").lower()
    if method == "GET" and (ahead or site in CROSS_SITE):
        raise ApiError(403, "This address changes the appliance and is not for prefetching or other sites")
    if found.user == FIRST_SETUP.user.name and site in ("cross-site", "") and _is_foreign(request):
        raise ApiError(403, "The first setup is not for pages of other sites")


def _is_foreign(request: web.BaseRequest) -> bool:
    """Return whether a page of another host sent the request, as far as its browser says."""
    origin, host = request.headers.get("Origin"), parse_authority(request.headers.get("Host", ""))
    if origin is None or host is None:
        return False
    sender = parse_authority(origin.partition("://")[2])
    return sender is None or sender.host != host.host
