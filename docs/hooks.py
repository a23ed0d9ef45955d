"""Writes docs/hooks.md from the contract and from the examples in tests/samples/hooks: `python docs/hooks.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jidoteki.hookspecs
from jidoteki.hookspecs import CONTRACT, Hooks

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/hooks.md"
EXAMPLES = ROOT / "tests/samples/hooks"

INTRODUCTION = f"""\
Version {CONTRACT} of the contract. This page is made from it by `python docs/hooks.py`; the examples are run by the
tests. How to write a plugin: [the tutorial](plugins.md); what its functions get and return:
[the reference](reference.md)."""
LOADING = "At start-up, when the configuration is read again, and in the process of each job of the plugin"
CALLED = {
    "jidoteki_config_schema": f"{LOADING}; before the plugin's other hooks.",
    "jidoteki_jobs": f"{LOADING}.",
    "jidoteki_endpoints": f"{LOADING}.",
    "jidoteki_pages": "At start-up, and when the configuration is read again. It has 10 seconds.",
    "jidoteki_screens": "At start-up, and when the configuration is read again. It has 10 seconds.",
    "jidoteki_file_sources": "At start-up, and when the configuration is read again. It has 10 seconds.",
    "jidoteki_commands": """
When `jidoteki` is asked for a sub-command that is not its own, and by `jidoteki --help`. The plugins are those of the
appliance at `$JIDOTEKI_ROOT`, or at `/`. A command with the name of one of the host or of another plugin is not added,
and a plugin that fails is named on standard error.""",
    "jidoteki_init": "By `jidoteki init`, after the host has made its own files.",
    "jidoteki_check": """
By `jidoteki check`, as the user who runs it, whether the service runs or not. It has a minute; a plugin that fails is
itself told as an error.""",
    "jidoteki_startup": """
Once, before the first request is accepted; of a plugin that came with a configuration read again, then. It has
10 seconds; a plain function is called in a thread. `service` may be kept until the service ends.""",
    "jidoteki_services": "At each `GET /services`, in a thread. It has 10 seconds.",
    "jidoteki_health": "Every `health.refresh` seconds, in a thread. It has 10 seconds.",
    "jidoteki_metrics": """
In a thread when `GET /metrics` is asked for, at most once a second. It has 2 seconds. What makes no sense
is left out of the answer, and the log says why.""",
    "jidoteki_apply": "In the process of the job that changes the settings `app`, `network`, `storage` or `certs`.",
    "jidoteki_event": """
After each audit line and each start and end of a job, one event at a time, in a thread. It has 10 seconds. At most
1,000 events wait, then newer ones are lost; after three failures in a row a plugin is told of no more.""",
    "jidoteki_shutdown": """
Once, after the last request was answered. It has 10 seconds; a plain function is called in a thread. Events may follow
it.""",
}


def hooks() -> dict[str, Callable[..., Any]]:
    """Every hook of the contract, in its order."""
    return {name: each for name, each in vars(Hooks).items() if name.startswith("jidoteki_")}


def example_of(name: str) -> Path:
    """The file with the example of a hook."""
    return EXAMPLES / f"{name}.py"


def page() -> str:
    """The text of the page.

    :raises KeyError: it is not said when a hook is called.
    :raises OSError: a hook has no example.
    """
    rule = inspect.cleandoc(jidoteki.hookspecs.__doc__ or "").partition("\n\n")[2]
    contract = inspect.cleandoc(Hooks.__doc__ or "")
    head = [
        "# Hooks",
        INTRODUCTION,
        rule,
        contract,
    ]
    return "\n\n".join([*head, *(_section(name, hook) for name, hook in hooks().items())]) + "\n"


def _section(name: str, hook: Callable[..., Any]) -> str:
    example = example_of(name)
    return "\n\n".join(
        [
            f"## {name}",
            f"```python\n{_signature(name, hook)}\n```",
            inspect.cleandoc(hook.__doc__ or ""),
            f"Called: {CALLED[name].strip()}",
            f"Example, `{example.relative_to(ROOT)}`:",
            f"```python\n{example.read_text()}```",
        ]
    )


def _signature(name: str, hook: Callable[..., Any]) -> str:
    signature = inspect.signature(hook)
    parameters = [f"{each.name}: {each.annotation}" for each in signature.parameters.values() if each.name != "self"]
    return f"def {name}({', '.join(parameters)}) -> {signature.return_annotation}"


if __name__ == "__main__":
    PAGE.write_text(page())
