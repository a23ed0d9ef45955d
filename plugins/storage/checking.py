"""The check of the list of storage types by `jidoteki check`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from jidoteki.hookspecs import Appliance, Finding, paths
from jidoteki.plugins.storage.validators import SCHEMAS

KNOWN = ", ".join(SCHEMAS)


def check(appliance: Appliance) -> Iterator[Finding]:
    """Report an invalid `storage-options.json`, with which only `local` is offered."""
    path = appliance.system_etc / "storage-options.json"
    try:
        problem = _problem(json.loads(paths.read_regular(path, follow=True)))
    except FileNotFoundError:
        return
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError):
        problem = "it is no JSON"
    if problem:
        advice = f'Write {{"options": […]}}, with some of {KNOWN}; until then only local storage can be set.'
        yield Finding("warning", "storage", problem, advice, str(path))


def _problem(document: object) -> str | None:
    listed = document.get("options") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return "it has no list of options"
    if not all(isinstance(each, str) for each in listed):
        return "its options are not all names of types of storage"
    if not set(listed) & SCHEMAS.keys():
        return "none of its options is a type of storage that can be set"
    return None
