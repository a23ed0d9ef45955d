"""`GET /events` followed by the EventSource of a real browser, over restarts of the service.

Needs the program `chromium` and the package `playwright`; skipped where one is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from eventkit import PREFIX, publishing

from jidoteki.testing import Host, MakeHost

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

EVENTS = 1000
FOLLOW = """
url => {
    window.received = [];
    window.names = [];
    const source = new EventSource(url);
    for (const name of ["hello", "state", "reset", "bye"]) {
        source.addEventListener(name, () => window.names.push(name));
    }
    source.addEventListener("publisher.tick", event => window.received.push(JSON.parse(event.data).number));
}
"""


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return publishing(jidoteki_host)


@pytest.fixture
def page() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started.new_context(ignore_https_errors=True, bypass_csp=True).new_page()
        started.close()


def test_a_browser_follows_1000_events_over_two_restarts_without_a_gap(host: Host, page: Any) -> None:
    port = host.url.rsplit(":", 1)[1]
    page.goto(f"{host.url}/docs")
    page.evaluate(FOLLOW, f"{host.url}{PREFIX}/events{host.query('GET', '/events')}")
    page.wait_for_function("window.names.includes('state')")

    for life, first, count in ((1, 1, 333), (2, 334, 333), (3, 667, 334)):
        page.wait_for_function(f"window.names.filter(name => name === 'hello').length === {life}")
        host.get("/publisher", query=f"first={first}&count={count}&step=10")
        if first < 667:
            host.stop()
            host.start("--port", port)
    page.wait_for_function(f"window.received.at(-1) === {EVENTS}", timeout=60_000)

    assert page.evaluate("window.received") == list(range(1, EVENTS + 1))
    names = page.evaluate("window.names")
    assert names == ["hello", "state", *["bye", "hello"] * 2]


def test_the_manual_shows_the_stream_as_it_comes(host: Host, page: Any) -> None:
    page.goto(f"{host.url}/docs")
    page.fill("#token", str(host.token))
    page.click("#getEvents > summary")
    page.click("#getEvents button[type=submit]")
    outcome = page.locator("#getEvents .outcome")
    outcome.get_by_text("event: state").wait_for(timeout=20_000)
    host.get("/publisher", query="first=7")
    outcome.get_by_text("event: publisher.tick").wait_for(timeout=20_000)

    playwright.expect(outcome).to_contain_text("200")
