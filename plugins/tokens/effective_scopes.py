"""Whether a scope can ever allow anything on this appliance."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.named_tokens import CLOSED


def fault(scope: str, endpoints: Sequence[tuple[str, str]]) -> str | None:
    """Return why a scope allows nothing, in a sentence that says what to write; None where it allows something.

    :param scope: one that is well-formed.
    :param endpoints: method and path of what is served.
    """
    method, _, path = scope.rpartition(" ")
    if not path.startswith("/"):
        return None
    before = f"{method} " if method else ""
    if path == PREFIX or path.startswith(f"{PREFIX}/"):
        return f"{scope} allows nothing: write {before}{path.removeprefix(PREFIX) or '/version'}, without {PREFIX}"
    if any(_covers(closed, path) for closed in CLOSED):
        return f"{scope} allows nothing: {' and '.join(CLOSED)} take the administrator's token alone"
    served = [(each, place) for each, place in endpoints if not any(_covers(closed, place) for closed in CLOSED)]
    methods = sorted({each for each, place in served if _covers(path, place)})
    if not methods:
        return f"{scope} allows nothing: no endpoint of this appliance is there{_nearest(path, before, served)}"
    if method and method not in methods:
        return f"{scope} allows nothing: {path} has {', '.join(methods)} alone"
    return None


def _nearest(path: str, before: str, served: Iterable[tuple[str, str]]) -> str:
    paths = sorted({place for _, place in served if "{" not in place})
    close = difflib.get_close_matches(path, paths, n=1)
    return f"; did you mean {before}{close[0]}?" if close else "; GET /endpoints lists what there is"


def _covers(scope: str, place: str) -> bool:
    """Whether a scope covers the place of an endpoint or something below; a last part in braces is any name."""
    wanted, parts = scope.split("/"), place.split("/")
    return len(wanted) <= len(parts) and all(
        name == part or part.startswith("{") for name, part in zip(wanted, parts, strict=False)
    )
