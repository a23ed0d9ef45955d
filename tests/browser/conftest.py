"""Fixtures of the tests with a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


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
