"""Rendering the page as HTML: the manual, and a reference with a form for each operation; readable without scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter of an operation: `place` is path, query or form, `kind` file, json, choice, secret or text."""

    name: str
    place: str
    kind: str
    required: bool
    description: str
    schema: Mapping[str, Any]
    choices: tuple[str, ...] = ()
    value: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of an operation; `example` is text."""

    status: str
    description: str
    example: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as shown on the page."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    description: str
    fields: tuple[Field, ...]
    answers: tuple[Answer, ...]
    dry_run: bool
    public: bool


def render(document: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI document of `openapi.describe`."""
    here = resources.files("jidoteki.core.docs_page")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["pretty"] = _pretty
    template = environment.from_string(here.joinpath("page.html").read_text("utf-8"))
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.core.ruler.push("other_pages", _without_other_pages)
    groups: dict[str, list[Operation]] = {}
    for operation in _operations(document):
        groups.setdefault(operation.tag, []).append(operation)
    return template.render(
        title=document["info"]["title"],
        version=document["info"]["version"],
        introduction=_html(markdown.render(document["info"]["description"])),
        manual=_html(_below_the_title(markdown.render(here.joinpath("manual.md").read_text("utf-8")))),
        groups=dict(sorted(groups.items())),
    )


def _without_other_pages(state: StateCore) -> None:
    """Replace links to the other manuals, which an appliance does not serve, with their text."""
    for block in state.tokens:
        kept: list[Token] = []
        dropping = False
        for token in block.children or ():
            if token.type == "link_open":
                dropping = not str(token.attrGet("href")).startswith(("https:", "/", "#"))
            if not (dropping and token.type in ("link_open", "link_close")):
                kept.append(token)
        block.children = kept if block.children is not None else None


def _html(text: str) -> Markup:
    """Mark HTML as safe: it is made from the distribution's own texts, in which the renderer escaped any HTML."""
    return Markup(text)  # noqa: S704  # see above


def _below_the_title(html: str) -> str:
    """Return the manual without its title, as the page has one, and with headings one level lower."""
    for level in range(5, 1, -1):
        html = html.replace(f"<h{level}>", f"<h{level + 1}>").replace(f"</h{level}>", f"</h{level + 1}>")
    return html.partition("</h1>")[2]


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield _operation(document, path, method, item[method])


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Operation:
    parameters = [_resolve(document, each) for each in operation.get("parameters", ())]
    return Operation(
        operation["operationId"],
        method.upper(),
        path,
        operation["tags"][0],
        operation["summary"],
        operation.get("description", ""),
        (*_query_fields(parameters), *_form_fields(operation.get("requestBody"))),
        tuple(_answers(document, operation)),
        any(each["name"] == "dry-run" for each in parameters),
        operation.get("security") == [],
    )


def _resolve(document: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Resolve a reference within the document."""
    if "$ref" not in value:
        return value
    found: Any = document
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    resolved: Mapping[str, Any] = found
    return resolved


def _query_fields(parameters: list[Mapping[str, Any]]) -> Iterator[Field]:
    for each in parameters:
        if each["name"] != "dry-run" and each["in"] != "header":
            yield _field(each["name"], each["in"], each["schema"], each.get("required", False), "")


def _form_fields(body: Mapping[str, Any] | None) -> Iterator[Field]:
    form = body and body["content"].get("multipart/form-data")
    if not form:
        return
    examples = [each["value"] for each in form.get("examples", {}).values()]
    first = examples[0] if examples else {}
    for name, schema in form["schema"]["properties"].items():
        json_kind = name in form.get("encoding", {})
        value = json.dumps(first[name], indent=2) if json_kind and name in first else str(first.get(name, ""))
        yield _field(name, "form", schema, name in form["schema"].get("required", ()), value, json_kind)


def _field(
    name: str, place: str, schema: Mapping[str, Any], required: bool, value: str, json_kind: bool = False
) -> Field:
    choices = tuple(str(each) for each in schema.get("enum", ()))
    kind = _kind(schema, json_kind)
    shown = "" if kind == "secret" else value
    return Field(name, place, kind, required, schema.get("description", ""), schema, choices, shown)


def _kind(schema: Mapping[str, Any], json_kind: bool) -> str:
    if json_kind:
        return "json"
    if schema.get("format") == "binary":
        return "file"
    if schema.get("writeOnly"):
        return "secret"
    return "choice" if "enum" in schema else "text"


def _answers(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[Answer]:
    for status, each in operation["responses"].items():
        response = _resolve(document, each)
        yield Answer(status, response["description"], _example(response))


def _example(response: Mapping[str, Any]) -> str:
    for body in response.get("content", {}).values():
        shown = [body["example"]] if "example" in body else [e["value"] for e in body.get("examples", {}).values()]
        if shown:
            return "\n\n".join(each if isinstance(each, str) else _pretty(each) for each in shown)
    return ""


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
