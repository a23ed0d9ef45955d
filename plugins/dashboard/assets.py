"""The dashboard's files, at addresses that change with their content, and the page that loads them."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterator
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from jidoteki.hookspecs import Page, Visit
from jidoteki.plugins.dashboard.branding import DEFAULT_COLOURS, LOGO_KINDS, Branding, as_json

HTML: Final = "text/html; charset=utf-8"
KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    **LOGO_KINDS,
}
#: What the first screen needs, loaded at once and not one after the other.
PRELOADED: Final = ("app.js", "vendor/lit-html.js", "api.js", "key.js", "text.js", "welcome.js", "secret.js")


def pages(branding: Branding) -> list[Page]:
    """Return the pages of the dashboard.

    `/` and everything below `/dashboard` is one page, whose scripts show the screen of the address.
    """
    files = _files(branding)
    build = _build(files, branding)
    base = f"/dashboard/assets/{build}/"
    content = partial(_index, branding, files, build, base)
    return [
        Page("/", content, HTML),
        Page("/dashboard", content, HTML, below=True),
        Page("/dashboard/state.json", partial(_state_file, build), "application/json"),
        *(
            Page(base + name, body, KINDS["." + name.rpartition(".")[2]], immutable=True)
            for name, body in files.items()
        ),
    ]


def _files(branding: Branding) -> dict[str, bytes]:
    files = dict(_shipped(resources.files("jidoteki.plugins.dashboard").joinpath("static")))
    colours = "".join(f"--brand-{name}:{value};" for name, value in branding.colours.items())
    if branding.colours != DEFAULT_COLOURS:
        colours += "--primary:var(--brand-background);--primary-ink:var(--brand-text);"
    files["app.css"] += f":root{{{colours}}}\n".encode()
    files.update({f"languages/{language}.json": body for language, body in branding.languages.items()})
    if branding.logo:
        name, body = branding.logo
        files[name] = body
    return files


def _shipped(directory: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for each in sorted(directory.iterdir(), key=lambda entry: entry.name):
        name = prefix + each.name
        if each.is_dir():
            yield from _shipped(each, f"{name}/")
        elif "." + name.rpartition(".")[2] in KINDS:
            yield name, each.read_bytes()


def _build(files: dict[str, bytes], branding: Branding) -> str:
    """Return a digest of all that a page is made of."""
    digest = hashlib.sha256(as_json([branding.name, branding.support]).encode())
    for name, body in sorted(files.items()):
        digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(body).digest())
    return digest.hexdigest()[:16]


def _state_file(build: str, visit: Visit) -> bytes:
    return json.dumps({"build": build, "setup": visit.setup}).encode()


def _index(branding: Branding, files: dict[str, bytes], build: str, base: str, visit: Visit) -> bytes:
    languages = {name[10:-5]: base + name for name in files if name.startswith("languages/")}
    state = {
        "build": build,
        "setup": visit.setup,
        "name": branding.name,
        "support": branding.support,
        "logo": base + branding.logo[0] if branding.logo else None,
        "base": base,
        "languages": languages,
    }
    preloaded = "".join(f'<link rel="modulepreload" href="{base}{name}">\n' for name in PRELOADED)
    name = html.escape(branding.name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name}</title>
<link rel="icon" href="{base}icon.svg">
<link rel="stylesheet" href="{base}app.css">
{preloaded}<script type="application/json" id="state">{as_json(state)}</script>
<script type="module" src="{base}app.js"></script>
</head>
<body>
<div id="app"></div>
<main class="welcome" id="loading"><h1>{name}</h1><p>Loading …</p>
<noscript><p>This page needs JavaScript. <a href="/docs">The manual</a> shows how to administer the appliance
without a browser.</p></noscript></main>
</body>
</html>
""".encode()
