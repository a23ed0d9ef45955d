"""Counts which mutants of the modules that decide are noticed by their tests; prints each survivor and a table.

A module has few fast tests (`modules.toml`). A mutant that passes them all has survived, unless `explained.toml` says
why nothing can notice it. Mutants live in copies of the tree below build/mutants, one for each worker; root's see all
the rest read-only, for a mutant of what writes files writes anywhere.
"""

from __future__ import annotations

import argparse
import difflib
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trial

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build/mutants"
MAKER = BUILD / "venv/bin/python"
COPIED = ("client", "core", "docs", "etc", "examples", "hookspecs", "plugins", "testing", "tests", "pyproject.toml")
LEAST = 90
SEED = 1
CONFINED = "JIDOTEKI_MUTANTS_CONFINED"
COLUMNS = ("made", "tried", "killed", "endless", "explained", "survived")
#: How much longer than without a mutant the tests may take, and seconds beside that.
SLOWER, MORE = 4, 2.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change."""

    line: int
    source: str

    def changed(self, original: str) -> tuple[str, str]:
        """The lines that differ, before and after, without white space."""
        before, after = original.splitlines(), self.source.splitlines()
        gone, come = [], []
        for tag, first, last, new_first, new_last in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
            if tag != "equal":
                gone += before[first:last]
                come += after[new_first:new_last]
        return _bare(" ".join(gone)), _bare(" ".join(come))


def _bare(text: str) -> str:
    """A text without white space, which means nothing in the place of one change."""
    return "".join(text.split())


@dataclass(slots=True)
class Score:
    """What became of the mutants of a module."""

    module: str
    made: int
    tried: int = 0
    killed: int = 0
    endless: int = 0
    explained: int = 0
    survived: int = 0
    seconds: float = 0.0

    @property
    def percent(self) -> float:
        """Of the mutants that are not explained, those that were noticed."""
        noticed = self.killed + self.endless
        return 100 * noticed / (noticed + self.survived) if noticed + self.survived else 100.0

    def count(self, verdict: trial.Verdict) -> None:
        """Count what became of one."""
        setattr(self, verdict.value, getattr(self, verdict.value) + 1)

    def row(self) -> str:
        """The module's line of the table."""
        numbers = "".join(f"{getattr(self, each):>10}" for each in COLUMNS)
        return f"{self.module:36}{numbers}{self.percent:9.1f} %{self.seconds:7.0f} s"


def main() -> int:
    """Try the mutants, and return 1 when too many of any module survive, or an explanation fits no mutant."""
    options = _options()
    if os.geteuid() == 0 and CONFINED not in os.environ and shutil.which("unshare"):
        _confine()
    table = tomllib.loads((HERE / "modules.toml").read_text())
    wanted = [module for module in table if not options.modules or any(each in module for each in options.modules)]
    if not wanted:
        sys.exit(f"modules.toml has none of {', '.join(options.modules)}")
    explained = tomllib.loads((HERE / "explained.toml").read_text())
    trees = [_copy(number) for number in range(options.workers)]
    context = multiprocessing.get_context("fork")
    scores, faults = [], []
    for module in wanted:
        tests = table[module]["tests"]
        imported = trial.imported_by(trees[0], tests)
        queue = context.Queue()
        for tree in trees:
            queue.put(tree)
        with ProcessPoolExecutor(options.workers, context, trial.begin, (queue, imported)) as pool:
            score, problems = _try_all(pool, module, tests, options.sample, explained.get(module, []))
        scores.append(score)
        faults += problems
    _print(scores)
    print("\n".join(faults))
    return int(bool(faults) or any(each.percent < LEAST for each in scores))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="parts of the modules' names; all by default")
    parser.add_argument("--sample", type=int, default=0, help="try so many of a module's mutants at random; 0 for all")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def _confine() -> None:
    """Go on where nothing but build/mutants can be written: root's mutants write anywhere."""
    os.environ[CONFINED] = "1"
    os.environ["TMPDIR"] = str(BUILD / "tmp")
    (BUILD / "tmp").mkdir(parents=True, exist_ok=True)
    mounts = 'mount --bind "$0" "$0" && mount -o remount,bind,ro /'
    script = f'{{ {mounts}; }} || echo "What mutants write is not confined" >&2; exec "$@"'
    inner = ["sh", "-c", script, str(BUILD), sys.executable, *sys.argv]
    command = ["unshare", "--mount", "--propagation", "private", *inner]
    if subprocess.run([*command[:4], "true"], check=False).returncode == 0:
        os.execvp(command[0], command)
    print("What mutants write is not confined", file=sys.stderr)


def _copy(number: int) -> Path:
    """Copy what the tests need, arranged as one import package as in the checkout."""
    tree = BUILD / f"tree-{number}"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, symlinks=True)
        else:
            shutil.copy2(ROOT / name, tree / name)
    package = tree / "build/types/jidoteki"
    package.mkdir(parents=True)
    for name in ("client", "core", "hookspecs", "plugins", "testing"):
        (package / name).symlink_to(tree / name)
    return tree


def _try_all(
    pool: ProcessPoolExecutor, module: str, tests: Sequence[str], sample: int, explained: Sequence[Mapping[str, Any]]
) -> tuple[Score, list[str]]:
    original = (ROOT / module).read_text()
    mutants = _mutants(module)
    score = Score(module, len(mutants))
    if 0 < sample < len(mutants):
        mutants = random.Random(SEED).sample(mutants, sample)
    started = time.monotonic()
    reasons = {(_bare(each["was"]), _bare(one)) for each in explained for one in each["becomes"]}
    changes = {each: each.changed(original) for each in mutants}
    to_try = [each for each, changed in changes.items() if changed not in reasons]
    score.tried, score.explained = len(mutants), len(mutants) - len(to_try)
    seconds = pool.submit(trial.seconds_of, tests).result()
    print(f"{module}: {len(to_try)} of {score.made} mutants, {seconds:.1f} s without one", flush=True)
    trials = [trial.Trial(module, each.source, tests, SLOWER * seconds + MORE) for each in to_try]
    for mutant, verdict in zip(to_try, pool.map(trial.judge, trials), strict=True):
        score.count(verdict)
        if verdict is trial.Verdict.SURVIVED:
            _show(module, original, mutant)
    score.seconds = time.monotonic() - started
    stale = sorted(reasons - set(changes.values())) if len(mutants) == score.made else []
    return score, [f"explained.toml explains no mutant of {module}: {was} -> {becomes}" for was, becomes in stale]


def _mutants(module: str) -> list[Mutant]:
    made = subprocess.run([MAKER, HERE / "make.py", ROOT / module], capture_output=True, check=True)
    return [Mutant(each["line"], each["source"]) for each in json.loads(made.stdout)]


def _show(module: str, original: str, mutant: Mutant) -> None:
    lines = difflib.unified_diff(original.splitlines(), mutant.source.splitlines(), lineterm="", n=1)
    shown = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    print(f"\nSurvived, {module}:{mutant.line}", *shown, sep="\n", flush=True)


def _print(scores: Sequence[Score]) -> None:
    print(f"\n{'module':36}{''.join(f'{each:>10}' for each in COLUMNS)}      score")
    print(*(each.row() for each in scores), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
