"""The reference of the contract is made from it, complete, and its imports work."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from types import ModuleType

import pytest
from places import ROOT

import jidoteki.client
import jidoteki.hookspecs
import jidoteki.testing

PAGE = (ROOT / "docs/reference.md").read_text()
MODULES = [f"jidoteki.hookspecs.{path.stem}" for path in (ROOT / "hookspecs").glob("*.py") if path.stem != "__init__"]
EXPORTED = [
    *((jidoteki.hookspecs, name) for name in jidoteki.hookspecs.__all__ if name not in ("Hooks", "validators")),
    *((jidoteki.testing, name) for name in jidoteki.testing.__all__),
    *((jidoteki.client, name) for name in jidoteki.client.__all__),
]


def script() -> ModuleType:
    """The script that makes the page."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(name: str) -> str:
    """What the page says of a name, members included."""
    found = re.findall(rf"^### {re.escape(name)}\n(.*?)(?=^###? |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"docs/reference.md has nothing on {name}"
    return "\n".join(found)


def test_the_page_is_the_one_made_from_the_docstrings() -> None:
    assert script().page() == PAGE, "run make docs"


@pytest.mark.parametrize(("module", "name"), EXPORTED, ids=lambda each: getattr(each, "__name__", each))
def test_an_exported_name_is_described_with_its_public_members(module: ModuleType, name: str) -> None:
    value = getattr(module, name)
    told = section(name)

    assert len(told.splitlines()) > 4
    members = [each for each in vars(value) if not each.startswith("_")] if inspect.isclass(value) else []
    # Properties and fields are in the list, methods have headings of their own.
    assert [each for each in members if f"#### {name}.{each}\n" not in told and f"- `{each}:" not in told] == []


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_of_the_contract_defines_is_on_the_page(module: str) -> None:
    defined = [
        name for name, value in vars(importlib.import_module(module)).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module and name != "Hooks"
    ]  # fmt: skip

    assert [name for name in defined if f"\n### {name}\n" not in PAGE] == []


def test_every_import_on_the_page_works() -> None:
    statements = re.findall(r"^```python\n(from .*?)```", PAGE, re.DOTALL | re.MULTILINE)

    assert len(statements) > len(MODULES)
    for statement in statements:
        exec(statement, {})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NotTrustedError", "somebody other than root"), ("Appliance", "`group: int | None`"),
        ("Job", "#### Job.script"),
        ("Job", "#### Job.log_plain"), ("Request", "#### Request.job_record\n"), ("Event", "- `outcome:"),
        ("JobError", "JobError(message: str, code: str = 'E1000')"), ("append_regular", "mode: int = 0o600"),
    ],
)  # fmt: skip
def test_what_authors_look_up_is_there(name: str, said: str) -> None:
    assert said in section(name)
