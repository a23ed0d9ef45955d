"""`/docs` in a real browser: calls are tried from the page, and the token never leaves it.

Needs the program `chromium` and the package `playwright`; skipped where one is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dashboardkit import CHROMIUM, FLAGS, expect, needs_browser, playwright

from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN

pytestmark = needs_browser


@dataclass
class Visit:
    """A page of a browser, what it asked for, and what it complained about."""

    page: Any
    urls: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def call(self, operation: str, token: str = TOKEN) -> str:
        """Open an operation, call it and return what the page shows of the outcome."""
        self.page.fill("#token", token)
        self.page.click(f"#{operation} > summary")
        self.page.click(f"#{operation} button[type=submit]")
        outcome = self.page.locator(f"#{operation} .outcome")
        outcome.locator("h4").wait_for(timeout=10_000)
        return str(outcome.inner_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any, jidoteki_module_host: Host, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """`/docs`, opened in a window of the size that the test's parameter names; by default a desktop's."""
    width, height = getattr(request, "param", (1200, 900))
    context = browser.new_context(ignore_https_errors=True, viewport={"width": width, "height": height})
    made = Visit(context.new_page())
    made.page.on("request", lambda sent: made.urls.append(f"{sent.url} {sent.headers} {sent.post_data}"))

    def complain(said: Any) -> None:
        if said.type in ("error", "warning"):
            made.complaints.append(said.text)

    made.page.on("console", complain)
    made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
    made.page.goto(f"{jidoteki_module_host.url}/docs")
    yield made
    directory = os.environ.get("JIDOTEKI_SCREENSHOTS")
    if directory:
        made.page.screenshot(path=str(Path(directory, f"{request.node.name}.png")), full_page=False)
    context.close()


def test_call_from_the_page_is_authenticated_and_the_token_never_leaves_it(visit: Visit) -> None:
    outcome = visit.call("getVersion")

    assert "200 OK" in outcome
    assert '"version": "1.0.0"' in outcome
    assert not [url for url in visit.urls if TOKEN in url]
    assert [url for url in visit.urls if "/version?hash=" in url]


def test_page_breaks_no_rule_of_its_policy_and_asks_nobody_else(visit: Visit, jidoteki_module_host: Host) -> None:
    visit.call("getHealth")

    assert visit.complaints == []
    assert [url for url in visit.urls if not url.startswith(jidoteki_module_host.url)] == []


def test_wrong_token_is_told(visit: Visit) -> None:
    assert "403" in visit.call("getBuild", token="wrong")


def test_dry_run_of_a_form_is_the_default(visit: Visit) -> None:
    outcome = visit.call("postSetup")

    assert "400" in outcome
    assert "newtoken is required" in outcome
    assert "dry-run=1" in visit.urls[-1]


def test_job_is_followed_to_its_end(visit: Visit) -> None:
    visit.page.evaluate("document.querySelector('#postBackup-dry-run').checked = false")

    visit.call("postBackup")

    visit.page.get_by_text(re.compile("/jobs/.*-backup: success")).wait_for(timeout=20_000)


def test_download_is_offered(visit: Visit) -> None:
    visit.call("getLogs")

    with visit.page.expect_download() as download:
        visit.page.click("#getLogs .outcome a")

    assert download.value.suggested_filename == "logs.tar.gz"


@pytest.mark.parametrize("visit", [(360, 740)], indirect=True)
def test_page_fits_a_phone(visit: Visit) -> None:
    visit.page.click("#getVersion > summary")

    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_page_can_be_worked_by_keyboard_alone(visit: Visit) -> None:
    visit.page.keyboard.press("Tab")
    first = visit.page.evaluate("document.activeElement.textContent")
    visit.page.focus("#token")
    visit.page.keyboard.type(TOKEN)
    visit.page.focus("#getVersion > summary")
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")

    assert first == "Skip to the content"
    expect(visit.page.locator("#getVersion .outcome")).to_contain_text("200 OK")
