"""Changes at the dashboard that come back unless somebody confirms them: the network and the certificate."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from certificates import certificate, choose, fingerprint, pass_warning, strict, type_past
from dashboardkit import Browser, Tab, needs_browser
from documented import document_of

from jidoteki.testing import Host, MakeHost
from jidoteki.testing.fixtures import BUILT_IN, TOKEN

pytestmark = needs_browser

FIXED = {
    "interface": "eth0",
    "hostname": "appliance.example",
    "ip_address": "127.0.0.1",
    "netmask": "255.0.0.0",
    "gateway": "127.0.0.254",
}
#: What a browser says of requests to an address that is not there any more.
LOST = r"ERR_(ABORTED|FAILED|CONNECTION_\w+|INCOMPLETE_CHUNKED_ENCODING|INTERNET_DISCONNECTED|CERT_\w+|EMPTY_RESPONSE)"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host(enable=BUILT_IN, listen={"host": "0.0.0.0"})
    host.url = host.url.replace("0.0.0.0", "127.0.0.1")
    if "confirm" not in document_of(host)["components"]["parameters"]:
        pytest.skip("this version confirms no changes")
    (host.appliance.etc / "network.json").write_text(json.dumps(FIXED))
    return host


def stored(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((host.appliance.etc / "network.json").read_text())
    return found


def move(tab: Tab) -> None:
    """Give the appliance another address, at which it is to be found at once."""
    tab.page.fill("#field-ip_address", "127.0.0.2")
    tab.page.click("form button.primary")
    tab.wait_for("If you do not confirm the change within 3 minutes")
    tab.page.click("dialog button:has-text('Change')")
    tab.page.locator("[data-trial]").wait_for()


def impatiently(tab: Tab, path: str) -> None:
    """Let the page ask for a trial of ten seconds."""
    tab.page.route(
        re.compile(rf"{path}\?.*confirm="),
        lambda route: route.continue_(url=re.sub(r"confirm=\d+", "confirm=10", route.request.url)),
    )


def test_network_is_kept_by_whoever_signs_in_at_the_new_address(dashboard_browser: Browser, host: Host) -> None:
    old = dashboard_browser.tab(host).login(path="/dashboard/network")
    move(old)
    assert "min" in old.page.inner_text(".countdown")
    link = old.page.locator("[data-trial] a")
    assert link.get_attribute("href") == f"{host.url.replace('127.0.0.1', '127.0.0.2')}/dashboard/network"
    old.page.context.set_offline(True)  # as a moved appliance is out of reach

    new = dashboard_browser.tab(host)
    new.page.goto(link.get_attribute("href"))
    new.page.fill("#token", TOKEN)
    new.page.click("form[data-login] button.primary")
    new.page.click("button:has-text('Keep this change')")
    new.wait_for("The new settings are in force.")

    assert stored(host)["ip_address"] == "127.0.0.2"
    assert new.page.locator("[data-trial]").count() == 0
    old.page.context.set_offline(False)
    old.wait_for("The new settings are in force.", 30)
    assert old.page.locator("[data-trial]").count() == 0
    old.assert_quiet(LOST)


def test_network_comes_back_when_nobody_confirms_and_the_old_page_says_so(
    dashboard_browser: Browser, host: Host
) -> None:
    old = dashboard_browser.tab(host).login(path="/dashboard/network")
    impatiently(old, "/settings")
    move(old)
    old.page.context.set_offline(True)
    unattended = dashboard_browser.tab(host).login(path="/dashboard/network")
    unattended.page.locator("[data-trial]").wait_for()
    old.page.wait_for_timeout(11_000)
    old.page.context.set_offline(False)

    for tab in (old, unattended):
        tab.wait_for("The change was taken back: the former settings are in force again.", 30)
        assert tab.page.locator("[data-trial]").count() == 0
        assert "E2001" in tab.page.inner_text(".job [role=alert]")
        assert not tab.asked("POST .*/settings/confirm")
        tab.assert_quiet(LOST)
    assert stored(host) == FIXED


def test_certificate_is_kept_by_whoever_got_through_its_warning(
    dashboard_browser: Browser, host: Host, tmp_path: Path
) -> None:
    made, key = certificate(tmp_path, "new.example")
    tab = strict(dashboard_browser, host)
    pass_warning(tab, f"{host.url}/dashboard/certificates")
    tab.page.fill("#token", TOKEN)
    tab.page.click("form[data-login] button.primary")
    tab.wait_for("Certificate in use")

    choose(tab, made, key)
    tab.page.click("dialog button:has-text('Use it')")
    tab.page.locator("h2:has-text('Load the page with the new certificate')").wait_for()
    assert tab.page.locator("button:has-text('Keep this certificate')").count() == 0
    with pytest.raises(Exception, match="ERR_CERT"), tab.page.expect_navigation():
        tab.page.click("button:has-text('Load the page again')")
    type_past(tab)
    tab.page.click("button:has-text('Keep this certificate')")
    tab.wait_for("The new certificate is in use.")

    assert fingerprint(host.certificate) == fingerprint(made)
    tab.assert_quiet(LOST)


def test_certificate_comes_back_when_nobody_confirms(dashboard_browser: Browser, host: Host, tmp_path: Path) -> None:
    made, key = certificate(tmp_path, "new.example")
    before = fingerprint(host.certificate)
    tab = dashboard_browser.tab(host).login(path="/dashboard/certificates")
    impatiently(tab, "/certs")

    choose(tab, made, key)
    tab.page.click("dialog button:has-text('Use it')")
    tab.wait_for("The change was taken back: the former certificate is in use again.", 40)

    assert fingerprint(host.certificate) == before
    tab.assert_quiet(LOST)
