"""Times at a browser whose clock is wrong: how long something took is told by the clock of the appliance."""

from __future__ import annotations

import re
from typing import Any

import pytest
from dashboardkit import Browser, Tab, needs_browser
from places import SAMPLES

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

#: Puts the clock of a browser forward; timers go on as they do.
WRONG = """{
  const Right = Date;
  const ahead = HOURS * 3600_000;
  Date = class extends Right {
    constructor(...given) {
      super(...(given.length ? given : [Right.now() + ahead]));
    }
    static now() {
      return Right.now() + ahead;
    }
  };
}"""


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(load=[SAMPLES / "workshop.py"], enable=("tools", "backup"), parameters=None)


def tab_with_wrong_clock(browser: Browser, host: Host, hours: int) -> Tab:
    profile = browser.profile()
    profile.add_init_script(WRONG.replace("HOURS", str(hours)))
    return browser.tab(host, profile)


def seconds(shown: str) -> int:
    """Return the length of time in a text such as `12% · 5 sec`; of what is longer than a minute, a lot."""
    found = re.fullmatch(r"(?:.* · )?(\d+) sec", shown.strip())
    return int(found[1]) if found else 10_000


@pytest.mark.parametrize("hours", [7, -7])
def test_running_job_is_not_hours_old_or_ahead(dashboard_browser: Browser, host: Host, hours: int) -> None:
    tab = tab_with_wrong_clock(dashboard_browser, host, hours).login(path="/dashboard/activity")
    assert host.post("/tools", "-F", "how=slowly").status == 202
    row = tab.page.locator("tr[data-job]").first
    row.get_by_text("Running").wait_for()
    took = row.locator("td.when").nth(1)

    tab.until("parseInt(document.querySelectorAll('tr[data-job] td.when')[1].innerText) >= 2")
    assert 1 < seconds(took.inner_text()) < 60
    row.get_by_role("button", name="Details").click()
    progress = tab.page.locator("td.details .progress .figures")
    progress.wait_for()

    assert 1 < seconds(progress.inner_text()) < 60
    tab.assert_quiet()


@pytest.mark.parametrize("hours", [7, -7])
def test_age_of_a_backup_is_that_by_the_clock_of_the_appliance(
    dashboard_browser: Browser, host: Host, hours: int
) -> None:
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")

    tab = tab_with_wrong_clock(dashboard_browser, host, hours).login(path="/dashboard/backup")

    tab.page.wait_for_selector(".facts code")
    made: Any = tab.page.locator(".facts dd").first.inner_text()
    assert re.search(r"\((now|\d+ seconds? ago)\)", made), made
    tab.assert_quiet()
