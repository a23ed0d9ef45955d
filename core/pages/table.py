"""The pages of one configuration, by path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from jidoteki.core.appliance import Appliance
from jidoteki.core.config.loading import Config
from jidoteki.core.plugin_manager.manager import Plugin, Plugins
from jidoteki.hookspecs import Page

#: Paths of the host, which no plugin may take.
RESERVED = ("/api", "/docs")
MAX_PAGES = 1000
_PATH = re.compile(r"/|(/[A-Za-z0-9][A-Za-z0-9._-]*)+")


class PageTable:
    """The pages of all plugins; a plugin with a wrong one is left out."""

    def __init__(self, plugins: Plugins, appliance: Appliance, config: Config) -> None:
        self._pages: dict[str, Page] = {}
        answers = plugins.call("jidoteki_pages", appliance=appliance, host_config=config.values)
        for plugin, answer in sorted(answers, key=lambda each: each[0].source.gives_way):
            problem = self._add(plugin, answer)
            if problem:
                plugins.leave_out(plugin, problem)

    def add_own(self, pages: Iterable[Page]) -> None:
        """Add pages of the host."""
        self._pages.update((page.path, page) for page in pages)

    def find(self, path: str) -> Page | None:
        """Return the page for a path; a trailing slash makes no difference.

        Below a page is only what looks like no file: a script that is not there (any more) must be missing.
        """
        plain = path.rstrip("/") or "/"
        page = self._pages.get(plain)
        if page is not None or "." in plain:
            return page
        return next((page for page in map(self._pages.get, _parents(plain)) if page and page.below), None)

    def _add(self, plugin: Plugin, answer: object) -> str | None:
        """Add the pages of a plugin, all or none; return what is wrong with them."""
        if answer is None:
            return None
        if not isinstance(answer, list) or not all(isinstance(each, Page) for each in answer):
            return "jidoteki_pages must return a list of Page"
        if len(answer) > MAX_PAGES:
            return f"jidoteki_pages returned more than {MAX_PAGES} pages"
        for page in answer:
            if not _PATH.fullmatch(page.path) or any(_is_at_or_below(page.path, each) for each in RESERVED):
                return f"the path {page.path!r} of a page must look like /name/part, and not be below /api or /docs"
            if page.path in self._pages and not plugin.source.gives_way:
                return f"the page {page.path} belongs to another plugin already"
        for page in answer:
            self._pages.setdefault(page.path, page)
        return None


def _parents(path: str) -> Iterator[str]:
    """Yield the paths above one, the nearest first, without `/`."""
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)


def _is_at_or_below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(f"{parent}/")
