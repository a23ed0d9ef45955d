"""Fixtures of the tests with a browser."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from jidoteki.testing import Host

LATE = os.environ.get("JIDOTEKI_BROWSER_LATE")


@pytest.fixture(scope="session", autouse=True)
def _late() -> Iterator[None]:
    """Answer browsers late, by the chance of a seed, where that is asked for."""
    if LATE is None:
        yield
        return
    with mock.patch.object(Host, "_command", (sys.executable, str(Path(__file__).with_name("late.py")), LATE)):
        yield


@pytest.fixture(scope="module")
def _chromium() -> Iterator[Any]:
    dashboardkit = pytest.importorskip("dashboardkit")
    if dashboardkit.CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with dashboardkit.chromium() as started:
        yield started


@pytest.fixture
def dashboard_browser(_chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A Browser of dashboardkit; its profiles end with the test."""
    yield _chromium
    directory = os.environ.get("JIDOTEKI_SCREENSHOTS")
    for number, context in enumerate(_chromium.contexts if directory else ()):
        for page in context.pages:
            assert directory
            page.screenshot(path=str(Path(directory, f"{request.node.name}-{number}.png")), full_page=True)
    _chromium.close()
