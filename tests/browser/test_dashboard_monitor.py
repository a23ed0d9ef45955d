"""The charts of load, memory, network and disk: what they show, and what they cost."""

from __future__ import annotations

import os
import re
import time
from typing import Any

import pytest
from dashboardkit import Browser, Tab, expect, needs_browser

from jidoteki.plugins.history.series import FINEST
from jidoteki.plugins.history.store import Store
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

#: The day comes first by itself.
RANGES = {"Hour": "1h", "Day": "1d", "Week": "1w", "Month": "1m", "Year": "1y"}
COLUMNS = {"load": ["load"], "memory": ["memory"], "network": ["received", "sent"], "disk": ["disk"]}
LONG = os.environ.get("JIDOTEKI_BROWSER") == "long"
TABLE = """chart => [...document.querySelectorAll(`[data-chart=${chart}] tbody tr`)].map((row) => [
  Date.parse(row.querySelector('time').dateTime) / 1000,
  ...[...row.querySelectorAll('td')].map((cell) => cell.querySelector('data')).map((data) => data && Number(data.value))
])"""
HIDE = """hidden => {
  Object.defineProperty(document, "visibilityState", { value: hidden ? "hidden" : "visible", configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def with_history(make_host: MakeHost) -> Host:
    """Return a host that has recorded for two days, but not for an hour of them."""
    host = make_host(start=False)
    store = Store(host.appliance.jobs / "health-history.sqlite3")
    end = FINEST.bucket(time.time())
    times = [end - age for age in range(2 * 86400, 0, -FINEST.step) if not 7200 < age < 10800]
    for first in range(0, len(times), 200):
        part = times[first : first + 200]
        store.write({at: (0.25 + at % 7 / 8, 40.0 + at % 5, 61.5, 2000.0 + at % 900, 500.0) for at in part})
    return host.start()


@pytest.fixture
def tab(dashboard_browser: Browser, jidoteki_host: MakeHost) -> Tab:
    tab = dashboard_browser.tab(with_history(jidoteki_host)).login().go("monitor")
    tab.page.wait_for_selector("figure svg")
    return tab


def asked(tab: Tab) -> list[str]:
    return list(tab.asked("/health/history"))


def test_each_range_is_drawn_and_its_table_equals_the_answer(tab: Tab) -> None:
    for title, name in RANGES.items():
        with tab.page.expect_response(re.compile(f"range={name}")) as answered:
            tab.page.click(f".ranges button:has-text('{title}')")
        columns = answered.value.json()["columns"]
        tab.page.wait_for_selector(".charts[aria-busy=false]")
        expect(tab.page).to_have_url(f"{tab.host.url}/dashboard/monitor/{name}")
        expect(tab.page.locator("figure svg[role=img]")).to_have_count(4)
        for chart, names in COLUMNS.items():
            figure = tab.page.locator(f"[data-chart={chart}]")
            expect(figure.locator("svg[role=img] path.line")).to_have_count(len(names))
            if not figure.locator("details").get_attribute("open"):
                figure.locator("summary").click()
            figure.locator("tbody tr").first.wait_for()
            shown = tab.page.evaluate(TABLE, chart)
            told = [list(row) for row in zip(columns["time"], *(columns[each] for each in names), strict=True)]
            assert shown == told[::-1], (chart, name)
            figure.locator("summary").click()
    tab.assert_quiet()


def told(browser: Browser, make_host: MakeHost, others: list[int | None], **columns: Any) -> Tab:
    """Return a tab that is told two values of each column, and not what this machine does meanwhile."""
    tab = browser.tab(make_host()).login()
    names = ("load", "memory", "disk", "received", "sent")
    answer = {"range": "1d", "step": 300, "columns": {"time": [1, 301], **dict.fromkeys(names, others), **columns}}
    tab.page.route("**/health/history*", lambda route: route.fulfill(json=answer))
    return tab.go("monitor")


def test_caption_says_in_words_what_the_lines_show(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = told(dashboard_browser, jidoteki_host, [1, 1], memory=[40, 44], received=[2000, 2500], sent=[500, 500])

    network = tab.page.locator("[data-chart=network] figcaption")
    expect(network).to_contain_text("Received: now 2.5 kB/s, lowest 2 kB/s, highest 2.5 kB/s")
    expect(network).to_contain_text("Sent: now 500 byte/s, lowest 500 byte/s, highest 500 byte/s")
    expect(tab.page.locator("[data-chart=memory] figcaption")).to_contain_text("Now 44%, lowest 40%, highest 44%")


def test_nothing_is_drawn_where_nothing_is_known(tab: Tab) -> None:
    path = tab.page.get_attribute("[data-chart=load] svg[role=img] path.line-1", "d")

    assert path.count("M") >= 2


def test_labels_of_the_axes_are_whole_and_apart(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = with_history(jidoteki_host)
    for width in (320, 1280):
        tab = dashboard_browser.tab(host, width=width).login().go("monitor")
        for name in RANGES.values():
            tab.page.click(f".ranges button:nth-of-type({list(RANGES.values()).index(name) + 1})")
            tab.page.wait_for_selector(".charts[aria-busy=false] svg text")
            cut = tab.page.evaluate(
                """[...document.querySelectorAll('figure svg[role=img]')].flatMap((chart) => {
                  const around = chart.getBoundingClientRect();
                  const texts = [...chart.querySelectorAll('text')].map((each) => each.getBoundingClientRect());
                  const out = texts.filter((box) => box.left < around.left - .5 || box.right > around.right + .5
                    || box.top < around.top - .5 || box.bottom > around.bottom + .5);
                  const over = texts.filter((box, at) => texts.some((other, next) => next > at && box.left < other.right
                    && other.left < box.right && box.top + 3 < other.bottom && other.top + 3 < box.bottom));
                  return [...out, ...over].map((box) => JSON.stringify(box));
                })"""
            )
            assert cut == [], (width, name)


def test_axis_of_an_idle_network_counts_each_number_once(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = told(dashboard_browser, jidoteki_host, [1, 1], received=[None, 0], sent=[None, 1])

    labels = tab.page.locator("[data-chart=network] svg text:has-text('/s')").all_text_contents()
    assert len(labels) > 2
    assert len(set(labels)) == len(labels), labels
    tab.assert_quiet()


def test_first_visit_says_that_there_is_no_history_yet(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = told(dashboard_browser, jidoteki_host, [None, None])

    tab.wait_for("Nothing is known of this time yet.")
    assert tab.page.locator("figure").count() == 0
    tab.assert_quiet()


def test_requests_come_one_after_the_other(tab: Tab) -> None:
    going: list[str] = []
    most = 0

    def begin(sent: Any) -> None:
        nonlocal most
        if "/health/history" in sent.url:
            going.append(sent.url)
            most = max(most, len(going))

    def end(sent: Any) -> None:
        if sent.url in going:
            going.remove(sent.url)

    def slowly(route: Any) -> None:
        time.sleep(0.3)
        route.continue_()

    tab.page.on("request", begin)
    tab.page.on("requestfinished", end)
    tab.page.route("**/health/history*", slowly)
    for title in (*RANGES, *RANGES):
        tab.page.click(f".ranges button:has-text('{title}')")
    tab.page.wait_for_selector(".charts[aria-busy=false]")
    tab.page.wait_for_timeout(1000)

    assert most == 1
    expect(tab.page.locator(".ranges button:has-text('Year')")).to_have_attribute("aria-pressed", "true")


def test_hidden_tab_asks_at_most_twice_a_minute(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(with_history(jidoteki_host))
    tab.page.clock.install()
    tab.login(path="/dashboard/monitor/1h")
    tab.page.wait_for_selector("figure svg")
    tab.page.evaluate(HIDE, True)
    before = len(tab.asked("/api/v1/admin/(?!events)"))
    for _ in range(12):
        tab.page.clock.run_for(5_000)
        tab.page.wait_for_timeout(50)
    assert len(tab.asked("/api/v1/admin/(?!events)")) - before <= 2

    before = len(asked(tab))
    tab.page.clock.run_for(60_000)
    tab.page.evaluate(HIDE, False)
    wait_until(lambda: tab.page.wait_for_timeout(500) or len(asked(tab)) > before)
    assert len(asked(tab)) == before + 1


def test_error_is_told_and_the_next_answer_takes_it_away(tab: Tab) -> None:
    refused = '{"Status":"503","Error-Message":"Out of service"}'
    tab.page.route(
        "**/health/history*", lambda route: route.fulfill(status=503, body=refused, content_type="application/json")
    )
    tab.page.click(".ranges button:has-text('Week')")
    tab.page.get_by_role("alert").get_by_text("Out of service").wait_for()
    tab.page.unroute("**/health/history*")
    tab.page.click(".ranges button:has-text('Month')")
    tab.page.wait_for_selector(".charts[aria-busy=false]")

    expect(tab.page.get_by_role("alert")).to_have_count(0)
    tab.assert_quiet("status of 503")


@pytest.mark.timeout(900)
@pytest.mark.skipif(not LONG, reason="takes minutes: JIDOTEKI_BROWSER=long")
def test_an_hour_open_does_not_fill_the_memory(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(with_history(jidoteki_host))
    tab.page.clock.install()
    tab.login(path="/dashboard/monitor/1h")
    tab.page.wait_for_selector("figure svg")
    inspector = tab.page.context.new_cdp_session(tab.page)

    def used() -> float:
        inspector.send("HeapProfiler.collectGarbage")
        return float(inspector.send("Runtime.getHeapUsage")["usedSize"])

    sizes = []
    for minute in range(60):
        before = len(asked(tab))
        while len(asked(tab)) == before:
            tab.page.clock.run_for(10_000)
            tab.page.wait_for_timeout(50)
        if minute % 10 == 9 or minute == 2:
            sizes.append(used())

    assert sizes[-1] - sizes[0] < 5_000_000, sizes
