"""Pictures of every screen, wide and narrow, light and dark, empty, busy and failed: `make screenshots`.

Written to $JIDOTEKI_SCREENSHOTS, one PNG each. Not a test: somebody looks at them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from dashboardkit import SCREENS, SETTINGS, Browser, Tab, needs_browser

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

OUT = Path(os.environ.get("JIDOTEKI_SCREENSHOTS", "build/screenshots"))
KINDS: dict[str, dict[str, Any]] = {
    "wide-light": {},
    "wide-dark": {"color_scheme": "dark"},
    "narrow-light": {"width": 390, "height": 844},
    "narrow-dark": {"width": 390, "height": 844, "color_scheme": "dark"},
}


HEALTH = {
    "cpu": {"num": 4, "load": "0.42, 0.36, 0.31", "cpu5min": 0},
    "disk": {"used": "20G", "total": "60G", "percentage": 34},
    "memory": {"used": "2.2G", "total": "8.0G", "percentage": 28},
}


def take(tab: Tab, name: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    tab.page.wait_for_timeout(300)
    tab.page.screenshot(path=str(OUT / f"{name}.png"), full_page=True)


def appliance(make_host: MakeHost, **sections: Any) -> Host:
    enable = ("settings", "certs", "storage", "license", "backup", "tokens", "audit")
    host = make_host(enable=enable, parameters=None, authentication={"named-tokens": True}, start=False, **sections)
    host.configure(health={"refresh": 0})  # figures of the vendor's, so that pictures do not depend on this machine
    host.appliance.replace_file(host.appliance.etc / "health.json", json.dumps(HEALTH))
    return host.start()


def fill(host: Host) -> None:
    """Use the appliance a little, well and badly."""
    answer = host.post("/settings", "-F", f"settings={json.dumps(SETTINGS)}")
    host.wait_for_job(f"/jobs/{answer.headers['Job-Id']}")
    assert host.post("/backup", "-F", "action=START").status == 202
    host.wait_for_job("/backup")
    refused = host.appliance.root / "no-package"
    refused.write_text("this is no package")
    assert host.post("/update", "-F", f"update=@{refused}").status == 202
    host.wait_for_job("/update")
    assert host.post("/tokens", "-F", "name=monitoring", "-F", "scopes=read").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_an_appliance(dashboard_browser: Browser, jidoteki_host: MakeHost, kind: str) -> None:
    host = appliance(jidoteki_host)
    tab = dashboard_browser.tab(host, **KINDS[kind]).open()
    tab.page.wait_for_selector("#token")
    take(tab, f"{kind}-login")
    tab.page.fill("#token", "wrong")
    tab.page.press("#token", "Enter")
    tab.page.wait_for_selector("#token[aria-invalid]")
    take(tab, f"{kind}-login-refused")
    time.sleep(2)
    tab.login()
    for screen in SCREENS:
        take(tab.go(screen), f"{kind}-{screen}-empty")
    fill(host)
    for screen in SCREENS:
        take(tab.go(screen), f"{kind}-{screen}")
    if kind.startswith("narrow"):
        tab.page.click("nav .toggle")
        take(tab, f"{kind}-menu")
    tab.page.click("nav button.restart")
    take(tab, f"{kind}-restart")


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_a_first_run_in_german(dashboard_browser: Browser, jidoteki_host: MakeHost, kind: str) -> None:
    host = appliance(jidoteki_host, token=None, first_run={"enabled": True})
    tab = dashboard_browser.tab(host, locale="de-DE", **KINDS[kind]).open()
    tab.page.wait_for_selector("#passphrase")
    take(tab, f"{kind}-first-run-german")
    tab.page.fill("#passphrase", (host.appliance.etc / "api.token.setup").read_text().strip())
    tab.page.fill("#newtoken", "a-new-token")
    tab.page.fill("#again", "a-new-token")
    tab.page.click("button.primary")
    tab.page.wait_for_selector("nav")
    host.token = "a-new-token"
    fill(host)
    for screen in SCREENS:
        take(tab.go(screen), f"{kind}-{screen}-german")
