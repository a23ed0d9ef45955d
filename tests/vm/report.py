"""Writes what machines survived whose power was cut into `docs/faults.md`: `python report.py RESULTS.xml …`.

RESULTS.xml is pytest's own report, in which each test is a case; there are several where not all ran at once.
"""

from __future__ import annotations

import platform
import sys
import time
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

TARGET = Path(__file__).parents[2] / "docs/faults.md"
RELEASES = {"bookworm": "12", "trixie": "13"}
HEADING = "\n## On a machine whose power is cut\n"
INTRODUCTION = """
Written by `make vm-cuts`: the Debian package on a machine that qemu emulates, with Debian's kernel and ext4 on a disk.
SIGKILL of qemu is the power cut, after which the machine boots again and is looked at.
Root's jobs run in units of their own.

"""


def rows_of(reports: Sequence[Path]) -> dict[str, list[int]]:
    """Return the cases and the failures of each test, by its name in words."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for case in (each for report in reports for each in ET.parse(report).getroot().iter("testcase")):  # noqa: S314  # our own
        if case.find("skipped") is None:
            row = rows[case.get("name", "").partition("[")[0].removeprefix("test_").replace("_", " ")]
            row[0] += 1
            row[1] += case.find("failure") is not None or case.find("error") is not None
    return dict(rows)


def releases_of(reports: Sequence[Path]) -> str:
    """Return the releases of Debian that were tested: `12 and 13`."""
    names = " ".join(case.get("name", "") for report in reports for case in ET.parse(report).getroot().iter("testcase"))  # noqa: S314  # our own
    return " and ".join(number for suite, number in RELEASES.items() if f"[{suite}" in names)


def main(reports: Sequence[Path]) -> int:
    """Replace the section of the page, and return the exit status."""
    rows = rows_of(reports)
    if not rows:
        sys.stderr.write("Nothing was run: docs/faults.md stays as it is\n")
        return 1
    lines = ["| what is so afterwards | cases run | failed |", "|---|---:|---:|"]
    lines += [f"| {name} | {cases} | {failed} |" for name, (cases, failed) in sorted(rows.items())]
    total = [sum(each[column] for each in rows.values()) for column in (0, 1)]
    lines += [f"| **all** | **{total[0]}** | **{total[1]}** |", ""]
    today = time.strftime("%Y-%m-%d", time.gmtime())
    lines += [f"{today}, Debian {releases_of(reports)} in qemu without acceleration, {platform.machine()}."]
    others = TARGET.read_text().partition(HEADING)[0]
    TARGET.write_text(others + HEADING + INTRODUCTION + "\n".join(lines) + "\n")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main([Path(each) for each in sys.argv[1:]]))
