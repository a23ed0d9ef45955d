"""Receiving one part of an upload: written in a thread while the next chunk arrives, with at most one write pending."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import time
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from jidoteki.hookspecs import ApiError, Request
from jidoteki.hookspecs.boots import boot_id
from jidoteki.plugins.uploads import protocol
from jidoteki.plugins.uploads.store import State, Store

#: Seconds after which received data are synced to disk, which takes no time on a slow line.
SYNC_EACH: Final = 30.0
#: Bytes between two checks of the free space.
LOOK_EACH: Final = 8 * 1024 * 1024


class Turn:
    """The lock of an upload: only one request receives, and a newer one ends an older one.

    When a client resumes an upload, its previous connection was lost, even if the service has not noticed it.
    """

    _turns: WeakValueDictionary[Path, Turn] = WeakValueDictionary()
    _arrivals = itertools.count(1)

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.receiving: asyncio.Timeout | None = None
        self._newest = 0

    @classmethod
    def of(cls, path: Path) -> Turn:
        """Return the lock of the upload at a path."""
        turn = cls._turns.get(path)
        if turn is None:
            turn = cls._turns[path] = cls()
        return turn

    @classmethod
    def arrive(cls) -> int:
        """Return the number of a request; newer ones have higher numbers."""
        return next(cls._arrivals)

    def take_over(self, number: int) -> None:
        """End the running request, after writing what was received, and those that are about to run.

        :raises ApiError: 409, there is a newer request.
        """
        if number < self._newest:
            raise _newer()
        self._newest = number
        if self.receiving is not None:
            self.receiving.reschedule(asyncio.get_running_loop().time())
            self.receiving = None

    def check(self, number: int) -> None:
        """Refuse a request that a newer one has taken over from.

        :raises ApiError: 409.
        """
        if number != self._newest:
            raise _newer()


def _newer() -> ApiError:
    return protocol.refusal(409, "A newer request goes on with this upload")


async def receive(store: Store, id: str, request: Request) -> State:
    """Append the body of a request to an upload, and return the new state.

    :raises ApiError: 404, there is none; 409, the part does not begin at the end of the upload; 413, it is too long;
        460, its checksum is wrong; and the errors of the body.
    """
    number = Turn.arrive()
    await asyncio.to_thread(store.find, id, request.credential)
    turn = Turn.of(store.path(id))
    turn.take_over(number)
    async with turn.lock:
        turn.check(number)
        state = await asyncio.to_thread(store.find, id, request.credential)
        if protocol.offset_of(request) != state.offset:
            headers = protocol.told(state, store.expires(state))
            raise ApiError(409, f"Upload-Offset must be {state.offset}", headers=headers)
        part = _Part(store, state, request)
        await part.begin()
        try:
            await part.receive(turn, number)
        finally:
            await asyncio.shield(asyncio.ensure_future(part.end()))
        return await asyncio.to_thread(store.find, id, request.credential)


class _Part:
    """A part of an upload that is being received."""

    def __init__(self, store: Store, state: State, request: Request) -> None:
        self._store, self._partial, self._request = store, state.partial, request
        self._begun = self._offset = state.offset
        self._checksum = protocol.checksum_of(request)
        #: Whether the part counts only as a whole, after its checksum or signature is verified.
        self._all_or_nothing = self._checksum is not None or request.body_digest is not None
        self._valid = not self._all_or_nothing
        self._reserve: int = request.host_config["limits"]["free-space"]
        self._looked = -LOOK_EACH
        self._synced = time.monotonic()
        self._descriptor = -1
        self._pending: asyncio.Future[None] | None = None

    async def begin(self) -> None:
        """Open the file at the part's offset; bytes after that are dropped."""
        await asyncio.to_thread(self._begin)

    async def receive(self, turn: Turn, number: int) -> None:
        """Write the part until it ends, or a newer request takes over."""
        try:
            async with asyncio.timeout(None) as turn.receiving:
                turn.check(number)  # a newer request may have come since the lock was taken
                async for chunk in self._request.body():
                    await self._take(chunk)
                await self._drain()
        except TimeoutError as error:
            raise _newer() from error
        finally:
            turn.receiving = None
        if self._checksum and self._checksum[0].digest() != self._checksum[1]:
            raise protocol.refusal(460, "The part is not what Upload-Checksum says, and was dropped")
        self._valid = True

    async def end(self) -> None:
        """Close the file; truncate it if the part is not valid, and sync it if the upload is incomplete."""
        try:
            await self._drain()
        except ApiError:
            pass
        finally:
            await asyncio.to_thread(self._end)

    async def _take(self, chunk: bytes) -> None:
        self._offset += len(chunk)
        if self._offset > self._partial.length:
            self._offset -= len(chunk)
            raise protocol.refusal(413, f"The upload must not be longer than {self._partial.length} bytes")
        if self._checksum:
            self._checksum[0].update(chunk)
        await self._drain()
        self._pending = asyncio.get_running_loop().run_in_executor(None, self._write, chunk)

    async def _drain(self) -> None:
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            await asyncio.shield(pending)
        except asyncio.CancelledError:
            self._pending = pending  # the write continues, and is awaited in `end`
            raise
        except OSError as error:
            raise protocol.refusal(400, f"The upload cannot be stored: {error.strerror or error}") from error

    def _begin(self) -> None:
        signed = self._partial.signed and self._request.body_digest is not None
        judged = self._begun if self._all_or_nothing else None
        known = dataclasses.replace(self._partial, signed=signed, judged=judged)
        self._descriptor = os.open(self._store.path(known.id), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.ftruncate(self._descriptor, self._begun)
        os.lseek(self._descriptor, self._begun, os.SEEK_SET)
        if known.boot != boot_id():
            known = dataclasses.replace(known, boot=boot_id(), synced=self._begun)
        self._save(known)

    def _write(self, chunk: bytes) -> None:
        if self._offset - self._looked >= LOOK_EACH:
            status = os.fstatvfs(self._descriptor)
            if status.f_bavail * status.f_frsize < self._reserve + LOOK_EACH:
                raise OSError(f"less than {self._reserve} bytes would be free")
            self._looked = self._offset
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._descriptor, view) :]
        if time.monotonic() - self._synced > SYNC_EACH and not self._all_or_nothing:
            self._sync()

    def _sync(self) -> None:
        os.fdatasync(self._descriptor)
        self._synced = time.monotonic()
        self._save(dataclasses.replace(self._partial, synced=os.lseek(self._descriptor, 0, os.SEEK_CUR)))

    def _end(self) -> None:
        try:
            if not self._valid:
                os.ftruncate(self._descriptor, self._begun)
                os.lseek(self._descriptor, self._begun, os.SEEK_SET)
            self._save(dataclasses.replace(self._partial, judged=None))
            if self._offset < self._partial.length:
                self._sync()
        finally:
            os.close(self._descriptor)

    def _save(self, partial: Any) -> None:
        if partial != self._partial:
            self._store.save(partial)
            self._partial = partial
