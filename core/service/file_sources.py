"""Files that a form names in place of an `Upload`, as `SCHEME:NAME`, and that a plugin provides."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from jidoteki.core.http.parts import UPLOAD_PREFIX, StoredUpload
from jidoteki.core.plugin_manager.manager import Plugin, Plugins
from jidoteki.core.service.requests import ApiRequest
from jidoteki.hookspecs import ApiError, Appliance, FileSource, paths

logger = logging.getLogger(__name__)

_NAMED = re.compile(rb"([a-z][a-z0-9-]{0,15}):([A-Za-z0-9._-]{1,128})")

FileSources = Mapping[str, tuple[Plugin, FileSource]]


def collect(plugins: Plugins, appliance: Appliance) -> FileSources:
    """Return the sources of all plugins by scheme; the first plugin with a scheme gets it."""
    found: dict[str, tuple[Plugin, FileSource]] = {}
    for plugin, sources in plugins.call("jidoteki_file_sources", appliance=appliance):
        for source in _valid(plugin, sources):
            found.setdefault(source.scheme, (plugin, source))
    return found


def _valid(plugin: Plugin, sources: object) -> Iterator[FileSource]:
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, FileSource) and _NAMED.fullmatch(f"{source.scheme}:x".encode()):
            yield source
        else:
            logger.error("The plugin %s has a source of files that is none", plugin.name)


class NamedFiles:
    """The files that one request names.

    :param sources: where they may come from.
    :param request: makes what a plugin is handed of the request that names them.
    """

    def __init__(self, sources: FileSources, request: Callable[[Plugin], ApiRequest]) -> None:
        self._sources = sources
        self._request = request
        self._found: list[tuple[FileSource, ApiRequest, str]] = []

    async def find(self, text: bytes, max_size: int) -> StoredUpload | None:
        """Link the file that a text names to a temporary path, as if it had been sent; return None for any other text.

        :param max_size: bytes.
        :raises ApiError: the file does not exist, is too long or cannot be linked.
        """
        scheme, colon, rest = text.strip().partition(b":")
        if not colon or scheme.decode("ascii", "replace") not in self._sources or len(rest.split()) > 1:
            return None
        match = _NAMED.fullmatch(text.strip())
        if match is None:
            raise ApiError(400, f"{scheme.decode()}: must be followed by a name of letters, digits and '.', '_', '-'")
        plugin, source = self._sources[match[1].decode()]
        name = match[2].decode()
        request = self._request(plugin)
        path = await source.find(request, name)
        stored = StoredUpload(request.appliance.spool / f"{UPLOAD_PREFIX}{secrets.token_hex(8)}")
        try:
            stored.size = await asyncio.to_thread(_link, path, stored.path)
        except OSError as error:
            raise ApiError(400, f"{match[0].decode()} cannot be used: {error.strerror or error}") from error
        if stored.size > max_size:
            await asyncio.to_thread(stored.path.unlink)
            raise ApiError(413, f"{match[0].decode()} must not be longer than {max_size} bytes")
        self._found.append((source, request, name))
        return stored

    async def used(self) -> None:
        """Tell the sources that the request has succeeded."""
        for source, request, name in self._found:
            try:
                await source.used(request, name)
            except Exception:
                logger.exception("The source of %s:%s failed", source.scheme, name)


def _link(path: Path, target: Path) -> int:
    """Create a hard link to a file and return the file's size."""
    descriptor = paths.open_regular(path)
    try:
        os.link(path, target, follow_symlinks=False)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
