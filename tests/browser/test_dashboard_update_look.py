"""The states of the screens for updates and backups, as seen by who sees little or has a small screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboardkit import Browser, Tab, needs_browser
from updatekit import check, package, slow_down

from jidoteki.testing import wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

look = pytest.importorskip("test_dashboard_look", reason="axe-playwright-python is not installed")
SENT = "document.querySelector('#sending-place progress')?.value ?? 0"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state_of_an_update_and_a_restore(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, scheme: str
) -> None:
    host = jidoteki_host()
    options = {"color_scheme": scheme, "reduced_motion": "reduce", "width": 320, "height": 640}
    tab = dashboard_browser.tab(host, **options).login(path="/dashboard/update")
    found: dict[str, list[str]] = {}

    def judge(state: str, tab: Tab = tab) -> None:
        found[state] = look.violations(tab)
        if tab.page.evaluate(WIDER) > 0:
            found[state].append("it scrolls sideways")

    (tmp_path / "nonsense.enc").write_text("this is no package")
    check(tab, tmp_path / "nonsense.enc")
    tab.page.wait_for_selector("main [role=alert]")
    judge("refused")
    slow_down(tab, 500_000)
    check(tab, package(host, tmp_path, "sleep 4; exit 3", size=2_000_000))
    wait_until(lambda: tab.page.evaluate(SENT))
    judge("sending")
    slow_down(tab, 0)
    tab.page.wait_for_selector("#preview")
    judge("preview")
    tab.page.click("text=Install the update")
    tab.page.wait_for_selector("#now .job")
    judge("running")
    tab.page.wait_for_selector("main [role=alert]:has-text('E1002')")
    judge("failed")
    tab.go("backup")
    tab.page.click("text=Make a backup")
    tab.wait_for("The backup is complete.")
    tab.page.wait_for_selector(".facts code")
    judge("backup")
    archive = tmp_path / "backup.tar"
    archive.write_bytes(host.get("/backup/download").body)
    tab.page.set_input_files("#field-archive", archive)
    tab.page.click("text=Check the backup")
    tab.page.wait_for_selector("#preview")
    judge("restore")
    tab.page.click("main .danger")
    judge("typed confirmation")

    assert {state: each for state, each in found.items() if each} == {}
