"""`python -m bench [--quick] [NAME …]`: run the benchmarks, print one table, write `bench/results.json`."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from pathlib import Path

from bench.rows import Row, table, write

#: In the order in which users feel them.
ALL = (
    "version",
    "upload",
    "resumable",
    "latency",
    "update_job",
    "backup",
    "download",
    "logs",
    "start",
    "many_plugins",
    "events",
    "connections",
    "operating",
)


def main() -> None:
    """Run them."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends the servers too
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios against references run side by side.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes and few runs")
    given = parser.parse_args()
    rows: list[Row] = []
    results = Path(__file__).with_name("results.json")
    for name in given.names or ALL:
        started = time.monotonic()
        rows += importlib.import_module(f"bench.{name}").rows(given.quick)
        write(rows, results, given.quick)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(table(rows))
    if given.quick:
        print("Small sizes: what a start costs weighs more than in the whole benchmark, and misses some targets.")


if __name__ == "__main__":
    main()
