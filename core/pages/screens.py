"""The screens that plugins add to the dashboard, in the format in which the OpenAPI document tells them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from jidoteki.core.appliance import Appliance
from jidoteki.core.http.routes import Routes
from jidoteki.core.pages.table import PageTable
from jidoteki.core.plugin_manager.manager import Plugin, Plugins
from jidoteki.hookspecs import ChartPart, FormPart, Screen
from jidoteki.hookspecs.screens import Part

MODULES: Final = "/dashboard/plugins"
"""Modules of a plugin lie below its name there."""
MAX_SCREENS: Final = 100
MAX_TEXT: Final = 10_000
METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
UNITS: Final = ("number", "percent", "rate")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_KINDS: Final = {part: part.__name__.removesuffix("Part").lower() for part in get_args(Part)}


def collect(plugins: Plugins, appliance: Appliance, pages: PageTable) -> list[dict[str, Any]]:
    """Return the screens of all plugins; a plugin with a wrong one is left out."""
    found: dict[str, dict[str, Any]] = {}
    for plugin, answer in plugins.call("jidoteki_screens", appliance=appliance):
        if answer is None:
            continue
        problem = _problem(plugin, answer, pages, found)
        if problem:
            plugins.leave_out(plugin, problem)
            continue
        found.update((each.name, _described(plugin, each)) for each in answer)
    return list(found.values())


def served(screens: list[dict[str, Any]], routes: Routes) -> list[dict[str, Any]]:
    """Return the screens whose endpoint is served."""
    paths = {route.path for route in routes.all()}
    return [each for each in screens if each["path"] in paths]


def _problem(plugin: Plugin, answer: object, pages: PageTable, found: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the screens of a plugin."""
    if not isinstance(answer, list) or not all(isinstance(each, Screen) for each in answer):
        return "jidoteki_screens must return a list of Screen"
    if len(answer) > MAX_SCREENS:
        return f"jidoteki_screens returned more than {MAX_SCREENS} screens"
    names = [each.name for each in answer]
    for screen in answer:
        problem = _wrong(plugin, screen, pages)
        if problem is None and (screen.name in found or names.count(screen.name) > 1):
            problem = "there is another screen of this name"
        if problem:
            return f"the screen {screen.name!r}: {problem}"
    return None


def _wrong(plugin: Plugin, screen: Screen, pages: PageTable) -> str | None:
    if not isinstance(screen.name, str) or not _NAME.fullmatch(screen.name):
        return "a name has lower-case letters, digits and -"
    if not isinstance(screen.parts, tuple) or not all(isinstance(each, Part) for each in screen.parts):
        return "parts must be a tuple of parts"
    texts = [text for each in (screen, *screen.parts) for text in _texts(each)]
    if not all(isinstance(each, str) and len(each) <= MAX_TEXT for each in texts):
        return f"its texts must be strings of at most {MAX_TEXT} characters"
    if not isinstance(screen.order, int):
        return "order must be a number"
    if any(isinstance(each, FormPart) and each.method not in METHODS for each in screen.parts):
        return f"the method of a form is one of {', '.join(METHODS)}"
    if any(isinstance(each, ChartPart) and each.unit not in UNITS for each in screen.parts):
        return f"the unit of a chart is one of {', '.join(UNITS)}"
    if not _path(screen):
        return "it needs a part with a path, or a path of its own"
    if not screen.module:
        return None if screen.parts else "it needs parts, or a module"
    if not screen.module.startswith(f"{MODULES}/{plugin.name}/"):
        return f"its module must lie below {MODULES}/{plugin.name}/"
    page = pages.find(screen.module)
    if page is None or page.path != screen.module:
        return f"jidoteki_pages has no page {screen.module}"
    return None


def _texts(described: Screen | Part) -> Iterator[Any]:
    for each in dataclasses.fields(described):
        value = getattr(described, each.name)
        if isinstance(value, Mapping):
            yield from value
            yield from value.values()
        elif each.name not in ("parts", "order"):
            yield value


def _path(screen: Screen) -> str:
    paths = (getattr(each, "path", "") for each in screen.parts)
    return screen.path or next(filter(None, paths), "")


def _described(plugin: Plugin, screen: Screen) -> dict[str, Any]:
    return {
        "plugin": plugin.name,
        **{name: getattr(screen, name) for name in ("name", "title", "group", "order", "summary", "module")},
        "path": _path(screen),
        "parts": [_part(each) for each in screen.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    values = {each.name: getattr(part, each.name) for each in dataclasses.fields(part)}
    plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    method = {} if isinstance(part, FormPart) or "path" not in plain else {"method": "GET"}
    return {"kind": _KINDS[type(part)], **method, **plain}
