"""Answers that come late: what is said meanwhile, and that an older one never takes the place of a newer one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from dashboardkit import SETTINGS, Browser, Tab, expect, needs_browser
from places import SAMPLES
from updatekit import check, package, update_screen, uploads

from jidoteki.testing import Host, MakeHost, wait_until
from jidoteki.testing.fixtures import BUILT_IN

pytestmark = needs_browser


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    enable = (*BUILT_IN, "tools", "audit", "uploads")
    return jidoteki_host(load=[SAMPLES / "workshop.py"], enable=enable, parameters=None)


class Held:
    """The next answer to a request, which the appliance gives at once and the page gets on demand."""

    def __init__(self, tab: Tab, method: str, pattern: str) -> None:
        self.tab, self.method = tab, method
        self.is_taken = False
        self.held: tuple[Any, Any] | None = None
        tab.page.route(re.compile(f"/api/v1/admin{pattern}"), self._hold)

    def _hold(self, route: Any) -> None:
        if self.is_taken or route.request.method != self.method:
            route.continue_()
        else:
            self.is_taken = True
            self.held = route, route.fetch()

    def wait(self) -> None:
        """Wait until the appliance has answered."""
        wait_until(lambda: self.tab.page.wait_for_timeout(50) or self.held)

    def let(self) -> None:
        """Let the page have the answer, and draw it."""
        assert self.held
        route, answer = self.held
        route.fulfill(response=answer)
        self.tab.settle()


def test_log_that_is_being_read_is_not_called_empty(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("support")
    log = Held(tab, "GET", "/update/log")
    tab.page.get_by_label("Log", exact=True).select_option(label="All updates")

    expect(tab.page.locator(".viewer")).to_contain_text("Loading …")
    assert "This log is empty." not in tab.text()
    log.wait()
    log.let()
    tab.wait_for("This log is empty.")


def test_task_that_ends_while_the_list_is_on_its_way_has_ended(dashboard_browser: Browser, host: Host) -> None:
    id = host.post("/tools", "-F", "how=slowly").headers["Job-Id"]
    tab = dashboard_browser.tab(host).login()
    jobs = Held(tab, "GET", r"/jobs\?limit=20&")
    tab.page.click("nav a[href='/dashboard/activity']")
    jobs.wait()

    assert host.post(f"/jobs/{id}/cancel").status in (200, 202)
    assert host.wait_for_job(f"/jobs/{id}")["status"] == "cancelled"
    tab.page.wait_for_timeout(1_000)  # by then the page has heard of that
    jobs.let()

    expect(tab.page.locator(f"tr[data-job='{id}']")).to_contain_text("Cancelled")


def test_file_that_was_removed_does_not_come_back_with_an_older_list(dashboard_browser: Browser, host: Host) -> None:
    tus = ("-H", "Tus-Resumable: 1.0.0")
    made = [host.post("/uploads", *tus, "-H", "Upload-Length: 10").json["id"] for _ in range(2)]
    tab = dashboard_browser.tab(host).login().go("activity")
    expect(tab.page.locator("[data-upload]")).to_have_count(2)
    files = Held(tab, "GET", r"/uploads\?")

    assert host.curl("DELETE", f"/uploads/{made[0]}", *tus).status == 204
    files.wait()
    assert host.curl("DELETE", f"/uploads/{made[1]}", *tus).status == 204
    tab.wait_for("No file waits here for its use.")
    files.let()

    assert tab.page.locator("[data-upload]").count() == 0


def test_backup_that_was_removed_does_not_come_back_with_an_older_answer(
    dashboard_browser: Browser, host: Host
) -> None:
    tab = dashboard_browser.tab(host).login().go("backup")
    backup = Held(tab, "GET", r"/backup\?")
    assert host.post("/backup", "-F", "action=START").status == 202
    backup.wait()  # which is asked for at its end

    assert host.post("/backup", "-F", "action=STOP").status == 202
    tab.wait_for("There is no backup on this appliance yet.")
    backup.let()

    assert "There is no backup on this appliance yet." in tab.text()


def test_chart_of_a_plugin_shows_the_range_that_was_chosen_last(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login()
    day = Held(tab, "GET", "/health/history.*range=1d")
    tab.page.click("nav a:has-text('Tools')")
    chart = tab.page.locator(".card:has(h2:text-is('Memory'))")
    day.wait()
    expect(chart).to_contain_text("Loading …")
    answer = {"columns": {"time": [1, 301], "memory": [20, 21]}}
    tab.page.route("**/health/history?*range=1h*", lambda route: route.fulfill(json=answer))

    tab.page.click(".ranges button:has-text('Hour')")
    expect(chart).to_contain_text("Now 21%")
    day.let()

    assert "Now 21%" in chart.inner_text()


def change_hostname(tab: Tab) -> None:
    for name, value in SETTINGS["network"].items():
        if name not in ("mode", "ip_address", "netmask", "gateway"):
            tab.page.fill(f"#field-{name}", value)
    tab.page.click("form button.primary")
    tab.page.click("dialog button:has-text('Change')")


def test_change_that_is_kept_by_a_double_click_is_kept_once(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("network")
    change_hostname(tab)
    kept = Held(tab, "POST", r"/settings/confirm\?")

    tab.page.get_by_role("button", name="Keep this change").evaluate("button => (button.click(), button.click())")
    kept.wait()
    tab.page.wait_for_timeout(500)
    kept.let()

    tab.wait_for("The new settings are in force.")
    assert len(tab.asked("POST .*/settings/confirm")) == 1
    tab.assert_quiet()


def test_form_can_be_sent_again_as_soon_as_its_change_is_in_force(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("network")
    change_hostname(tab)
    tab.page.get_by_role("button", name="Keep this change").wait_for()
    settings = Held(tab, "GET", r"/settings\?")
    tab.page.get_by_role("button", name="Keep this change").click()
    tab.wait_for("The new settings are in force.")
    settings.wait()

    tab.page.fill("#field-hostname", "again.example")
    tab.page.click("form button.primary")

    tab.wait_for("Change the network settings?")
    settings.let()
    assert tab.page.input_value("#field-hostname") == "again.example"
    tab.assert_quiet()


def test_what_is_typed_while_the_saved_storage_is_on_its_way_stays(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("storage")
    tab.page.select_option("#field-type", "aoe")
    tab.page.fill("#field-aoe-device", "e0.1")
    tab.page.click("form button.primary")
    saved = Held(tab, "GET", r"/storage\?")
    tab.page.click("dialog button:has-text('Change')")
    saved.wait()

    tab.page.fill("#field-aoe-device", "e0.2")
    saved.let()

    tab.wait_for("Restart to use the new storage")
    assert tab.page.input_value("#field-aoe-device") == "e0.2"
    tab.assert_quiet()


def test_what_is_typed_into_the_network_form_while_it_is_saved_stays(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("network")
    saved = Held(tab, "POST", r"/settings\?(?!.*dry-run)")
    change_hostname(tab)
    saved.wait()

    tab.page.fill("#field-hostname", "typed-meanwhile.example")
    saved.let()
    tab.page.get_by_role("button", name="Keep this change").click()

    tab.wait_for("The new settings are in force.")
    expect(tab.page.locator("#field-ntpserver")).to_have_value(SETTINGS["network"]["ntpserver"])
    assert tab.page.input_value("#field-hostname") == "typed-meanwhile.example"
    tab.assert_quiet()


def test_what_is_typed_into_the_storage_form_while_it_is_saved_stays(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("storage")
    tab.page.select_option("#field-type", "iscsi")
    for name, value in {"target": "iqn.2016-01.com.example:lun1", "ip": "192.0.2.1", "username": "abc"}.items():
        tab.page.fill(f"#field-iscsi-{name}", value)
    tab.page.fill("#field-iscsi-password", "the-first-one")
    saved = Held(tab, "POST", r"/storage\?(?!.*dry-run)")
    tab.page.click("form button.primary")
    tab.page.click("dialog button:has-text('Change')")
    saved.wait()

    tab.page.fill("#field-iscsi-ip", "192.0.2.2")
    tab.page.fill("#field-iscsi-password", "the-second-one")
    saved.let()

    tab.wait_for("Restart to use the new storage")
    assert tab.page.input_value("#field-iscsi-ip") == "192.0.2.2"
    assert tab.page.input_value("#field-iscsi-password") == "the-second-one"
    tab.assert_quiet()


def test_focus_goes_to_a_change_whose_job_is_told_of_before_the_answer(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("storage")
    started = Held(tab, "POST", r"/storage\?(?!.*dry-run)")
    tab.page.select_option("#field-type", "aoe")
    tab.page.fill("#field-aoe-device", "e0.1")
    tab.page.click("form button.primary")
    tab.page.click("dialog button:has-text('Change')")
    started.wait()
    tab.page.wait_for_selector("[data-changes] .job")

    started.let()

    expect(tab.page.locator("[data-changes] h2")).to_be_focused()


@pytest.mark.parametrize("way", ["cancelled", "left"])
def test_upload_that_is_ended_before_the_appliance_says_where_it_is_is_removed(
    dashboard_browser: Browser, host: Host, tmp_path: Path, way: str
) -> None:
    tab = update_screen(dashboard_browser, host)
    begun = Held(tab, "POST", r"/uploads\?")
    check(tab, package(host, tmp_path))
    begun.wait()
    assert uploads(host) != []

    if way == "cancelled":
        tab.page.click("#sending-place >> text=Cancel")
        tab.wait_for("Sending was cancelled.")
    else:
        tab.go("home")
    begun.let()

    wait_until(lambda: uploads(host) == [])
    tab.assert_quiet()


def test_update_that_begins_while_it_is_asked_whether_one_runs_is_not_drawn_over(
    dashboard_browser: Browser, host: Host, tmp_path: Path
) -> None:
    mine, theirs = (package(host, tmp_path, "echo one; sleep 3", name=f"{name}.enc") for name in ("mine", "theirs"))
    tab = update_screen(dashboard_browser, host)
    running = Held(tab, "GET", r"/jobs\?status=running")
    check(tab, mine)
    running.wait()
    assert host.post("/update", "-F", f"update=@{theirs}").status == 202
    tab.page.wait_for_selector("#now .job")

    running.let()

    tab.wait_for("An update is running already. Nothing was sent.")
    tab.wait_for("The appliance now has version 2.0.0.")
    assert tab.asked("POST .*/(uploads|update)") == []
    tab.assert_quiet()
