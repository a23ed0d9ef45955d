"""One run of tests in a process of its own, forked from one that has imported all but the product."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
class Usual:
    """How the tests run without a mutant.

    :param imported: modules that are not the product's.
    """

    seconds: float
    imported: list[str]


def without_mutant(tree: Path, tests: Sequence[str]) -> Usual:
    """Run the tests as they are; end everything when they fail."""
    started = time.monotonic()
    if not _passes(tree, tests, LONGEST):
        sys.exit(f"{' '.join(tests)} fail without a mutant:\n{(tree / 'output').read_text()}")
    imported: list[str] = json.loads((tree / "imported").read_text())
    return Usual(time.monotonic() - started, imported)


def begin(trees: Queue[Path], imported: Sequence[str]) -> None:
    """Make this process a worker with a tree of its own."""
    global _tree
    _tree = trees.get()
    for name in imported:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def is_killed(job: tuple[str, str, Sequence[str], float]) -> bool:
    """Say whether tests notice a mutant: its module, its source, the tests, and after how many seconds they must end."""
    module, source, tests, timeout = job
    path = _tree / module
    original = path.read_text()
    path.write_text(source)
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    try:
        return not _passes(_tree, tests, timeout)
    finally:
        path.write_text(original)


def _passes(tree: Path, tests: Sequence[str], timeout: float) -> bool:
    child = os.fork()
    if not child:
        _run(tree, tests)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(LOOK_EACH)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


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
        sys.dont_write_bytecode = True
        package = str(tree / "build/types")
        os.environ["PYTHONPATH"] = package
        sys.path.insert(0, package)
        os.chdir(tree)
        options = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
        status = int(pytest.main([*options, f"--basetemp={tree / 'tmp'}", *tests]))
        product = ("jidoteki", "test", "conftest", "__main__", "trial")
        (tree / "imported").write_text(json.dumps([each for each in sys.modules if not each.startswith(product)]))
    finally:
        sys.stdout.flush()
        os._exit(status)
