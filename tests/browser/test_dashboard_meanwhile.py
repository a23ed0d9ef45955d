"""What a page of the dashboard says when somebody else was first, an answer is lost, or the page is left meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from dashboardkit import Browser, Tab, expect, needs_browser
from updatekit import AWAY, check, package, update_screen, uploads

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

SLOW = "echo one; sleep 3; echo two"
NOT_INSTALLED = "Somebody else has just started an update. Your package was not installed."
LOST = "ERR_FAILED"
REFUSED = "status of (400|403|409) "


def checked(browser: Browser, host: Host, path: Path) -> Tab:
    """Return a tab that has checked a package."""
    tab = update_screen(browser, host)
    check(tab, path)
    tab.page.wait_for_selector("#preview")
    return tab


@pytest.mark.parametrize("both", [False, True])
def test_update_of_somebody_else_is_not_called_by_the_version_of_the_own_package(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, both: bool
) -> None:
    host = jidoteki_host()
    first, second = (package(host, tmp_path, SLOW, f"{number}.0.0", name=f"{number}.enc") for number in (2, 3))
    mine = checked(dashboard_browser, host, second)
    theirs = checked(dashboard_browser, host, first)
    if both:

        def late(route: Any) -> None:
            """Send what the page asked for once the other update runs, and the page has heard of it."""
            theirs.page.click("text=Install the update")
            wait_until(lambda: host.get("/update").json["status"] == "running")
            mine.page.wait_for_selector("#now .job")
            route.continue_()

        mine.page.route("**/admin/update?hash=*", late, times=1)
        mine.page.click("text=Install the update")
    else:
        theirs.page.click("text=Install the update")

    mine.wait_for("The update is installed. The appliance now has version 2.0.0.", 30)
    mine.wait_for(NOT_INSTALLED)
    expect(mine.page.locator("#now h3")).to_have_text("Update Done", use_inner_text=True)
    assert "3.0.0" not in mine.text()
    expect(theirs.page.locator("#now h3")).to_contain_text("Update to version 2.0.0")
    wait_until(lambda: uploads(host) == [])
    mine.assert_quiet(REFUSED)


def test_restore_without_an_answer_is_asked_for_until_it_has_ended(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True})
    assert host.post("/backup", "-F", "action=START").status == 202
    assert host.wait_for_job("/backup")["status"] == "success"
    (tmp_path / "backup.tar").write_bytes(host.get("/backup/download").body)
    made = host.post("/tokens", "-F", "name=backups", "-F", "scopes=/backup,/uploads")
    tab = dashboard_browser.tab(host).login(token=str(made.json["token"]), path="/dashboard/backup")
    tab.page.set_input_files("#field-archive", tmp_path / "backup.tar")
    tab.page.click("text=Check the backup")
    tab.page.wait_for_selector("#preview")
    tries: list[str] = []

    def answer(route: Any) -> None:
        tries.append(route.request.headers["idempotency-key"])
        if len(tries) == 1:
            route.abort()
        elif len(tries) < 7:
            message = "A request with this Idempotency-Key is being carried out"
            route.fulfill(status=409, headers={"Retry-After": "1"}, json={"Error-Message": message})
        else:
            route.continue_()

    tab.page.route("**/backup/restore?hash=*", answer)
    tab.page.click("main .danger")
    tab.page.fill("#dialog-typed", "restore")
    tab.page.click("dialog .danger")

    while len(tries) < 6:
        tab.page.wait_for_timeout(100)
    assert "The backup is being restored …" in tab.text()
    assert tab.page.locator("main .danger").count() == 0
    assert tab.page.locator("main [role=alert]").count() == 0
    assert not tab.asked("DELETE ")
    tab.wait_for("The backup is restored.", 30)
    assert len(set(tries)) == 1
    tab.assert_quiet(LOST, REFUSED)


def test_token_that_was_made_is_shown_though_the_list_is_lost(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True})
    tab = dashboard_browser.tab(host).login(path="/dashboard/access")
    tab.page.wait_for_selector("#field-name")
    tab.page.route(
        "**/admin/tokens?hash=*",
        lambda route: route.abort() if route.request.method == "GET" else route.continue_(),
    )

    tab.page.fill("#field-name", "monitoring")
    tab.page.click("text=Make the token")

    token = tab.page.inner_text(".made .token")
    tab.wait_for("The appliance does not answer. Please try again.")
    assert tab.page.inner_text(".made .token") == token
    dashboard_browser.tab(host).login(token=token)
    tab.assert_quiet(LOST)


@pytest.mark.parametrize("way", ["back", "signed out elsewhere"])
def test_question_goes_with_its_screen_and_its_login(
    dashboard_browser: Browser, jidoteki_host: MakeHost, way: str
) -> None:
    host = jidoteki_host()
    profile = dashboard_browser.profile()
    tab = dashboard_browser.tab(host, profile=profile).login(kept=True)
    tab.go("network")
    for name, value in (("hostname", "new.example.com"), ("interface", "eth0")):
        tab.page.fill(f"#field-{name}", value)
    tab.page.click("form button.primary")
    tab.page.wait_for_selector("dialog")

    if way == "back":
        tab.page.go_back()
        tab.page.wait_for_selector(".screen:not(:has-text('Loading …'))")
    else:
        other = dashboard_browser.tab(host, profile=profile).open()
        other.page.click("button.leave")
        tab.page.wait_for_selector("form[data-login]")

    tab.page.wait_for_selector("dialog", state="detached")
    assert tab.asked("POST .*/settings") == tab.asked("POST .*/settings.*dry-run")
    tab.assert_quiet(AWAY)


def test_restart_is_asked_for_once_however_often_its_button_is_clicked(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).login()

    def slowly(route: Any) -> None:
        time.sleep(0.5)
        route.continue_()

    tab.page.route("**/admin/jobs?status=running**", slowly)
    tab.page.dblclick("button.restart")
    tab.page.wait_for_selector("dialog")
    tab.page.wait_for_timeout(1_500)

    assert tab.page.locator("dialog").count() == 1
    tab.page.click("dialog >> text=Cancel")
    tab.page.click("button.restart")  # and can be asked for again
    tab.page.wait_for_selector("dialog")
    tab.assert_quiet()


@pytest.mark.parametrize("wanted", ["first-token", "other-token"])
def test_setup_whose_answer_is_lost_is_known_by_the_token_in_force(
    dashboard_browser: Browser, jidoteki_host: MakeHost, wanted: str
) -> None:
    host = jidoteki_host(token=None)
    tab = dashboard_browser.tab(host).open()

    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    tab.page.route("**/admin/setup**", lose, times=1)
    tab.page.route("**/admin/session**", lambda route: route.abort(), times=1)

    def set_up(token: str) -> None:
        tab.page.fill("#newtoken", token)
        tab.page.fill("#again", token)
        tab.page.click("button.primary")

    set_up("first-token")
    tab.wait_for("The appliance does not answer. Please try again.")
    set_up(wanted)

    if wanted == "first-token":
        tab.page.wait_for_selector("nav")
    else:
        tab.wait_for("The appliance has taken the token that you chose before. Use that one.")
    tab.assert_quiet(LOST, REFUSED)
