"""The administrator's token and named tokens at the dashboard."""

from __future__ import annotations

import datetime
import re

import pytest
from dashboardkit import Browser, Tab, expect, needs_browser

from jidoteki.testing import Host, MakeHost
from jidoteki.testing.fixtures import TOKEN

pytestmark = needs_browser

REFUSED = r"status of 4\d\d "
#: The stream of a key that is not valid any more is ended by the appliance.
ENDED = r"ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET) .*/events"
NEW = "a-token-of-another-day"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=("tokens",), authentication={"named-tokens": True})


def change(tab: Tab, token: str, again: str) -> None:
    tab.page.fill("#field-newtoken", token)
    tab.page.fill("#field-again", again)
    tab.page.click("button:has-text('Change the API token')")


def test_session_goes_on_with_the_new_token_in_all_tabs(dashboard_browser: Browser, host: Host) -> None:
    profile = dashboard_browser.profile()
    leading = dashboard_browser.tab(host, profile).login(kept=True)
    tab = dashboard_browser.tab(host, profile).open("/dashboard/access")
    tab.page.wait_for_selector("#field-newtoken")

    change(tab, NEW, NEW)
    tab.wait_for("The new token is in force. You stay signed in.")
    expect(tab.page.locator("#field-newtoken")).to_have_value("")
    tab.page.wait_for_timeout(3_000)

    assert host.get("/version").status == 403
    host.token = NEW
    assert host.get("/version").status == 200
    for each in (tab, leading):
        each.go("license" if each.page.locator("nav a[href='/dashboard/license']").count() else "activity")
        each.go("home")
        each.wait_for("This appliance")
        assert not [status for status in each.statuses if status[0] == 403]
    tab.page.reload()
    tab.page.wait_for_selector("nav")
    sent = [each for both in (tab, leading) for each in (*both.requests, *both.bodies)]
    assert not [each for each in sent if TOKEN in each]
    assert len([each for each in sent if NEW in each]) == 1  # the body of POST /setup
    for each in (tab, leading):
        each.assert_quiet(ENDED)


def test_tokens_that_differ_or_have_spaces_are_not_sent(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login(path="/dashboard/access")

    change(tab, NEW, f"{NEW}x")
    tab.wait_for("The two tokens differ.")
    expect(tab.page.locator("#field-again")).to_be_focused()
    change(tab, "with space", "with space")
    tab.page.wait_for_selector("#field-newtoken[aria-invalid]")
    assert not tab.asked("POST .*/setup")
    assert host.get("/version").status == 200
    tab.assert_quiet()


def test_token_that_cannot_be_stored_changes_nothing(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login(path="/dashboard/access")
    tab.page.wait_for_selector("#field-newtoken")
    refusal = {"Status": "400 Bad Request", "Error-Message": "The token cannot be stored: No space left"}
    tab.page.route(re.compile(r"/setup\?"), lambda route: route.fulfill(status=400, json=refusal))

    change(tab, NEW, NEW)
    tab.wait_for("The token cannot be stored: No space left")

    tab.go("home")
    tab.wait_for("This appliance")
    tab.assert_quiet(REFUSED)


def test_answer_that_is_lost_does_not_sign_out_whoever_changed_the_token(
    dashboard_browser: Browser, host: Host
) -> None:
    tab = dashboard_browser.tab(host).login(path="/dashboard/access")
    tab.page.wait_for_selector("#field-newtoken")

    def lose(route: object) -> None:
        route.fetch()  # type: ignore[attr-defined]  # playwright has no types here
        route.abort("connectionreset")  # type: ignore[attr-defined]

    tab.page.route(re.compile(r"/setup\?"), lose)
    change(tab, NEW, NEW)
    tab.wait_for("The new token is in force. You stay signed in.")

    tab.go("home")
    tab.wait_for("This appliance")
    tab.assert_quiet(ENDED, "ERR_CONNECTION_RESET .*/setup")


def test_named_token_is_shown_once_copied_used_and_revoked(dashboard_browser: Browser, host: Host) -> None:
    profile = dashboard_browser.profile()
    profile.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = dashboard_browser.tab(host, profile).login(path="/dashboard/access")
    tab.page.wait_for_selector("#field-name")
    day = datetime.date.today() + datetime.timedelta(days=3)

    tab.page.fill("#field-name", "monitor")
    tab.page.select_option("#field-role", "paths")
    tab.page.fill("#field-scopes", "GET /version, /nowhere")
    tab.page.fill("#field-expires", day.isoformat())
    tab.page.click("button:has-text('Make the token')")
    tab.wait_for("The token monitor is made")
    token = tab.page.inner_text(".token code")
    tab.wait_for("/nowhere allows nothing")
    tab.page.click("button:has-text('Copy')")
    tab.wait_for("Copied.")
    assert tab.page.evaluate("navigator.clipboard.readText()") == token

    listed = host.get("/tokens").json["tokens"]["monitor"]
    assert listed["scopes"] == ["GET /version", "/nowhere"]
    assert datetime.date.fromtimestamp(listed["expires"]) == day
    bearer = ("-H", f"Authorization: Bearer {token}")
    assert host.get("/version", *bearer, auth="none").status == 200
    tab.go("home")
    tab.go("access")
    tab.wait_for("GET /version, /nowhere")
    assert token not in tab.page.content()

    tab.page.click("button:has-text('Revoke')")
    tab.page.click("dialog button:has-text('Revoke')")
    tab.wait_for("There are none yet.")
    assert host.get("/version", *bearer, auth="none").status == 403
    tab.assert_quiet()


def test_named_tokens_fit_into_a_narrow_window(dashboard_browser: Browser, host: Host) -> None:
    for name in ("monitoring", "deployment"):
        assert host.post("/tokens", "-F", f"name={name}", "-F", "scopes=read").status == 200
    tab = dashboard_browser.tab(host, width=320).login(path="/dashboard/access")
    tab.wait_for("look at everything")

    assert (
        tab.page.evaluate(
            "(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)(document.querySelector('.wide'))"
        )
        <= 0
    )
    revoke = tab.page.get_by_role("button", name="Revoke deployment").bounding_box()
    assert revoke and revoke["x"] + revoke["width"] <= 320
    expect(tab.page.get_by_role("rowheader")).to_have_count(2)  # a table it stays
    tab.assert_quiet()


def test_refused_name_is_told_and_what_was_entered_stays(dashboard_browser: Browser, host: Host) -> None:
    host.post("/tokens", "-F", "name=monitor", "-F", "scopes=read")
    tab = dashboard_browser.tab(host).login(path="/dashboard/access")
    tab.page.wait_for_selector("#field-name")

    tab.page.fill("#field-name", "monitor")
    tab.page.click("button:has-text('Make the token')")
    told = tab.page.locator("form [role=alert], form .problem:not(:empty)").first
    expect(told).to_contain_text("there is a token called monitor already")
    tab.page.fill("#field-name", "monitor-2")
    tab.page.click("button:has-text('Make the token')")
    tab.wait_for("The token monitor-2 is made")
    assert host.get("/tokens").json["tokens"]["monitor-2"]["scopes"] == ["read"]
    tab.assert_quiet(REFUSED)


def test_named_tokens_are_hidden_where_they_are_not_served(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login(path="/dashboard/access")

    tab.page.wait_for_selector("#field-newtoken")
    assert "Named tokens" not in tab.text()
    assert not tab.asked("/tokens")
    tab.assert_quiet()


def test_full_rights_without_being_the_administrator_do_not_open_the_screen(
    dashboard_browser: Browser, host: Host
) -> None:
    made = host.post("/tokens", "-F", "name=deputy", "-F", "scopes=all").json["token"]
    tab = dashboard_browser.tab(host).login(token=str(made), path="/dashboard/access")

    assert tab.page.locator("nav a[href='/dashboard/access']").count() == 0
    expect(tab.page).to_have_title(re.compile("^Home"))
    tab.assert_quiet()
