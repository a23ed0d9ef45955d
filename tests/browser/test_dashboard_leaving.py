"""Leaving a screen, by links and by the buttons of the browser: what was entered is not lost without a question."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dashboardkit import SETTINGS, Browser, Tab, expect, needs_browser

from jidoteki.testing import Host
from jidoteki.testing.fixtures import BUILT_IN, MakeHost

pytestmark = needs_browser


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=BUILT_IN)


def entered(browser: Browser, host: Host) -> Tab:
    """Return a tab that came to Network by way of Activity, with a text that is not saved."""
    tab = browser.tab(host).login().go("activity").go("network")
    tab.page.fill("#field-hostname", "typed.example")
    return tab


def question(tab: Tab) -> None:
    tab.page.get_by_role("heading", name="Leave this page?").wait_for()


def stays(tab: Tab) -> None:
    """Check, once the question is gone, that its screen is still there, with what was entered."""
    expect(tab.page.locator("dialog")).to_have_count(0)
    assert (tab.page.evaluate("location.pathname"), tab.page.inner_text("h1")) == ("/dashboard/network", "Network")
    assert tab.page.input_value("#field-hostname") == "typed.example"


def test_back_asks_and_staying_keeps_the_address_and_what_was_entered(dashboard_browser: Browser, host: Host) -> None:
    tab = entered(dashboard_browser, host)

    tab.page.go_back()
    question(tab)
    assert tab.page.evaluate("location.pathname") == "/dashboard/network"
    tab.page.click("dialog button:has-text('Cancel')")

    stays(tab)
    tab.page.go_back()
    question(tab)
    tab.assert_quiet()


def test_back_that_is_agreed_to_leads_to_the_screen_before_and_forward_again(
    dashboard_browser: Browser, host: Host
) -> None:
    tab = entered(dashboard_browser, host)

    tab.page.go_back()
    question(tab)
    tab.page.click("dialog button:has-text('Leave the page')")
    tab.page.wait_for_selector("h1:has-text('Activity')")
    expect(tab.page).to_have_url(f"{host.url}/dashboard/activity")
    tab.page.go_back()
    tab.page.wait_for_selector("h1:has-text('Home')")
    tab.page.go_forward()
    tab.page.wait_for_selector("h1:has-text('Activity')")
    assert tab.page.get_by_role("dialog").count() == 0
    tab.assert_quiet()


def test_back_again_while_it_is_asked_stays(dashboard_browser: Browser, host: Host) -> None:
    tab = entered(dashboard_browser, host)

    tab.page.go_back()
    question(tab)
    tab.page.go_back()

    stays(tab)
    tab.assert_quiet()


def test_back_asks_nothing_where_nothing_was_entered_or_all_was_saved(dashboard_browser: Browser, host: Host) -> None:
    answer = host.post("/settings", "-F", f"settings={json.dumps(SETTINGS)}")
    host.wait_for_job(f"/jobs/{answer.headers['Job-Id']}")
    tab = dashboard_browser.tab(host).login().go("activity").go("storage")
    tab.page.go_back()
    tab.page.wait_for_selector("h1:has-text('Activity')")
    tab.go("storage")
    tab.page.select_option("#field-type", "nfs")
    tab.page.fill("#field-nfs-ip", "192.168.1.9")
    tab.page.fill("#field-nfs-share", "/exports/data")
    tab.page.fill("#field-nfs-mount_options", "sync")
    tab.page.click("form button.primary:has-text('Save')")
    tab.page.click("dialog .danger")
    tab.wait_for("The new storage settings are saved.")

    tab.page.go_back()

    tab.page.wait_for_selector("h1:has-text('Activity')")
    tab.assert_quiet()


@pytest.mark.parametrize("refused", [True, False])
def test_what_was_sent_and_not_taken_is_asked_for_too(dashboard_browser: Browser, host: Host, refused: bool) -> None:
    answer = host.post("/settings", "-F", f"settings={json.dumps(SETTINGS)}")
    host.wait_for_job(f"/jobs/{answer.headers['Job-Id']}")
    tab = dashboard_browser.tab(host).login().go("network")
    tab.page.fill("#field-gateway", "nowhere" if refused else "192.168.1.2")
    tab.page.click("form button.primary")
    if refused:
        tab.page.locator("#field-gateway-problem:not(:empty)").wait_for()
    else:
        tab.page.click("dialog button:has-text('Cancel')")

    tab.page.click("nav a[href='/dashboard/home']")

    question(tab)
    tab.assert_quiet("status of 400 ")


def test_page_that_is_left_altogether_asks_in_the_words_of_the_browser(dashboard_browser: Browser, host: Host) -> None:
    tab = entered(dashboard_browser, host)
    kinds: list[str] = []

    def agree(dialog: Any) -> None:
        kinds.append(dialog.type)
        dialog.accept()

    tab.page.on("dialog", agree)

    tab.page.reload()

    tab.page.wait_for_selector("nav")
    assert kinds == ["beforeunload"]
    tab.page.reload()
    tab.page.wait_for_selector("nav")
    assert kinds == ["beforeunload"]
    tab.assert_quiet()
