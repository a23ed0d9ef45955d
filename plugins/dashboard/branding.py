"""The vendor's name, logo, colours, support text and languages: what of the configuration can be used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import Appliance, Finding, paths, strict_json

MAX_FILE: Final = 256 * 1024
#: https://www.w3.org/TR/WCAG22/#contrast-minimum
CONTRAST: Final = 4.5
#: Of each kind of logo, the media type and how its content begins.
LOGO_KINDS: Final = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}
_LOGO_BEGINS: Final = {
    ".svg": re.compile(rb"(\xef\xbb\xbf)?\s*<(\?xml|!--|!DOCTYPE svg|svg)"),
    ".png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    ".webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
DEFAULT_NAME: Final = "Admin Dashboard"
DEFAULT_COLOURS: Final = {"background": "#1d3f72", "text": "#ffffff"}
KEYS: Final = ("enabled", "name", "logo", "colours", "support", "languages")

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class Branding:
    """What the vendor configured, without what cannot be used.

    :param logo: file name and content.
    :param languages: catalogues, as JSON, by language.
    :param problems: what cannot be used, and why; the default takes its place.
    """

    name: str = DEFAULT_NAME
    support: str = ""
    colours: Mapping[str, str] = field(default_factory=lambda: DEFAULT_COLOURS)
    logo: tuple[str, bytes] | None = None
    languages: Mapping[str, bytes] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class _UnusableError(Exception):
    """A value that cannot be used; the message says why."""


def read(appliance: Appliance, config: Mapping[str, Any]) -> Branding:
    """Return the usable part of the configuration: one mistake must not take the dashboard from the customer."""
    problems = [f"{key} is not one of {', '.join(KEYS)}" for key in config if key not in KEYS]

    def usable(key: str, make: Callable[[Any], Any], default: Any) -> Any:
        value = config.get(key)
        if value is None:
            return default
        try:
            return make(value)
        except _UnusableError as error:
            problems.append(f"{key}: {error}")
            return default

    languages = {}
    for language, path in usable("languages", _languages, {}).items():
        try:
            languages[language] = _catalogue(appliance, path)
        except _UnusableError as error:
            problems.append(f"languages: {language}: {error}")
    return Branding(
        usable("name", lambda value: _text(value, 64), DEFAULT_NAME) or DEFAULT_NAME,
        usable("support", lambda value: _text(value, 2000), ""),
        usable("colours", _colours, DEFAULT_COLOURS),
        usable("logo", lambda value: _logo(appliance, value), None),
        languages,
        tuple(problems),
    )


def check(appliance: Appliance, config: Mapping[str, Any]) -> list[Finding]:
    """Return what of the configuration cannot be used."""
    advice = "correct it below plugins.dashboard; until then the default is used"
    branding = read(appliance, config)
    errors = [Finding("error", "dashboard", problem, advice) for problem in branding.problems]
    return errors + [_coverage(language, content) for language, content in branding.languages.items()]


def _coverage(language: str, content: bytes) -> Finding:
    """Return how many of the dashboard's own texts a catalogue has; the German one has all."""
    german = resources.files("jidoteki.plugins.dashboard").joinpath("static/languages/de.json")
    texts = json.loads(german.read_bytes()).keys()
    own = json.loads(content.decode("utf-8-sig")).keys()
    others = sorted(own - texts)
    named = (
        f"; {len(others)} are of no screen of its own: {', '.join(repr(each[:40]) for each in others[:5])}"
        if others
        else ""
    )
    message = f"languages: {language} has {len(own & texts)} of the dashboard's {len(texts)} texts{named}"
    return Finding("note", "dashboard", message, "what it lacks is shown in English; plugins have texts of their own")


def _text(value: Any, longest: int) -> str:
    if isinstance(value, str) and len(value) <= longest:
        return value
    raise _UnusableError(f"must be a text of at most {longest} characters")


def _colours(value: Any) -> Mapping[str, str]:
    names = set(DEFAULT_COLOURS)
    if not isinstance(value, dict) or value.keys() != names or not all(map(_is_colour, value.values())):
        raise _UnusableError('must be such as {"background": "#1d3f72", "text": "#ffffff"}')
    ratio = contrast(value["background"], value["text"])
    if ratio < CONTRAST:
        raise _UnusableError(
            f"{value['text']} on {value['background']} has a contrast of {ratio:.2f}:1, and everybody can read only "
            f"text of at least {CONTRAST}:1"
        )
    return value


def _is_colour(value: Any) -> bool:
    return isinstance(value, str) and bool(_COLOUR.fullmatch(value))


def _languages(value: Any) -> Mapping[str, str]:
    if isinstance(value, dict) and all(
        _LANGUAGE.fullmatch(language) and isinstance(path, str) for language, path in value.items()
    ):
        return value
    raise _UnusableError('must be paths by language, such as {"pt-BR": "/usr/local/etc/portuguese.json"}')


def _logo(appliance: Appliance, path: Any) -> tuple[str, bytes]:
    suffix = Path(path).suffix.lower() if isinstance(path, str) else ""
    if suffix not in LOGO_KINDS:
        raise _UnusableError(f"must be the path of a file that ends in {', '.join(LOGO_KINDS)}")
    content = _file(appliance, path)
    if not _LOGO_BEGINS[suffix].match(content):
        raise _UnusableError(f"{path} is no picture of the kind that its name says")
    return f"logo{suffix}", content


def _catalogue(appliance: Appliance, path: str) -> bytes:
    content = _file(appliance, path)
    try:
        catalogue = strict_json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _UnusableError(f"{path} is no JSON in UTF-8: {error}") from error
    if not isinstance(catalogue, dict):
        raise _UnusableError(f"{path} is not an object of translations by the English text")
    for english, translation in catalogue.items():
        if not _is_translation(translation):
            raise _UnusableError(
                f"{path} is wrong: the translation of {english[:80]!r} must be a text, or one for each plural"
            )
    return content


def _is_translation(value: Any) -> bool:
    """Return whether people can read it: an empty text would be shown as nothing at all."""
    if isinstance(value, dict):
        return "other" in value and all(isinstance(each, str) and each.strip() for each in value.values())
    return isinstance(value, str) and bool(value.strip())


def _file(appliance: Appliance, path: str) -> bytes:
    """Return the content of a file, which everybody may read from then on.

    Whoever may write to its directory must not be able to have another file shown, by a link.
    """
    try:
        with paths.resolved(appliance.root / path.lstrip("/")) as (directory, name):
            return paths.read_regular(name, MAX_FILE, dir_fd=directory)
    except (OSError, ValueError) as error:
        raise _UnusableError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours; https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def as_json(value: Any) -> str:
    """Return JSON that is safe in an element `<script type="application/json">`."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c")
