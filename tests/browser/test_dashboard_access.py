"""Who gets into the dashboard, and what the browser keeps of the token."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import pytest
from dashboardkit import Browser, Tab, expect, needs_browser

from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost

pytestmark = needs_browser

REFUSED = r"status of 403 "
#: The stream of a key that is not valid any more is ended by the appliance.
ENDED = "ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET) .*/events"
KEPT = """async () => {
  const opened = await new Promise((done) => {
    const opening = indexedDB.open("jidoteki", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
    opening.onsuccess = () => done(opening.result);
  });
  const record = await new Promise((done) => {
    const getting = opened.transaction("keys").objectStore("keys").getAll();
    getting.onsuccess = () => done(getting.result[0]);
  });
  opened.close();
  return record && { extractable: record.key.extractable, type: record.key.constructor.name,
    exported: await crypto.subtle.exportKey("raw", record.key).then(() => "yes", (error) => error.name) };
}"""


def test_first_load_is_small_strict_and_asks_nobody_else(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(jidoteki_host())
    sizes: list[int] = []
    tab.page.on("requestfinished", lambda sent: sizes.append(sent.sizes()["responseBodySize"]))
    plain: list[int] = []
    tab.page.on("response", lambda got: plain.append(len(got.body())))

    answer = tab.page.goto(f"{tab.host.url}/")
    tab.page.wait_for_selector("#token")
    tab.page.wait_for_load_state("networkidle")

    assert len(tab.requests) <= 10, tab.requests
    assert sum(plain) <= 150 * 1000
    assert sum(sizes) <= 45 * 1000
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy and "data:" not in policy
    assert "require-trusted-types-for 'script'" in policy
    tab.assert_quiet()


def test_open_setup_is_shown_at_the_first_load_and_leads_home(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = dashboard_browser.tab(jidoteki_host(token=None)).open()

    tab.wait_for("Set up this appliance")
    expect(tab.page.locator("#passphrase")).to_have_count(0)
    tab.page.fill("#newtoken", "a-new-token")
    tab.page.fill("#again", "another")
    tab.page.click("button.primary")
    tab.wait_for("The two tokens differ.")
    expect(tab.page.locator("#again")).to_be_focused()
    tab.page.fill("#again", "a-new-token")
    tab.page.click("button.primary")
    tab.page.wait_for_selector("nav")
    expect(tab.page).to_have_title(re.compile("^Home"))
    tab.assert_quiet()


def test_first_run_asks_for_the_passphrase_at_the_first_load(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host(token=None, first_run={"enabled": True})
    passphrase = (host.appliance.etc / "api.token.setup").read_text().strip()
    tab = dashboard_browser.tab(host).open()

    tab.page.fill("#passphrase", "not the right one")
    tab.page.fill("#newtoken", "a-new-token")
    tab.page.fill("#again", "a-new-token")
    tab.page.click("button.primary")
    tab.wait_for("This passphrase is not the right one.")
    tab.page.fill("#passphrase", passphrase)
    tab.page.click("button.primary")
    tab.page.wait_for_selector("nav")
    tab.assert_quiet(REFUSED)


def test_login_then_home_and_the_token_is_nowhere(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login(kept=True)
    tab.page.reload()
    tab.page.wait_for_selector("nav")

    for sent in (*tab.requests, *tab.bodies):
        assert TOKEN not in sent
    storage = tab.page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    assert storage == json.dumps([{}, {}, ""], separators=(",", ":"))
    kept = tab.page.evaluate(KEPT)
    assert kept == {"extractable": False, "type": "CryptoKey", "exported": "InvalidAccessError"}
    tab.assert_quiet()


def test_key_is_not_stored_unless_asked_for(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login()

    assert tab.page.evaluate(KEPT) is None


def reload(tab: Tab) -> None:
    """Load the page again, which hands over the key: the browser is not bound to store it before the page is gone."""
    tab.page.reload()
    tab.page.wait_for_selector("nav, #token")
    assert tab.page.locator("#token").count() == 0, "the key was not handed over"


def test_reload_does_not_sign_out_and_coming_back_later_does(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login()
    for _ in range(2):
        reload(tab)
    assert tab.page.evaluate(KEPT) is None

    tab.page.add_init_script("const now = Date.now; Date.now = () => now() + 31_000")
    tab.page.reload()
    tab.page.wait_for_selector("#token")
    assert tab.page.evaluate(KEPT) is None
    tab.assert_quiet()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_reload_does_not_sign_out_on_a_busy_computer(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        for _ in range(50):
            reload(tab)
    finally:
        for each in busy:
            each.kill()
            each.wait()


#: Loads the page once more at the moment when it erases the key that it was handed.
AGAIN = """{
  const { delete: erase } = IDBObjectStore.prototype;
  const isLast = window.name === "last";
  addEventListener("DOMContentLoaded", () => document.documentElement.classList.toggle("last", isLast));
  IDBObjectStore.prototype.delete = function (name) {
    if (!isLast) {
      window.name = "last";
      location.reload();
    }
    return erase.call(this, name);
  };
}"""


def test_page_that_is_loaded_again_while_it_takes_over_the_key_does_not_sign_out(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login()
    tab.page.add_init_script(AGAIN)
    tab.page.reload()
    tab.page.wait_for_selector(".last :is(nav, #token)")
    assert tab.page.locator("#token").count() == 0
    tab.becomes(KEPT, None)
    tab.assert_quiet()


def test_second_tab_is_signed_in_and_both_are_signed_out_together(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host, profile = jidoteki_host(), dashboard_browser.profile()
    first = dashboard_browser.tab(host, profile).login(kept=True)
    second = dashboard_browser.tab(host, profile).open("/dashboard/update")
    second.page.wait_for_selector("nav")
    expect(second.page).to_have_title(re.compile("^Update"))

    second.page.click("text=Sign out")
    second.page.wait_for_selector("#token")
    first.page.wait_for_selector("#token")
    first.becomes(KEPT, None)
    for tab in (first, second):
        tab.assert_quiet()


def test_wrong_token_costs_one_request_and_keeps_the_focus(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).open()
    tab.page.fill("#token", "wrong")
    tab.page.press("#token", "Enter")
    tab.wait_for("This API token is not valid.")

    assert len(tab.asked("/api/v1/admin/")) == 1
    expect(tab.page.locator("#token")).to_be_focused()
    expect(tab.page.locator("#token")).to_have_attribute("aria-invalid", "")
    tab.assert_quiet(REFUSED)


def test_token_changed_elsewhere_ends_all_tabs_without_throttling_the_address(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host, profile = jidoteki_host(), dashboard_browser.profile()
    tabs = [dashboard_browser.tab(host, profile).login(kept=True)]
    for _ in range(2):
        tabs.append(dashboard_browser.tab(host, profile).open("/dashboard/activity"))
        tabs[-1].page.wait_for_selector("nav")

    assert host.post("/setup", "-F", "newtoken=changed-elsewhere").status == 200
    for tab in tabs:
        tab.page.wait_for_selector("#token", timeout=10_000)
    time.sleep(2)
    refused = [each for tab in tabs for each in tab.statuses if each[0] == 403]
    assert 1 <= len(refused) <= 3, refused
    began = time.monotonic()
    tabs[0].page.fill("#token", "changed-elsewhere")
    tabs[0].page.click("form[data-login] button.primary")
    tabs[0].page.wait_for_selector("nav")
    assert time.monotonic() - began < 5
    for tab in tabs:
        tab.assert_quiet(REFUSED, ENDED)


def test_deep_link_works_after_login_and_back_goes_back(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login(path="/dashboard/update")
    expect(tab.page).to_have_title(re.compile("^Update"))

    tab.go("activity")
    expect(tab.page).to_have_url(f"{tab.host.url}/dashboard/activity")
    expect(tab.page.locator("#app h1")).to_be_focused()
    tab.page.go_back()
    expect(tab.page).to_have_title(re.compile("^Update"))
    expect(tab.page.locator("#app h1")).to_have_text("Update")
    tab.assert_quiet()


def test_menu_shows_only_what_a_named_token_may_do(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("backup", "settings", "tokens"), authentication={"named-tokens": True})
    made = host.post("/tokens", "-F", "name=backups", "-F", "scopes=/backup")
    assert made.status == 200, made
    tab = dashboard_browser.tab(host).login(token=str(made.json["token"]))

    links = tab.page.eval_on_selector_all("nav a", "all => all.map((each) => each.getAttribute('href'))")
    assert "/dashboard/backup" in links
    assert "/dashboard/network" not in links and "/dashboard/update" not in links
    assert "/dashboard/storage" not in links  # not enabled
    expect(tab.page.locator("nav button.restart")).to_have_count(0)


def test_dashboard_that_is_switched_off_serves_nothing(jidoteki_host: MakeHost) -> None:
    host: Host = jidoteki_host(plugins={"dashboard": {"enabled": False}})

    assert host.get("/session").status == 404
    assert host.get("/../../../dashboard").status == 404


def test_token_that_was_copied_with_a_space_is_the_same_token(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login(token=f" {TOKEN} ")  # which no token has

    expect(tab.page.locator("#app h1")).to_have_text("Home")
    tab.assert_quiet()
