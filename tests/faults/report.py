"""Prints the table of the fault suite and writes `docs/faults.md`: `python report.py RESULTS PACKAGES.xml`.

RESULTS has a JSON line for each test, as the fixture `tally` writes it; PACKAGES.xml is pytest's own report on the
suites that test single packages and archives, where each test is a case.
"""

from __future__ import annotations

import json
import platform
import sys
import time
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

TARGET = Path(__file__).parents[2] / "docs/faults.md"
PACKAGES = "Hostile packages and archives: refused before anything is written outside of the work space"
LONG_PACKAGES = 10_000
HEAD = """# What the service survived

Written by `make faults`, which runs everything below against a server process on the loopback interface; `make test`
runs the same code with smaller numbers (a row that says *short* was last run with
those). [The threat model](threat-model.md) says what is defended and what is not.

"""


def rows_of(results: Path) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Cases and failures of each row, and what was measured."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    figures: dict[str, str] = {}
    for line in results.read_text().splitlines():
        result = json.loads(line)
        rows[result["row"]][0] += result["cases"]
        rows[result["row"]][1] += result["failed"]
        figures.update(result["figures"])
    return dict(rows), figures


def packages_of(report: Path) -> list[int]:
    """Cases and failures of a report of pytest."""
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314  # our own report
    counts = [(int(each.get("tests", 0)), int(each.get("failures", 0)) + int(each.get("errors", 0))) for each in suites]
    return [sum(tests for tests, _ in counts), sum(failed for _, failed in counts)]


def main(results: Path, packages: Path) -> int:
    """Write the page and return the exit status."""
    rows, figures = rows_of(results)
    short = {
        json.loads(line)["row"] for line in results.read_text().splitlines() if not json.loads(line).get("long", True)
    }
    rows[PACKAGES] = packages_of(packages)
    short |= {PACKAGES} if rows[PACKAGES][0] < LONG_PACKAGES else set()
    lines = ["| row | numbers | cases run | failed |", "|---|---|---:|---:|"]
    for row, (cases, failed) in sorted(rows.items()):
        lines.append(f"| {row} | {'short' if row in short else 'long'} | {cases:,} | {failed:,} |")
    total = [sum(each[column] for each in rows.values()) for column in (0, 1)]
    lines += [f"| **all** | | **{total[0]:,}** | **{total[1]:,}** |", "", "| measured | |", "|---|---:|"]
    lines += [f"| {name} | {value} |" for name, value in sorted(figures.items())]
    machine = f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    lines += ["", f"{time.strftime('%Y-%m-%d', time.gmtime())}, {machine}."]
    _, section, of_machines = TARGET.read_text().partition("\n## ")  # `make vm-cuts` writes that
    TARGET.write_text(HEAD + "\n".join(lines) + "\n" + section + of_machines)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
