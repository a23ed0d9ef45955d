"""One run of tests in a process of its own, forked from one that has imported all but the product."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from multiprocessing.queues import Queue
from pathlib import Path
from typing import NoReturn

import pytest

LOOK_EACH = 0.01
#: What a mutant that does not end, or allocates or writes without bound, is stopped at; bytes.
MEMORY = 4 * 1024**3
FILE = 1024**3
LONGEST = 600.0

_tree: Path


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutant and what is to judge it.

    :param module: path of the module below the tree.
    :param tests: arguments of pytest.
    :param timeout: seconds after which the tests must have ended.
    """

    module: str
    source: str
    tests: Sequence[str]
    timeout: float


class Verdict(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    ENDLESS = "endless"
    SURVIVED = "survived"


def imported_by(tree: Path, tests: Sequence[str]) -> list[str]:
    """Run the tests as they are, and return what they import that is not the product's; end all when they fail."""
    if _run_in_child(tree, tests, LONGEST) is not Verdict.SURVIVED:
        sys.exit(f"{' '.join(tests)} fail without a mutant:\n{(tree / 'output').read_text()}")
    names: list[str] = json.loads((tree / "imported").read_text())
    return names


def seconds_of(tests: Sequence[str]) -> float:
    """Return how long the tests take in this worker."""
    started = time.monotonic()
    _run_in_child(_tree, tests, LONGEST)
    return time.monotonic() - started


def begin(trees: Queue[Path], imported: Sequence[str]) -> None:
    """Make this process a worker with a tree of its own."""
    global _tree
    _tree = trees.get()
    for name in imported:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.freeze()


def judge(trial: Trial) -> Verdict:
    """Run the tests of a mutant."""
    path = _tree / trial.module
    original = path.read_text()
    path.write_text(trial.source)
    # Of the same length and second, one mutant would be taken for another.
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
    try:
        return _run_in_child(_tree, trial.tests, trial.timeout)
    finally:
        path.write_text(original)


def _run_in_child(tree: Path, tests: Sequence[str], timeout: float) -> Verdict:
    child = os.fork()
    if not child:
        _run(tree, tests)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return Verdict.KILLED if status else Verdict.SURVIVED
        time.sleep(LOOK_EACH)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Verdict.ENDLESS


def _run(tree: Path, tests: Sequence[str]) -> NoReturn:
    status = 70
    try:
        os.setsid()
        with (tree / "output").open("wb") as output:
            for descriptor in (1, 2):
                os.dup2(output.fileno(), descriptor)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        package = str(tree / "build/types")
        os.environ["PYTHONPATH"] = package
        sys.path.insert(0, package)
        os.chdir(tree)
        options = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis", "--hypothesis-seed=0"]
        status = int(pytest.main([*options, f"--basetemp={tree / 'tmp'}", *tests]))
        product = ("jidoteki", "test", "conftest", "__main__", "trial")
        (tree / "imported").write_text(json.dumps([each for each in sys.modules if not each.startswith(product)]))
    finally:
        sys.stdout.flush()
        os._exit(status)
