"""Updates on trial at the dashboard: what is said before, while the appliance restarts, and of what is in force."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboardkit import Browser, expect, needs_browser
from rebootkit import Rebooting
from updatekit import AWAY, check, install

from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

FOUND = "echo '3 disks, all healthy'\n"
ONCE = '[ "$(grep -c verify "$JIDO_ADMIN_PATH/ran")" = 1 ]\n'


@pytest.mark.parametrize(("verify", "told"), [
    ("", "The update is installed. The appliance now has version 2.0.0."),
    (ONCE, "The update was taken back. Version 1.0.0 is in force."),
])  # fmt: skip
def test_restart_for_an_update_is_said_and_so_is_what_is_in_force_after_it(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, verify: str, told: str
) -> None:
    rebooting = Rebooting(jidoteki_host)
    package = rebooting.package(
        tmp_path, {"rollback-reboot": False}, update="", verify=verify, rollback="", preflight=FOUND
    )
    tab = dashboard_browser.tab(rebooting.host).login(path="/dashboard/update", kept=True)

    check(tab, package)
    tab.wait_for("3 disks, all healthy")
    tab.wait_for("The appliance restarts to try this update.")
    tab.page.click("text=Install the update")
    tab.wait_for("Restarting the appliance to try the update")
    rebooting.go_down("000001-update")
    tab.wait_for("The appliance does not answer just now, which is normal during an update.")
    rebooting.come_back()

    tab.wait_for(told, 60)
    expect(tab.page.locator(".message:has-text('Restarting the appliance')")).to_have_count(0)
    tab.assert_quiet(AWAY)


@pytest.mark.parametrize(("programs", "code", "told"), [
    ({"update": "exit 3\n"}, "E1002", "The update was not completed. Version 1.0.0 is in force."),
    ({"update": "exit 3\n", "rollback": ""}, "E1002", "The update was taken back. Version 1.0.0 is in force."),
    ({"update": "", "verify": "exit 1\n", "rollback": "exit 1\n"}, "E2004",
     "The update failed, and the way back did too. The appliance says that it has version 1.0.0."),
])  # fmt: skip
def test_failed_update_says_which_version_is_in_force(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, programs: dict[str, str], code: str, told: str
) -> None:
    rebooting = Rebooting(jidoteki_host)
    tab = dashboard_browser.tab(rebooting.host).login(path="/dashboard/update", kept=True)

    install(tab, rebooting.package(tmp_path, {"reboot": False}, **programs))

    tab.wait_for(told, 30)
    tab.page.locator(f"main [role=alert]:has-text('{code}')").first.wait_for()
    tab.assert_quiet()


def test_first_screen_tells_of_an_update_that_is_in_pieces(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    rebooting = Rebooting(jidoteki_host)
    tab = dashboard_browser.tab(rebooting.host).login(path="/dashboard/update", kept=True)
    programs = {"update": "", "verify": "exit 1\n", "rollback": "exit 1\n"}
    install(tab, rebooting.package(tmp_path, {"reboot": False}, **programs))
    tab.wait_for("The update failed, and the way back did too.", 30)

    other = dashboard_browser.tab(rebooting.host).login()

    told = other.page.locator("main .message.bad")
    expect(told).to_contain_text("Update, ")
    expect(told).to_contain_text("The update failed, and the way back to the former version failed, too.")
    told.locator("a").click()
    other.page.wait_for_selector("h1:has-text('Activity')")
    other.assert_quiet()

    german = dashboard_browser.tab(rebooting.host, locale="de-DE").login(path="/dashboard/update")
    said = german.page.locator("main [role=alert]:has-text('E2004')")
    expect(said).to_contain_text("verify.sh fehlgeschlagen, Status 1. ")  # the whole word order of a German half
    expect(said).to_contain_text("rollback.sh fehlgeschlagen, Status 1")
