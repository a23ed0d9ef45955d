"""A restart at the dashboard: asked for, waited for, and told only when the appliance is back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dashboardkit import Browser, Tab, expect, needs_browser
from updatekit import AWAY, REFUSED, package, wait_for_end_of

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

BACK = "The appliance is back."
BANNER = "document.querySelector('.connection').innerText"
#: A running job that a restart may break off.
PLUGIN = """
import time
from jidoteki.hookspecs import Endpoint, JobType, hookimpl

async def work(request):
    return await request.start_job("indexing")

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("indexing", lambda job: time.sleep(30))]

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/probe/index", work)]
"""


def rebooting(make: MakeHost, tmp_path: Path, script: str) -> Host:
    """Return a host whose reboot command is a script."""
    command = tmp_path / "reboot.sh"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return make(commands={"reboot": [str(command)]})


def ended_by_reboot(make: MakeHost, tmp_path: Path) -> Host:
    """Return a host whose reboot command ends it, after a while in which all tabs say that it is going to restart."""
    pid = tmp_path / "pid"
    host = rebooting(make, tmp_path, f"(sleep 3; kill $(cat {pid})) >/dev/null 2>&1 &")
    assert host.process
    pid.write_text(str(host.process.pid))
    return host


def ask_for_restart(tab: Tab) -> None:
    tab.page.click("nav button.restart")
    expect(tab.page.locator("dialog[open]")).to_contain_text(re.compile(r"Restart Admin Dashboard \(.*\)\?|cannot"))


def restart(tab: Tab) -> None:
    ask_for_restart(tab)
    tab.page.click("dialog .danger")


@pytest.mark.parametrize("seconds", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_restart_shows_how_long_it_takes_and_comes_back_by_itself(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, seconds: int
) -> None:
    host = ended_by_reboot(jidoteki_host, tmp_path)
    tab = dashboard_browser.tab(host).login()
    other = dashboard_browser.tab(host).login()
    other.page.wait_for_selector("header .figures dd")  # the stream that is going to tell it is open

    ask_for_restart(tab)
    expect(tab.page.locator("dialog h2")).to_have_text("Restart Admin Dashboard (127.0.0.1)?")
    tab.page.click("dialog .danger")
    tab.wait_for("The appliance is going to restart.")
    other.wait_for("The appliance is going to restart.")
    port = wait_for_end_of(host)
    tab.wait_for("The appliance is restarting. This page comes back by itself.")
    before = tab.page.evaluate(BANNER)
    for _ in range(seconds):
        tab.page.wait_for_timeout(1000)
        assert BACK not in tab.text()
    assert tab.page.evaluate(BANNER) != before  # the time goes on
    host.start("--port", port)

    tab.wait_for(BACK, 30)
    other.wait_for(BACK, 30)
    assert len(tab.asked("POST .*/reboot")) == 1 and tab.asked("GET .*/reboot") == []
    assert other.asked("/reboot") == []
    tab.assert_quiet(AWAY)


def test_restart_into_another_build_brings_the_page_back_signed_in(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = ended_by_reboot(jidoteki_host, tmp_path)
    tab = dashboard_browser.tab(host).login()
    other = dashboard_browser.tab(host).login()
    other.page.wait_for_selector("header .figures dd")  # the stream that is going to tell it is open

    restart(tab)
    other.wait_for("The appliance is going to restart.")
    port = wait_for_end_of(host)
    tab.wait_for("The appliance is restarting.")
    other.wait_for("The appliance is restarting.")
    host.configure(plugins={"dashboard": {"name": "Shop Appliance"}})  # as an update changes what is served
    host.start("--port", port)

    for each in (tab, other):
        each.wait_for("Shop Appliance", 30)
        each.page.wait_for_selector("nav")
        each.wait_for(BACK)
        each.assert_quiet(AWAY)


def test_restart_is_not_offered_while_an_update_runs(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = dashboard_browser.tab(host).login()
    assert host.post("/update", "-F", f"update=@{package(host, tmp_path, 'sleep 5')}").status == 202

    ask_for_restart(tab)

    expect(tab.page.locator("dialog")).to_contain_text("The appliance cannot restart now")
    expect(tab.page.locator("dialog li")).to_contain_text("Update")
    tab.page.click("dialog >> text=Close")
    expect(tab.page.locator("dialog")).to_have_count(0)
    assert tab.asked("POST .*/reboot") == []
    expect(tab.page.get_by_role("button", name="Restart …")).to_be_focused()
    tab.assert_quiet()


def test_dialog_names_what_the_restart_may_break_off(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(PLUGIN)
    host = jidoteki_host(load=[plugin], enable=("probe",))
    tab = dashboard_browser.tab(host).login()
    assert host.post("/probe/index").status == 202

    ask_for_restart(tab)

    expect(tab.page.locator("dialog")).to_contain_text("the restart may break it off")
    expect(tab.page.locator("dialog li")).to_have_text("indexing")
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("dialog")).to_have_count(0)
    assert tab.asked("POST .*/reboot") == []
    tab.assert_quiet()


def test_refusal_that_comes_after_the_question_is_told(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = dashboard_browser.tab(host).login()
    ask_for_restart(tab)
    assert host.post("/update", "-F", f"update=@{package(host, tmp_path, 'sleep 5')}").status == 202

    tab.page.click("dialog .danger")

    tab.wait_for("The appliance was not restarted")
    expect(tab.page.locator("dialog [role=alert]")).to_contain_text("E1004")
    tab.page.click("dialog >> text=Close")
    assert tab.page.evaluate(BANNER) == ""
    tab.assert_quiet(REFUSED)


def test_reboot_command_that_fails_is_told_with_the_reason(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    tab = dashboard_browser.tab(rebooting(jidoteki_host, tmp_path, "exit 4")).login()

    restart(tab)

    tab.wait_for("The appliance was not restarted")
    expect(tab.page.locator("dialog [role=alert]")).to_contain_text("exit status 4")
    assert BACK not in tab.text()
    tab.assert_quiet()


def test_appliance_that_stays_there_has_not_restarted(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    tab = dashboard_browser.tab(rebooting(jidoteki_host, tmp_path, "exit 0")).login()

    ask_for_restart(tab)
    expect(tab.page.locator("dialog h2")).to_have_text("Restart Admin Dashboard (127.0.0.1)?")
    tab.page.click("dialog .danger")
    tab.wait_for("The appliance is going to restart.")
    tab.page.wait_for_timeout(2_000)
    assert "is going to restart" in tab.text()
    tab.page.evaluate("(() => { const now = Date.now; Date.now = () => now() + 125_000; })()")

    tab.wait_for("The appliance has not restarted: it was there all the time.")
    assert BACK not in tab.text()
