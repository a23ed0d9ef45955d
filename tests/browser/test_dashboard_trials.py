"""Changes at the dashboard that come back unless somebody confirms them: the network and the certificate."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from certificates import certificate, choose, fingerprint, pass_warning, strict, type_past
from dashboardkit import Browser, Tab, expect, needs_browser
from documented import document_of

from jidoteki.testing import Host, MakeHost, wait_until
from jidoteki.testing.fixtures import BUILT_IN, TOKEN

if TYPE_CHECKING:
    from playwright.sync_api import Route

EXAMPLE = Path(__file__).parents[2] / "examples/firewall/jidoteki_firewall.py"

pytestmark = needs_browser

FIXED = {
    "interface": "eth0",
    "hostname": "appliance.example",
    "ip_address": "127.0.0.1",
    "netmask": "255.0.0.0",
    "gateway": "127.0.0.254",
}
#: What a change says of itself, from the most to the least important, however the appliance sorts it.
ORDER = ("Address", "Hostname", "Interface", "IP address", "Netmask", "Gateway", "DNS server 1", "DNS server 2")
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
    tab.page.fill("#field-dns1", "127.0.0.53")
    tab.page.fill("#field-hostname", "moved.example")
    tab.page.click("form button.primary")
    tab.wait_for("If you do not confirm the change within 3 minutes")
    names = tab.page.locator("dialog dt").all_inner_texts()  # all of the question is drawn at once
    assert names == [each for each in ORDER if each in names]
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
    expect(old.page.locator(".countdown")).to_contain_text("min")
    link = old.page.locator("[data-trial] a")
    expect(link).to_have_attribute("href", f"{host.url.replace('127.0.0.1', '127.0.0.2')}/dashboard/network")
    old.page.context.set_offline(True)  # as a moved appliance is out of reach

    new = dashboard_browser.tab(host)
    new.page.goto(link.get_attribute("href"))
    new.page.fill("#token", TOKEN)
    new.page.click("form[data-login] button.primary")
    new.page.click("button:has-text('Keep this change')")
    new.wait_for("The new settings are in force.")

    assert stored(host)["ip_address"] == "127.0.0.2"
    expect(new.page.locator("[data-trial]")).to_have_count(0)
    old.page.context.set_offline(False)
    old.wait_for("The new settings are in force.", 30)
    expect(old.page.locator("[data-trial]")).to_have_count(0)
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
    held: list[Route] = []
    # What is asked when the change has come back is answered late: the question is gone before that.
    unattended.page.route(re.compile(r"/admin/settings(\?|$)"), lambda route: held.append(route))
    old.page.wait_for_timeout(11_000)
    old.page.context.set_offline(False)

    for tab in (old, unattended):
        tab.wait_for("The change was taken back: the former settings are in force again.", 30)
        expect(tab.page.locator("[data-trial]")).to_have_count(0)
        expect(tab.page.locator(".job [role=alert]")).to_contain_text("E2001")
        assert not tab.asked("POST .*/settings/confirm")
    wait_until(lambda: unattended.page.wait_for_timeout(100) or held)
    (asked,) = held
    asked.continue_()
    expect(unattended.page.locator("#field-ip_address")).to_have_value(FIXED["ip_address"])
    old.assert_quiet(LOST)
    unattended.assert_quiet(LOST)
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


def test_question_says_which_settings_wait_and_that_somebody_else_changed_them(
    dashboard_browser: Browser, host: Host
) -> None:
    mine = dashboard_browser.tab(host).login(path="/dashboard/network")
    other = dashboard_browser.tab(host).login(path="/dashboard/network")
    other.page.fill("#field-dns1", "192.0.2.53")
    mine.page.fill("#field-hostname", "renamed.example")
    mine.page.click("form button.primary")
    mine.page.click("dialog button:has-text('Change')")

    for tab in (mine, other):
        tab.page.locator("[data-trial]").wait_for()
        told = tab.page.inner_text("[data-trial]")
        assert "renamed.example, before: appliance.example" in told
        assert "127.0.0.254" not in told
        assert ("Somebody else changed it" in told) == (tab is other)
    mine.page.reload()
    mine.page.locator("[data-trial]").wait_for()
    assert "Somebody else changed it" not in mine.page.inner_text("[data-trial]")
    other.page.click("button:has-text('Keep this change')")

    for tab in (mine, other):
        tab.wait_for("The new settings are in force.")
        expect(tab.page.locator("#field-hostname")).to_have_value("renamed.example")
    assert other.page.input_value("#field-dns1") == "192.0.2.53"  # what was typed there


def test_address_that_stays_is_not_called_new(dashboard_browser: Browser, host: Host) -> None:
    elsewhere = {"mode": "static", "ip_address": "192.0.2.77", "gateway": "192.0.2.1", "netmask": "255.255.255.0"}
    (host.appliance.etc / "network.json").write_text(json.dumps(FIXED | elsewhere))
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")  # by another address, as behind a router
    tab.page.fill("#field-hostname", "renamed.example")
    tab.page.click("form button.primary")
    tab.page.click("dialog button:has-text('Change')")

    expect(tab.page.locator("[data-trial]")).to_contain_text("renamed.example")
    assert tab.page.locator("[data-trial] a").count() == 0


def test_form_shows_the_former_settings_once_they_are_in_force_again(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")
    impatiently(tab, "/settings")
    tab.page.fill("#field-hostname", "renamed.example")
    tab.page.click("form button.primary")
    tab.page.click("dialog button:has-text('Change')")

    tab.wait_for("The change was taken back: the former settings are in force again.", 60)
    expect(tab.page.locator("#field-hostname")).to_have_value("appliance.example")


def test_question_says_which_certificate_waits(dashboard_browser: Browser, host: Host, tmp_path: Path) -> None:
    made, key = certificate(tmp_path, "new.example")
    other = dashboard_browser.tab(host).login(path="/dashboard/certificates")
    mine = dashboard_browser.tab(host).login(path="/dashboard/certificates")
    choose(mine, made, key)
    mine.page.click("dialog button:has-text('Use it')")

    other.page.locator("[data-trial]").wait_for(timeout=30_000)

    told = other.page.inner_text("[data-trial]")
    assert "Somebody else changed it" in told and "new.example" in told
    assert fingerprint(made) in told.replace("\n", "")


@pytest.fixture
def wall(jidoteki_host: MakeHost, tmp_path: Path) -> Host:
    """An appliance with a plugin of Python alone, whose change is tried for a minute."""
    copied = tmp_path / "firewall.py"
    copied.write_text(EXAMPLE.read_text())
    host = jidoteki_host(load=[copied], enable=("firewall", *BUILT_IN), parameters=None)
    script = host.appliance.bin / "firewall.sh"
    script.parent.mkdir(exist_ok=True)
    script.write_text("#!/bin/sh\necho applied\n")
    script.chmod(0o755)
    return host


def allow(tab: Tab, network: str) -> None:
    tab.page.get_by_label("Allow").fill(network)
    tab.page.get_by_role("button", name="Start", exact=True).click()
    tab.page.locator("[data-trial]").wait_for()


def test_change_of_a_plugin_asks_to_be_kept_on_its_page_and_leads_there_from_others(
    dashboard_browser: Browser, wall: Host
) -> None:
    other = dashboard_browser.tab(wall).login(path="/dashboard/home")
    mine = dashboard_browser.tab(wall).login(path="/dashboard/firewall")
    mine.settle().page.get_by_label("Allow").wait_for()
    assert mine.page.locator("main h2:has-text('Confirm')").count() == 0  # nothing waits

    allow(mine, "192.0.2.0/24")

    told = mine.page.inner_text("[data-trial]")
    assert "sec" in mine.page.inner_text(".countdown") and "192.0.2.0/24" in told
    assert "Somebody else" not in told
    assert mine.page.locator("main h2:has-text('Confirm')").count() == 0  # which is the question over again
    other.wait_for("A change is being made that may have to be confirmed: Firewall.")
    other.page.click(".connection a")
    expect(other.page.locator("[data-trial]")).to_contain_text("Somebody else changed it")
    other.page.click("button:has-text('Keep this change')")
    for tab in (mine, other):
        expect(tab.page.locator("[data-trial]")).to_have_count(0)
        tab.page.locator(".job .state:has-text('Done')").wait_for()
        tab.becomes("document.querySelector('.connection').innerText", "")
    assert "192.0.2.0/24" in (wall.appliance.etc / "firewall.conf").read_text()
    for tab in (mine, other):
        tab.assert_quiet()


def test_change_of_a_plugin_that_nobody_keeps_says_that_it_was_taken_back(
    dashboard_browser: Browser, wall: Host
) -> None:
    tab = dashboard_browser.tab(wall).login(path="/dashboard/firewall")
    assert wall.post("/firewall", "-F", "allow=192.0.2.0/24", query="confirm=10").status == 202

    tab.page.locator("[data-trial]").wait_for()
    tab.wait_for("The change was taken back: the former settings are in force again.", 30)

    expect(tab.page.locator("[data-trial]")).to_have_count(0)
    assert not (wall.appliance.etc / "firewall.conf").exists()
    tab.assert_quiet()


def test_each_of_two_changes_on_trial_is_led_to(dashboard_browser: Browser, wall: Host) -> None:
    tab = dashboard_browser.tab(wall).login(path="/dashboard/network")
    settings = json.dumps({"network": FIXED})
    assert wall.post("/settings", "-F", f"settings={settings}", query="confirm=60").status == 202
    tab.page.locator("[data-trial]").wait_for()

    assert wall.post("/firewall", "-F", "allow=192.0.2.0/24", query="confirm=60").status == 202

    tab.wait_for("A change is being made that may have to be confirmed: Firewall.")
    tab.go("home")
    tab.wait_for("A change is being made that may have to be confirmed: Network.")
    tab.wait_for("A change is being made that may have to be confirmed: Firewall.")
