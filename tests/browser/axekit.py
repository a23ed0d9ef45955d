"""axe-core, which finds what keeps people with disabilities out of a page.

Needs the package `axe-playwright-python`; tests are skipped where it is missing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboardkit import Tab

axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
AXE = Path(axe.__file__).with_name("axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(tab: Tab) -> list[str]:
    """Return what axe-core finds on the page."""
    tab.page.evaluate(AXE)
    found = tab.page.evaluate("tags => axe.run(document, { runOnly: tags })", TAGS)
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
