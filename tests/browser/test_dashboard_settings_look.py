"""States of the settings' screens that a visit alone does not show: questions, refusals, running jobs, results."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from axekit import violations
from certificates import certificate
from dashboardkit import Browser, Tab, needs_browser

from jidoteki.testing import Host, MakeHost
from jidoteki.testing.fixtures import BUILT_IN

pytestmark = needs_browser

FIXED = {
    "interface": "eth0",
    "hostname": "appliance.example",
    "ip_address": "192.0.2.10",
    "netmask": "255.255.255.0",
    "gateway": "192.0.2.1",
}
KINDS = {
    "wide-light": {},
    "narrow-dark": {"width": 320, "height": 700, "color_scheme": "dark"},
}


class Look:
    """Whoever looks at each state: with axe-core, and at a narrow window for what does not fit."""

    def __init__(self, tab: Tab, kind: str) -> None:
        self.tab, self.kind = tab, kind
        self.found: dict[str, object] = {}

    def at(self, state: str) -> None:
        wrong: list[object] = list(violations(self.tab))
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if self.tab.page.evaluate(wide) > 0:
            wrong.append("it scrolls sideways")
        if wrong:
            self.found[state] = wrong
        directory = os.environ.get("JIDOTEKI_SCREENSHOTS")
        if directory:
            self.tab.page.screenshot(path=str(Path(directory, f"{self.kind}-{state}.png")), full_page=True)


@pytest.fixture(params=KINDS)
def look(request: pytest.FixtureRequest, dashboard_browser: Browser, jidoteki_host: MakeHost) -> Look:
    host = jidoteki_host(enable=(*BUILT_IN, "tokens"), authentication={"named-tokens": True})
    (host.appliance.etc / "network.json").write_text(json.dumps(FIXED))
    options = {"reduced_motion": "reduce", **KINDS[request.param]}
    return Look(dashboard_browser.tab(host, **options), request.param)


def network_script(host: Host, content: str) -> None:
    path = host.appliance.bin / "network.sh"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{content}\n")
    path.chmod(0o755)


def test_network(look: Look) -> None:
    tab = look.tab.login(path="/dashboard/network")
    failed = tab.host.appliance.root / "failed"
    network_script(tab.host, f"[ -e {failed} ] && exit; touch {failed}; sleep 3; echo the cable is cut >&2; exit 3")

    tab.page.fill("#field-gateway", "nowhere")
    tab.page.click("form button.primary")
    tab.page.wait_for_selector("form [role=alert], [aria-invalid=true]")
    look.at("network-refused")
    tab.page.fill("#field-gateway", "198.51.100.1")
    tab.page.fill("#field-ip_address", "192.0.2.20")
    tab.page.click("form button.primary")
    tab.page.wait_for_selector("dialog")
    look.at("network-question")
    tab.page.click("dialog button:has-text('Change')")
    tab.page.wait_for_selector(".job progress")
    look.at("network-running")
    tab.page.wait_for_selector(".job [role=alert]")
    look.at("network-failed")

    assert look.found == {}


def test_certificates(look: Look, tmp_path: Path) -> None:
    made, key = certificate(tmp_path, "bare.example", "")
    tab = look.tab.login(path="/dashboard/certificates")

    tab.page.wait_for_selector("form details")
    for summary in tab.page.locator("form > details > summary").all():
        summary.click()
    tab.page.locator("form details details > summary").first.click()
    tab.page.click("form button.primary")
    look.at("certificates-refused")
    tab.page.set_input_files("#field-public", made)
    tab.page.set_input_files("#field-private", key)
    tab.page.click("form button.primary")
    tab.page.wait_for_selector("dialog")
    look.at("certificates-question")
    tab.page.click("dialog button:has-text('Use it')")
    tab.page.wait_for_selector("[data-guide]")
    look.at("certificates-guide")

    assert look.found == {}


def test_storage(look: Look) -> None:
    tab = look.tab.login(path="/dashboard/storage")

    tab.page.select_option("#field-type", "iscsi")
    for name, value in {"target": "iqn.2016-01.com.example:a", "ip": "192.0.2.9", "username": "user"}.items():
        tab.page.fill(f"#field-iscsi-{name}", value)
    tab.page.fill("#field-iscsi-password", "correct-pony")
    tab.page.click("form button.primary")
    tab.page.wait_for_selector("dialog")
    look.at("storage-question")
    tab.page.click("dialog button:has-text('Change')")
    tab.page.wait_for_selector("[data-restart]")
    look.at("storage-saved")

    assert look.found == {}


def test_license(look: Look, tmp_path: Path) -> None:
    bad = tmp_path / "bad.asc"
    bad.write_text("nonsense")
    tab = look.tab.login(path="/dashboard/license")

    tab.page.set_input_files("#field-license", bad)
    tab.page.click("form button.primary")
    tab.page.wait_for_selector("form [role=alert], [aria-invalid=true]")
    look.at("license-refused")
    tab.page.set_input_files("#field-license", tab.host.appliance.root / "vendor/license-sample.asc")
    tab.page.click("form button.primary")
    tab.wait_for("The new license is in force.")
    look.at("license-new")

    assert look.found == {}


def test_access(look: Look) -> None:
    tab = look.tab.login(path="/dashboard/access")
    tab.page.wait_for_selector("#field-name")

    tab.page.fill("#field-newtoken", "one")
    tab.page.fill("#field-again", "another")
    tab.page.click("button:has-text('Change the API token')")
    look.at("access-refused")
    tab.page.fill("#field-name", "monitor")
    tab.page.select_option("#field-role", "paths")
    tab.page.fill("#field-scopes", "/nowhere, GET /version, GET /health, GET /services, GET /jobs")
    look.at("access-parts")
    tab.page.click("button:has-text('Make the token')")
    tab.wait_for("The token monitor is made")
    look.at("access-made")
    tab.page.click("button:has-text('Revoke')")
    tab.page.wait_for_selector("dialog")
    look.at("access-question")

    assert look.found == {}
