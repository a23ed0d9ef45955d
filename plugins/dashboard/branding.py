"""The vendor's name, logo, colours, support text and languages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import voluptuous as vol

from jidoteki.hookspecs import Appliance, Finding, paths, strict_json

MAX_FILE: Final = 256 * 1024
#: https://www.w3.org/TR/WCAG22/#contrast-minimum
CONTRAST: Final = 4.5
LOGO_KINDS: Final = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}
DEFAULT_COLOURS: Final = {"background": "#1d3f72", "text": "#ffffff"}

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def _colour(value: Any) -> str:
    if isinstance(value, str) and _COLOUR.fullmatch(value):
        return value.lower()
    raise vol.Invalid("a colour looks like #1d3f72")


def _language(value: Any) -> str:
    if isinstance(value, str) and _LANGUAGE.fullmatch(value):
        return value
    raise vol.Invalid("a language looks like de or pt-BR")


SCHEMA: Final[dict[Any, Any]] = {
    vol.Optional("name", default="Admin Dashboard"): vol.All(str, vol.Length(min=1, max=64)),
    vol.Optional("logo", default=None): vol.Any(None, vol.All(str, vol.Length(min=1))),
    vol.Optional("colours", default=None): vol.Any(
        None, {vol.Required("background"): _colour, vol.Required("text"): _colour}
    ),
    vol.Optional("support", default=""): vol.All(str, vol.Length(max=2000)),
    vol.Optional("languages", default=dict): {_language: vol.All(str, vol.Length(min=1))},
}


@dataclass(frozen=True, slots=True)
class Branding:
    """What the vendor configured, without what cannot be used.

    :param logo: file name and content.
    :param languages: catalogues, as JSON, by language.
    """

    name: str
    support: str
    colours: Mapping[str, str]
    logo: tuple[str, bytes] | None = None
    languages: Mapping[str, bytes] = field(default_factory=dict)


def read(appliance: Appliance, config: Mapping[str, Any]) -> Branding:
    """Return the usable part of the configuration."""
    logo = None
    languages = {}
    if config["logo"] and not _logo_problem(appliance, config["logo"]):
        logo = _logo_name(config["logo"]), _file(appliance, config["logo"])
    for language, path in config["languages"].items():
        if not _catalogue_problem(appliance, path):
            languages[language] = _file(appliance, path)
    colours = config["colours"]
    if not colours or contrast(colours["background"], colours["text"]) < CONTRAST:
        colours = DEFAULT_COLOURS
    return Branding(config["name"], config["support"], colours, logo, languages)


def check(appliance: Appliance, config: Mapping[str, Any]) -> list[Finding]:
    """Return what of the configuration cannot be used."""
    found = []
    colours = config["colours"]
    if colours and (ratio := contrast(colours["background"], colours["text"])) < CONTRAST:
        found.append(
            _finding(
                f"colours: {colours['text']} on {colours['background']} has a contrast of {ratio:.2f}:1, so the "
                "dashboard keeps its own colours",
                f"choose two with at least {CONTRAST}:1, which everybody can read",
            )
        )
    if config["logo"] and (problem := _logo_problem(appliance, config["logo"])):
        found.append(_finding(f"logo: {config['logo']} {problem}", "correct the path or the file"))
    for language, path in config["languages"].items():
        if problem := _catalogue_problem(appliance, path):
            found.append(_finding(f"languages: {language}: {path} {problem}", "correct the path or the file"))
    return found


def _finding(message: str, advice: str) -> Finding:
    return Finding("error", "dashboard", message, advice)


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours; https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _logo_name(path: str) -> str:
    return f"logo{Path(path).suffix.lower()}"


def _logo_problem(appliance: Appliance, path: str) -> str | None:
    if Path(path).suffix.lower() not in LOGO_KINDS:
        return f"is not one of {', '.join(LOGO_KINDS)}"
    try:
        _file(appliance, path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None


def _catalogue_problem(appliance: Appliance, path: str) -> str | None:
    try:
        catalogue = strict_json.loads(_file(appliance, path))
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError) as error:
        return f"is no JSON: {error}"
    if not isinstance(catalogue, dict) or not all(map(_is_translation, catalogue.values())):
        return "is not an object of translations by the English text"
    return None


def _is_translation(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, dict) and "other" in value and all(isinstance(each, str) for each in value.values())
    )


def _file(appliance: Appliance, path: str) -> bytes:
    return paths.read_regular(appliance.root / path.lstrip("/"), MAX_FILE, follow=True)


def as_json(value: Any) -> str:
    """Return JSON that is safe in an element `<script type="application/json">`."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c")
