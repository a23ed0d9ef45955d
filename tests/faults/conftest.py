"""Every row of the fault suite counts its cases; `JIDOTEKI_FAULTS=long` makes the numbers large."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultkit import LONG, Tally


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts the cases of a test under the first line of its module's description."""
    row = (request.module.__doc__ or request.module.__name__).partition("\n")[0].rstrip(".")
    tally = Tally(row)
    yield tally
    results = os.environ.get("JIDOTEKI_FAULTS_RESULTS")
    if results:
        counted = {"row": row, "long": LONG, "cases": tally.cases, "failed": len(tally.failed)}
        line = json.dumps({**counted, "figures": tally.figures})
        with Path(results).open("a") as file:
            file.write(line + "\n")


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Sockets that are closed at the end; there may be more of them than a user usually has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192 if hard == resource.RLIM_INFINITY else min(8192, hard), hard))
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def scaled() -> object:
    """Return a function that picks the short or the long number."""
    return lambda short, long: long if LONG else short
