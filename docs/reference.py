"""Writes docs/reference.md from the docstrings of contract, test kit and client: `python docs/reference.py`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import griffe

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/reference.md"

CONTRACT = "jidoteki.hookspecs"
KIT = "jidoteki.testing"
CLIENT = "jidoteki.client"
FIRST = ("appliance", "jobs", "endpoints", "responses", "descriptions", "findings", "hooks", "validators", "paths")
"""The modules that every author meets, in the order in which that happens; the others follow by name."""
WIDTH = 100

INTRODUCTION = """\
All that a plugin and its tests may import, made from the docstrings by `python docs/reference.py`. How to write a
plugin: [the tutorial](plugins.md); when hooks are called: [the hooks](hooks.md). Last comes what is for programs that
use the API from afar, [the Python client](#python-client)."""


def page() -> str:
    """The text of the page."""
    logging.getLogger("griffe").setLevel(logging.ERROR)  # fields of a dataclass are described in its own docstring
    modules = load(ROOT / "hookspecs", CONTRACT)
    names = [*FIRST, *sorted(modules.keys() - {*FIRST, "__init__"})]
    aliases = [each for each in modules["__init__"].members.values() if isinstance(each, griffe.Alias)]
    exported = {each.target_path for each in aliases}
    parts = ["# Reference", INTRODUCTION]
    for name in names:
        parts += _module(modules[name], exported)
    parts += _kit(load(ROOT / "testing", KIT))
    parts += _exports("Python client", CLIENT, load(ROOT / "client", CLIENT))
    return "\n\n".join(part for part in parts if part) + "\n"


def load(directory: Path, package: str) -> dict[str, griffe.Module]:
    """Return the modules of a package by their own names, without importing them."""
    return {
        path.stem: griffe.visit(f"{package}.{path.stem}".removesuffix(".__init__"), path, path.read_text())
        for path in sorted(directory.glob("*.py"))
    }


def public(module: griffe.Module) -> list[griffe.Object]:
    """Return what a module defines for others, in its own order."""
    return [
        each
        for name, each in module.members.items()
        if isinstance(each, griffe.Object) and not name.startswith("_") and name not in ("logger", "TYPE_CHECKING")
    ]


def _module(module: griffe.Module, exported: set[str]) -> list[str]:
    found = [each for each in public(module) if each.name != "Hooks"]  # those have a page of their own
    title = module.path.rpartition(".")[2].replace("_", " ").capitalize()
    imports = _imports(CONTRACT, [each for each in found if each.path in exported])
    imports += _imports(module.path, [each for each in found if each.path not in exported])
    return [f"## {title}", _text(module), f"```python\n{imports}```", _also(module), *_members(found)]


def _also(module: griffe.Module) -> str:
    """What can be imported from a module, and is described where it is defined."""
    names = [str(each) for each in module.exports or () if module.members[str(each)].is_alias]
    return f"Here, too: {', '.join(f'[{name}](#{name})' for name in names)}." if names else ""


def _kit(modules: dict[str, griffe.Module]) -> list[str]:
    found = [each for module in modules.values() for each in public(module)]
    fixtures = [each for each in found if isinstance(each, griffe.Function) and _is_fixture(each)]
    return [
        *_exports("Test kit", KIT, modules),
        "### Fixtures",
        "\n".join(_fixture(each) for each in fixtures),
    ]


def _exports(title: str, package: str, modules: dict[str, griffe.Module]) -> list[str]:
    """What a package exports, each described where it is defined."""
    found = {each.name: each for module in modules.values() for each in public(module)}
    exported = [found[str(name)] for name in modules["__init__"].exports or ()]
    imports = _imports(package, exported)
    return [f"## {title}", _text(modules["__init__"]), f"```python\n{imports}```", *_members(exported)]


def _fixture(function: griffe.Function) -> str:
    made = str(function.returns).removeprefix("Iterator[").removesuffix("]")
    return f"- `{function.name}: {made}`: {' '.join(_text(function).split())}"


def _is_fixture(function: griffe.Function) -> bool:
    return any("fixture" in str(each.value) for each in function.decorators)


def _imports(module: str, names: list[griffe.Object]) -> str:
    """The statement that imports these, none for none."""
    line = f"from {module} import {', '.join(sorted(each.name for each in names))}"
    if len(line) > WIDTH:
        line = f"from {module} import (\n    {line.partition(' import ')[2].replace(', ', f',{chr(10)}    ')},\n)"
    return f"{line}\n" if names else ""


def _members(found: list[griffe.Object]) -> Iterator[str]:
    for each in found:
        yield f"### {each.name}"
        yield f"```python\n{_declaration(each)}\n```"
        if isinstance(each, griffe.Class):
            yield from _class(each)
        else:
            yield _text(each)


def _class(cls: griffe.Class) -> Iterator[str]:
    members = [
        each
        for name, each in cls.members.items()
        if isinstance(each, griffe.Object) and (name[0] != "_" or name == "__call__")
    ]
    attributes = [each for each in members if isinstance(each, griffe.Attribute)]
    # A dataclass has its fields described in its own docstring.
    said = {} if "__init__" in cls.members else _fields(cls)
    yield _text(cls, fields=not said)
    yield "\n".join(_attribute(each, said) for each in attributes if each.annotation or each.docstring)
    for each in members:
        if isinstance(each, griffe.Function):
            yield f"#### {cls.name}.{each.name}"
            yield f"```python\n{_signature(each)}\n```"
            yield _text(each)


def _fields(cls: griffe.Class) -> dict[str, str]:
    sections = cls.docstring.parse("sphinx") if cls.docstring else []
    lists = [each.value for each in sections if isinstance(each, griffe.DocstringSectionParameters)]
    return {field.name: _line(field) for fields in lists for field in fields}


def _attribute(attribute: griffe.Attribute, said: Mapping[str, str]) -> str:
    annotation = f": {attribute.annotation}" if attribute.annotation else ""
    default = f" = {attribute.value}" if attribute.value is not None else ""
    about = " ".join(_text(attribute).split()) or said.get(attribute.name, "")
    return f"- `{attribute.name}{annotation}{default}`" + (f": {about}" if about else "")


def _declaration(each: griffe.Object) -> str:
    if isinstance(each, griffe.Function):
        return _signature(each)
    if isinstance(each, griffe.Class):
        bases = ", ".join(str(base) for base in each.bases)
        line = f"class {each.name}({bases})" if bases else f"class {each.name}"
        made = each.members.get("__init__")
        return f"{line}\n{_signature(made, each.name)}" if isinstance(made, griffe.Function) else line
    return _source(each)


def _source(each: griffe.Object) -> str:
    """The lines that define a constant, as they stand in the file."""
    assert isinstance(each.filepath, Path) and each.lineno and each.endlineno
    lines = each.filepath.read_text().splitlines()[each.lineno - 1 : each.endlineno]
    return "\n".join(lines)


def _signature(function: griffe.Function, made: str | None = None) -> str:
    """The signature as it may stand in a file: on one line, or with a line for each parameter.

    :param made: the class whose `__init__` it is.
    """
    own = [each for each in function.parameters if each.name not in ("self", "cls")]
    for each in own:
        each.default = None if each.default is None else _octal(each.name, str(each.default))
    function.parameters = griffe.Parameters(*own)
    signature = function.signature(return_type=made is None).removeprefix(function.name)
    before = made or f"{'async ' if 'async' in function.labels else ''}def {function.name}"
    if len(before + signature) <= WIDTH:
        return before + signature
    inside, _, returned = signature.removeprefix("(").rpartition(")")
    return f"{before}(\n    {_split(inside)}\n){returned}"


def _octal(name: str, value: str) -> str:
    """The value of what is one of permission bits, as everybody writes those."""
    return f"0o{int(value):o}" if name.lower().startswith(("mode", "umask")) and value.isdecimal() else value


def _split(parameters: str) -> str:
    """Put each parameter on a line: commas within brackets belong to types and values."""
    depth = 0
    lines = ""
    for character in parameters.replace("\n", " "):
        depth += (character in "([{") - (character in ")]}")
        lines += ",\n   " if character == "," and depth == 0 else character
    return f"{lines},"


def _text(each: griffe.Object, *, fields: bool = True) -> str:
    """The docstring, its fields as a list.

    :param fields: whether parameters are among them.
    """
    if each.docstring is None:
        return ""
    parts: list[str] = []
    for section in each.docstring.parse("sphinx"):
        if isinstance(section, griffe.DocstringSectionText):
            parts.append(section.value)
        elif isinstance(section, griffe.DocstringSectionParameters) and fields:
            parts.append("\n".join(f"- `{field.name}`: {_line(field)}" for field in section.value))
        elif isinstance(section, griffe.DocstringSectionReturns):
            parts.append("\n".join(f"- returns {_line(field)}" for field in section.value))
        elif isinstance(section, griffe.DocstringSectionRaises):
            parts.append("\n".join(f"- raises `{field.annotation}`: {_line(field)}" for field in section.value))
    lists = [part.startswith("- ") for part in parts]
    joined = "".join(
        part if number == 0 else ("\n" if lists[number] and lists[number - 1] else "\n\n") + part
        for number, part in enumerate(parts)
    )
    return joined.strip()


def _line(field: griffe.DocstringElement) -> str:
    return " ".join(field.description.split())


if __name__ == "__main__":
    PAGE.write_text(page())
