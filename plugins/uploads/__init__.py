"""Resumable uploads with the protocol tus 1.0.0.

A finished one replaces a file in a form, as the text `upload:ID`: `POST /update` with `update=upload:ID`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import (
    PREFIX,
    ApiError,
    Appliance,
    Endpoint,
    FileSource,
    JsonResponse,
    Label,
    NoContent,
    Request,
    Response,
    differences,
    hookimpl,
)
from jidoteki.plugins.uploads import protocol, receiving
from jidoteki.plugins.uploads.examples import BEGUN, LISTED, SHOWN
from jidoteki.plugins.uploads.store import RESUMABLE, State, Store

SCHEME: Final = "upload"
ID: Final = Label("Upload", "The last part of the Location of the answer that began it")
NO_VERSION: Final = "The header Tus-Resumable: 1.0.0 is missing"
CLEAR_EACH: Final = 600.0
_clearing: set[asyncio.Task[None]] = set()


class Handlers:
    """The handlers of one appliance under one configuration."""

    def __init__(self, appliance: Appliance, config: Mapping[str, Any]) -> None:
        self._store = Store(appliance, config["keep"], config["most"])

    async def options(self, request: Request) -> Response:
        """Return the supported features of the protocol."""
        return NoContent(protocol.configuration(request.host_config["limits"]["upload"]))

    async def list(self, request: Request) -> Response:
        """Return the uploads of the credential."""
        found = await asyncio.to_thread(self._store.of, request.credential)
        return {"uploads": [self._described(each) for each in found]}

    async def create(self, request: Request) -> Response:
        """Create an upload."""
        protocol.check_version(request)
        limits = request.host_config["limits"]
        length, metadata = protocol.length_of(request, limits["upload"]), protocol.metadata_of(request)
        if request.dry_run:
            changed = differences.change("uploads", None, {"length": length})
            return JsonResponse({"Status": "201 Created", **differences.shown(True, changed)}, 201, RESUMABLE)
        signed = request.body_digest is not None
        try:
            state = await asyncio.to_thread(
                self._store.create, length, request.credential, metadata, signed, limits["free-space"]
            )
        except OSError as error:
            raise protocol.refusal(400, f"The upload cannot be stored: {error.strerror or error}") from error
        headers = {**self._headers(state), "Location": f"{PREFIX}/uploads/{state.partial.id}"}
        return JsonResponse({"Status": "201 Created", **self._described(state)}, 201, headers)

    async def show(self, request: Request) -> Response:
        """Return the offset of an upload."""
        protocol.check_version(request, needed=False)
        state = await self._find(request)
        return JsonResponse(self._described(state), 200, self._headers(state))

    async def receive(self, request: Request) -> Response:
        """Append a part to an upload."""
        protocol.check_version(request)
        protocol.offset_of(request)
        protocol.checksum_of(request)
        if request.dry_run:
            return NoContent(self._headers(await self._find(request)))
        try:
            state = await receiving.receive(self._store, request.values["id"], request)
        except OSError as error:
            raise protocol.refusal(400, f"The upload cannot be stored: {error.strerror or error}") from error
        told = self._headers(state)
        del told["Upload-Length"]
        return NoContent(told)

    async def delete(self, request: Request) -> Response:
        protocol.check_version(request)
        state = await self._find(request)
        if not request.dry_run:
            await self._remove(state.partial.id)
        return NoContent(RESUMABLE)

    async def find(self, request: Request, id: str) -> Path:
        """Return the path of a finished upload, for a request that names it.

        :raises ApiError: 400, there is none, it is not finished, or the request is signed and the upload was not.
        """
        try:
            state = await asyncio.to_thread(self._store.find, id, request.credential)
        except ApiError as error:
            raise ApiError(400, f"There is no upload {id} of yours, or none any more") from error
        if not state.complete:
            raise ApiError(400, f"The upload {id} has {state.offset} of {state.partial.length} bytes: finish it first")
        if request.body_digest is not None and not state.partial.signed:
            raise ApiError(400, f"The upload {id} did not come in signed requests alone, as this one that uses it")
        return self._store.path(id)

    async def used(self, request: Request, id: str) -> None:
        """Remove an upload that was used."""
        await self._remove(id)

    async def _find(self, request: Request) -> State:
        return await asyncio.to_thread(self._store.find, request.values["id"], request.credential)

    async def _remove(self, id: str) -> None:
        turn = receiving.Turn.of(self._store.path(id))
        turn.take_over(turn.arrive())
        async with turn.lock:
            await asyncio.to_thread(self._store.remove, id)

    def _headers(self, state: State) -> dict[str, str]:
        return protocol.told(state, self._store.expires(state))

    def _described(self, state: State) -> dict[str, Any]:
        partial = state.partial
        return {
            "id": partial.id,
            "offset": state.offset,
            "length": partial.length,
            "metadata": partial.metadata,
            "expires": int(self._store.expires(state)),
        }


@hookimpl
def jidoteki_config_schema() -> vol.Schema:
    """Return the schema for the number and lifetime of uploads."""
    keep: Any = vol.All(vol.Any(int, float, msg="must be a number of seconds"), vol.Range(60, 30 * 86400))
    most: Any = vol.All(vol.Any(int, msg="must be a whole number"), vol.Range(1, 1000))
    return vol.Schema(
        {
            vol.Optional(
                "keep", default=86400, description="Seconds that an upload is kept after its last byte came"
            ): keep,
            vol.Optional("most", default=16, description="Uploads that may be there, finished ones too"): most,
        }
    )


@hookimpl
def jidoteki_endpoints(appliance: Appliance, config: Mapping[str, Any]) -> list[Endpoint]:
    handlers = Handlers(appliance, config)
    return [
        Endpoint(
            "OPTIONS", "/uploads", handlers.options, responses={204: "In headers"}, summary="What uploads may be like"
        ),
        Endpoint("GET", "/uploads", handlers.list, responses={200: LISTED}, summary="List the uploads of yours"),
        Endpoint(
            "POST",
            "/uploads",
            handlers.create,
            responses={201: BEGUN, 412: NO_VERSION},
            summary="Begin an upload that can be resumed (tus 1.0.0), of Upload-Length bytes",
        ),
        *_of_one(handlers),
    ]


def _of_one(handlers: Handlers) -> list[Endpoint]:
    """Return the endpoints of a single upload."""
    id = {vol.Required("id", description=ID): str}
    gone = {404: "There is no such upload, or none any more", 412: NO_VERSION}
    return [
        Endpoint(
            "GET",
            "/uploads/{id}",
            handlers.show,
            parameters=id,
            responses={200: SHOWN, **gone},
            summary="How far an upload is",
        ),
        Endpoint(
            "PATCH",
            "/uploads/{id}",
            handlers.receive,
            parameters=id,
            body=protocol.MEDIA,
            responses={
                204: "The part was added",
                **gone,
                409: "The part does not begin where the upload ends",
                460: "The part is not what Upload-Checksum says",
            },
            summary="Add a part to an upload, at Upload-Offset",
        ),
        Endpoint(
            "DELETE",
            "/uploads/{id}",
            handlers.delete,
            parameters=id,
            responses={204: "It is gone", **gone},
            summary="Delete an upload",
        ),
    ]


@hookimpl
def jidoteki_file_sources(appliance: Appliance, config: Mapping[str, Any]) -> list[FileSource]:
    """Return the source for finished uploads in forms."""
    handlers = Handlers(appliance, config)
    return [FileSource(SCHEME, handlers.find, handlers.used)]


@hookimpl
async def jidoteki_startup(appliance: Appliance, config: Mapping[str, Any]) -> None:
    """Remove leftovers of the previous run, and start removing expired uploads."""
    store = Store(appliance, config["keep"], config["most"])
    await asyncio.to_thread(store.clear, True)
    _clearing.add(asyncio.create_task(_clear(store)))


@hookimpl
async def jidoteki_shutdown() -> None:
    """Stop removing expired uploads."""
    for task in _clearing:
        task.cancel()
    _clearing.clear()


async def _clear(store: Store) -> None:
    while True:
        await asyncio.sleep(CLEAR_EACH)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(store.clear)
