"""Screens: pages of the dashboard that a plugin describes as data, or brings as a JavaScript module.

Whoever describes none has a page for each first part of a path that it serves, made from the OpenAPI document. What a
screen says is public, as is that document, so that it must contain no secret. All texts are English, and the keys of
their translations in the vendor's catalogues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class FormPart:
    """A form that makes a request; a job that it starts is followed beneath it.

    Its fields are the parameters of the endpoint: their names, kinds and limits come from its validators.

    :param path: of the endpoint, without the prefix.
    :param titles: what fields are called, by parameter, or by JSON pointer for one inside of a parameter, such as
        `/settings/network/mode`; others have the `title` of their schema, or their name with a capital letter.
    :param action: the text of the button.
    :param question: asked before the request is made; with an empty one it is made at once.
    :param done: said after a success.
    """

    path: str
    _: KW_ONLY
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    title: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)
    action: str = ""
    question: str = ""
    done: str = ""


@dataclass(frozen=True, slots=True)
class StatusPart:
    """The facts in a JSON object, or the state of a job that an endpoint shows with `request.job_status`.

    :param path: of an endpoint with GET, without the prefix.
    :param titles: what the facts are called, by key, in the order in which they are shown; others follow, after their
        key with a capital letter.
    """

    path: str
    _: KW_ONLY
    title: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TablePart:
    """The objects in a JSON array, one a row.

    :param path: of an endpoint with GET, without the prefix.
    :param rows: the key of the array in the response; empty if the response is the array.
    :param columns: the title of each column, by key of the objects, in their order; all keys if there are none.
    """

    path: str
    _: KW_ONLY
    title: str = ""
    rows: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogPart:
    """The last lines of a text.

    :param path: of an endpoint with GET, without the prefix.
    """

    path: str
    _: KW_ONLY
    title: str = ""


@dataclass(frozen=True, slots=True)
class ChartPart:
    """Figures over time, drawn as lines and shown as a table.

    :param columns: what each line is called, by column of the response.
    :param path: of an endpoint with GET whose response has the format of `GET /health/history`, and takes the same
        parameter `range`.
    :param unit: `number`; `percent`, of which 100 is all; `rate`, bytes a second.
    """

    columns: Mapping[str, str]
    _: KW_ONLY
    path: str = "/health/history"
    title: str = ""
    unit: Literal["number", "percent", "rate"] = "number"


@dataclass(frozen=True, slots=True)
class TextPart:
    """Paragraphs, separated by empty lines.

    :param text: is shown as it is, without markup.
    """

    text: str
    _: KW_ONLY
    title: str = ""


Part = FormPart | StatusPart | TablePart | LogPart | ChartPart | TextPart


@dataclass(frozen=True, slots=True)
class Screen:
    """A screen of the dashboard.

    It is in the menu while its endpoint is served, for those whose token may use it, and takes the place of the page
    that the dashboard would make for the first part of that path.

    :param name: that of its address, `/dashboard/NAME`: lower-case letters, digits and `-`.
    :param title: in the menu and above the screen.
    :param parts: shown one below the other; those whose endpoint is not served, or not allowed, are left out.
    :param path: its endpoint, without the prefix; by default that of its first part that has one.
    :param group: the part of the menu that it is in: one of the dashboard's own, or a new one.
    :param order: its place in the group; lower ones come first, equal ones by title.
    :param summary: a sentence below the title.
    :param module: the path of a page of this plugin (`jidoteki_pages`) below `/dashboard/plugins/NAME/`: a JavaScript
        module that shows the screen in place of the parts.
    """

    name: str
    title: str
    parts: tuple[Part, ...] = ()
    _: KW_ONLY
    path: str = ""
    group: str = "More"
    order: int = 0
    summary: str = ""
    module: str = ""
