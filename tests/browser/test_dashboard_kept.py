"""What a dashboard must keep: the way between screens, what somebody entered, and its language, whatever fails."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from dashboardkit import SETTINGS, Browser, Tab, expect, needs_browser

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = [needs_browser, pytest.mark.timeout(300)]

HIDDEN = "Object.defineProperty(document, 'visibilityState', { get: () => 'hidden' })"
AWAY = "ERR_"


def with_settings(make_host: MakeHost, **sections: Any) -> Host:
    host = make_host(enable=("settings",), **sections)
    answer = host.post("/settings", "-F", f"settings={json.dumps(SETTINGS)}")
    host.wait_for_job(f"/jobs/{answer.headers['Job-Id']}")
    return host


def editing(browser: Browser, host: Host) -> Tab:
    """Return a tab in which somebody is changing the hostname."""
    tab = browser.tab(host).login(path="/dashboard/network")
    tab.page.fill("#field-hostname", "half.typed")
    return tab


def test_menu_works_whatever_the_health_file_says(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("backup",), health={"refresh": 0})
    tab = dashboard_browser.tab(host).login()
    for shown, odd in (
        (1, {"cpu": {"load": 0.5}, "disk": 7}),
        (0, {"cpu": "busy", "memory": {"percentage": "much"}}),
    ):
        host.appliance.replace_file(host.appliance.etc / "health.json", json.dumps({"status": 1, **odd}))
        tab.page.reload()
        tab.page.wait_for_selector("nav")
        tab.go("activity").go("home")
        expect(tab.page.locator("header .figures dd")).to_have_count(shown)
        assert "NaN" not in tab.text() and "undefined" not in tab.text()
    tab.assert_quiet()


def test_what_was_entered_is_left_only_after_a_question(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = editing(dashboard_browser, with_settings(jidoteki_host))
    for link in ("home", "network"):
        tab.page.click(f"nav a[href='/dashboard/{link}']")
        tab.page.click("dialog button:has-text('Cancel')")
        expect(tab.page.locator("dialog")).to_have_count(0)
        assert tab.page.input_value("#field-hostname") == "half.typed"

    tab.page.focus("a.skip")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("#content")).to_be_focused()
    assert tab.page.input_value("#field-hostname") == "half.typed"

    tab.page.click("nav a[href='/dashboard/home']")
    tab.page.click("dialog button:has-text('Leave the page')")
    expect(tab.page).to_have_title(re.compile("^Home"))
    tab.assert_quiet()


def test_new_version_of_the_page_waits_for_what_is_being_entered(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = with_settings(jidoteki_host)
    tab = editing(dashboard_browser, host)
    port = host.url.rsplit(":", 1)[1]
    host.stop()
    host.configure(plugins={"dashboard": {"name": "Another name"}})
    host.start("--port", port)

    tab.page.locator("button:has-text('Load it again')").wait_for(timeout=30_000)
    assert tab.page.input_value("#field-hostname") == "half.typed"
    tab.page.click("button:has-text('Load it again')")
    tab.wait_for("Another name")
    tab.assert_quiet(AWAY)


def test_token_that_opens_no_screen_is_told_so(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("tokens", "metrics"), authentication={"named-tokens": True})
    token = host.post("/tokens", "-F", "name=scraper", "-F", "scopes=GET /metrics").json["token"]
    tab = dashboard_browser.tab(host).login(token)

    tab.wait_for("opens none of the pages here")
    tab.assert_quiet()


def test_hidden_tab_that_reads_for_all_does_not_leave_the_visible_one_without_figures(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host()
    profile = dashboard_browser.profile()
    profile.route("**/admin/events**", lambda route: route.fulfill(status=503, body="{}"))
    first = dashboard_browser.tab(host, profile)
    first.page.add_init_script(HIDDEN)
    first.login()
    second = dashboard_browser.tab(host, profile).open()
    second.page.wait_for_selector("nav")

    second.page.locator("header .figures dd").first.wait_for(timeout=30_000)


def test_language_that_cannot_be_had_is_english(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(plugins={"dashboard": {"languages": {"fr": "/usr/local/etc/fr.json"}}}, start=False)
    host.appliance.replace_file(host.appliance.system_etc / "fr.json", '{"Sign in": "Se connecter"}')
    host.start()
    french = dashboard_browser.tab(host, locale="fr-FR").open()
    expect(french.page.locator("button.primary")).to_have_text("Se connecter")
    for locale, failure in (("fr-FR", {"body": '{"Sign'}), ("de-DE", None), ("de-DE", {"status": 503})):
        profile = dashboard_browser.profile(locale=locale)
        profile.route("**/languages/*", answering(failure))
        tab = dashboard_browser.tab(host, profile).open()
        expect(tab.page.locator("button.primary")).to_have_text("Sign in")


def answering(failure: dict[str, Any] | None) -> Any:
    return (lambda route: route.abort()) if failure is None else (lambda route: route.fulfill(**failure))


def test_answers_that_are_lost_at_the_beginning_leave_no_empty_page(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login()
    lost = ["**/admin/session**", "**/docs/openapi.json"]
    for each in lost:
        tab.page.route(each, lambda route: route.abort())
    tab.page.reload()
    tab.page.wait_for_timeout(1_000)
    assert "Loading" in tab.text()

    tab.page.unroute(lost[0])
    tab.page.route(lost[0], lambda route: route.fulfill(status=503, body="{}"))
    tab.page.wait_for_timeout(3_000)
    assert tab.page.locator("#token").count() == 0
    for each in lost:
        tab.page.unroute(each)
    tab.page.wait_for_selector("nav", timeout=30_000)


def test_changelog_of_any_shape_is_shown_at_once(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    text = f"Changes\n=======\n2**3**4 and **kwargs\n# a{' ' * 60_000}b\n{'** ' * 20_000}\n"
    host.appliance.replace_file(host.appliance.etc / "changelog.txt", text)
    began = time.monotonic()
    tab = dashboard_browser.tab(host).login()
    shown = tab.page.locator("main .changelog")
    shown.wait_for()

    assert time.monotonic() - began < 10
    expect(shown.locator("h3").first).to_have_text("Changes")
    expect(shown).to_contain_text("2**3**4 and **kwargs")


def test_upload_is_left_only_after_a_question(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Any
) -> None:
    host = jidoteki_host()
    (tmp_path / "big.enc").write_bytes(bytes(50_000_000))
    tab = dashboard_browser.tab(host).login(path="/dashboard/update")
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 500_000}
    session.send("Network.emulateNetworkConditions", slow)
    tab.page.set_input_files("#field-package", tmp_path / "big.enc")
    tab.page.click("text=Check the package")
    wait_until(lambda: host.get("/uploads").json["uploads"])

    tab.page.click("nav a[href='/dashboard/home']")
    expect(tab.page.locator("dialog")).to_contain_text("is thrown away")
    tab.page.click("dialog button:has-text('Cancel')")
    assert len(host.get("/uploads").json["uploads"]) == 1
    tab.page.click("nav a[href='/dashboard/home']")
    tab.page.click("dialog button:has-text('Leave the page')")
    wait_until(lambda: not host.get("/uploads").json["uploads"])
