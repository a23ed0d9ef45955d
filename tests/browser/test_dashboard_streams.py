"""One stream of events for all tabs of a browser, and polling where there is none."""

from __future__ import annotations

import time
from typing import Any

from dashboardkit import LATE, Browser, Tab, needs_browser

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

ENDED = "ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|CONNECTION_REFUSED|EMPTY_RESPONSE)"
#: A stream that nobody may open; the rest is as ever.
NO_STREAM = "status of 503"


def streams(tabs: list[Tab]) -> list[str]:
    return [each for tab in tabs for each in tab.asked("/admin/events")]


def open_tabs(browser: Browser, host: Host, count: int) -> list[Tab]:
    profile = browser.profile()
    tabs = [browser.tab(host, profile).login(kept=True)]
    for _ in range(count - 1):
        began = time.monotonic()
        tabs.append(browser.tab(host, profile).open("/dashboard/activity"))
        tabs[-1].page.wait_for_selector("nav")
        assert time.monotonic() - began < 2 or LATE
    return tabs


def test_seven_tabs_share_one_stream_which_the_next_takes_over(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host(enable=("backup",))
    tabs = open_tabs(dashboard_browser, host, 7)
    assert len(streams(tabs)) == 1

    tabs[0].page.close()
    wait_until(lambda: tabs[1].page.wait_for_timeout(100) or len(streams(tabs)) == 2, 10)
    assert host.post("/backup", "-F", "action=START").status == 202
    for tab in tabs[1:]:
        tab.until(SEEN_IN_ACTIVITY)
    assert len(streams(tabs)) == 2


SEEN_IN_ACTIVITY = "document.querySelector('main').innerText.includes('Backup')"


def test_service_ends_within_two_seconds_with_tabs_open_and_they_come_back_by_themselves(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host()
    tabs = open_tabs(dashboard_browser, host, 3)
    port = host.url.rpartition(":")[2]
    began = time.monotonic()
    host.stop()
    assert time.monotonic() - began < 2

    tabs[0].wait_for("The appliance does not answer. Trying again")
    host.start("--port", port)
    for tab in tabs:
        tab.becomes("document.querySelector('.connection').innerText", "")
        tab.assert_quiet(ENDED)


def test_figures_are_polled_where_there_is_no_stream(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("backup",))
    profile = dashboard_browser.profile()
    profile.route("**/admin/events**", refuse)
    tab = dashboard_browser.tab(host, profile).login()
    tab.go("activity")
    tab.page.wait_for_selector("header .figures dd")

    assert host.post("/backup", "-F", "action=START").status == 202
    tab.until(SEEN_IN_ACTIVITY)
    tab.assert_quiet(NO_STREAM)


def refuse(route: Any) -> None:
    route.fulfill(status=503, headers={"Retry-After": "60"}, content_type="application/json", body='{"Status":"503"}')
