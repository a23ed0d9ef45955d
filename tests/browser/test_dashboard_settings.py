"""Network, storage and license at the dashboard: what is changed, what is kept, and what is said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from dashboardkit import Browser, Tab, expect, needs_browser

from jidoteki.testing import Host, MakeHost, wait_until
from jidoteki.testing.fixtures import BUILT_IN

pytestmark = needs_browser

FIXED = {
    "interface": "eth0",
    "hostname": "appliance.example",
    "ntpserver": "ntp.example",
    "ip_address": "127.0.0.1",
    "netmask": "255.0.0.0",
    "gateway": "127.0.0.254",
    "dns1": "192.0.2.53",
}
APP = {"name": "of the vendor", "nested": {"list": [1, {"deep": True}]}}
#: What the browser says of an error that a test provokes.
REFUSED = r"status of 4\d\d "
NASTY = [
    "<img src=x onerror=window.ran=1>",
    "<script>window.ran=1</script>",
    "{{constructor.constructor('window.ran=1')()}}",
    "javascript:window.ran=1",
    "\u202egnp.exe",
    '"><svg onload=window.ran=1>',
    "constructor",
    "x" * 10_000,
]


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=BUILT_IN)


def stored(host: Host, name: str) -> Any:
    return json.loads((host.appliance.etc / name).read_text())


def preset(host: Host, network: dict[str, Any] | None = None, app: Any = None) -> None:
    """Let settings be there, as if they had been made earlier."""
    (host.appliance.etc / "network.json").write_text(json.dumps(network or FIXED))
    (host.appliance.etc / "app.json").write_text(json.dumps(app or APP))


def vendor_command(host: Host, name: str, content: str) -> None:
    path = host.appliance.bin / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{content}\n")
    path.chmod(0o755)


def save(tab: Tab, button: str = "Save", confirm: str = "Change") -> None:
    tab.page.click(f"form button.primary:has-text('{button}')")
    tab.page.click(f"dialog button:has-text('{confirm}')")


def keep(tab: Tab) -> None:
    """Confirm the settings on trial."""
    tab.page.click("button:has-text('Keep this change')")


def test_address_of_an_appliance_with_dhcp_is_told_as_far_as_it_is_known(
    dashboard_browser: Browser, host: Host
) -> None:
    preset(host, {"mode": "dhcp", "hostname": "appliance.example", "interface": "eth0"})
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")
    tab.wait_for("At present this page reaches the appliance at 127.0.0.1.")

    tab.page.check("#mode-static")
    expect(tab.page.locator("#content")).not_to_contain_text("At present")

    preset(host)
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")
    tab.page.check("#mode-dhcp")
    tab.wait_for("The address comes from your network.")
    assert "At present" not in tab.text()
    tab.assert_quiet()


def test_dhcp_and_back_keeps_everything_else(dashboard_browser: Browser, host: Host) -> None:
    preset(host)
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")

    tab.page.check("#mode-dhcp")
    expect(tab.page.locator("#field-ip_address")).to_be_hidden()
    tab.page.click("form button.primary")
    tab.wait_for("DNS server 1 and DNS server 2 have no effect with DHCP")
    tab.page.click("dialog button:has-text('Change')")
    keep(tab)
    tab.wait_for("The new settings are in force.")
    network = stored(host, "network.json")
    assert network == {name: FIXED[name] for name in ("interface", "hostname", "ntpserver", "dns1")} | {"mode": "dhcp"}
    assert stored(host, "app.json") == APP

    tab.page.check("#mode-static")
    for name in ("ip_address", "netmask", "gateway"):
        tab.page.fill(f"#field-{name}", FIXED[name])
    save(tab)
    keep(tab)
    wait_until(lambda: stored(host, "network.json") == {**FIXED, "mode": "static"})
    assert stored(host, "app.json") == APP
    tab.assert_quiet()


def test_empty_field_is_a_key_that_is_not_there(dashboard_browser: Browser, host: Host) -> None:
    preset(host)
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")

    tab.page.fill("#field-ntpserver", "")
    tab.page.fill("#field-dns2", "192.0.2.54")
    save(tab)
    keep(tab)
    tab.wait_for("The new settings are in force.")

    expected = {**FIXED, "dns2": "192.0.2.54", "mode": "static"}
    del expected["ntpserver"]
    assert stored(host, "network.json") == expected
    tab.assert_quiet()


def test_question_names_each_difference_the_warnings_and_the_new_address(
    dashboard_browser: Browser, host: Host
) -> None:
    preset(host)
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")
    port = host.url.rsplit(":", 1)[1]

    tab.page.fill("#field-ip_address", "192.0.2.7")
    tab.page.fill("#field-netmask", "24")
    tab.page.fill("#field-hostname", "other.example")
    tab.page.click("form button.primary")

    question = tab.page.locator("dialog")
    question.wait_for()
    text = question.inner_text()
    assert "gateway 127.0.0.254 is not in the subnet of IP address, 192.0.2.0/24" in text
    assert "other.example, before: appliance.example" in text
    assert f"https://192.0.2.7:{port}/dashboard/network" in text
    assert "NTP server" not in text
    before = stored(host, "network.json")
    tab.page.click("dialog button:has-text('Cancel')")
    expect(question).to_have_count(0)
    assert tab.page.input_value("#field-hostname") == "other.example"
    assert not tab.asked(r"POST .*/settings\?(?!.*dry-run)")
    assert stored(host, "network.json") == before
    tab.assert_quiet()


def test_after_a_change_of_address_the_new_one_is_shown_and_the_page_stays(
    dashboard_browser: Browser, host: Host
) -> None:
    preset(host)
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")
    port = host.url.rsplit(":", 1)[1]

    tab.page.fill("#field-ip_address", "127.0.0.2")
    save(tab)

    address = f"https://127.0.0.2:{port}/dashboard/network"
    link = tab.page.locator(f"a[href='{address}']")
    expect(link).to_have_text(address)
    tab.page.wait_for_timeout(1_000)
    assert tab.page.url == f"{host.url}/dashboard/network"
    tab.assert_quiet()


def test_refused_field_is_marked_keeps_its_value_and_the_next_click_saves(
    dashboard_browser: Browser, host: Host
) -> None:
    preset(host)
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")
    pointing(tab, "/settings/network/gateway")

    tab.page.fill("#field-hostname", "other.example")
    tab.page.fill("#field-gateway", "nowhere")
    tab.page.click("form button.primary")
    expect(tab.page.locator("#field-gateway[aria-invalid=true]")).to_be_focused()
    expect(tab.page.locator("#field-gateway-problem")).to_have_text(re.compile("^Must be an IPv4 or IPv6 address"))
    assert tab.page.input_value("#field-hostname") == "other.example"

    tab.page.keyboard.press("ControlOrMeta+a")
    tab.page.keyboard.type(FIXED["gateway"])
    button = tab.page.locator("form button.primary").bounding_box()
    tab.page.mouse.click(button["x"] + button["width"] / 2, button["y"] + button["height"] / 2)
    tab.page.click("dialog button:has-text('Change')")
    keep(tab)
    tab.wait_for("The new settings are in force.")
    assert stored(host, "network.json")["hostname"] == "other.example"
    tab.assert_quiet(REFUSED)


def pointing(tab: Tab, field: str) -> None:
    """Let errors of settings name a field, whether this version of the API does or not."""

    def answer(route: Any) -> None:
        response = route.fetch()
        body = response.json()
        if response.status == 400:
            body["error-field"] = field
        route.fulfill(response=response, json=body)

    tab.page.route(re.compile(r"/settings\?.*dry-run"), answer)


def test_first_settings_of_an_appliance_without_any(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")

    tab.page.click("form button.primary")
    expect(tab.page.locator("#field-hostname")).to_be_focused()  # the browser itself asks for it
    tab.page.fill("#field-hostname", "first.example")
    tab.page.fill("#field-interface", "eth0")
    save(tab)
    keep(tab)
    tab.wait_for("The new settings are in force.")

    assert stored(host, "network.json") == {"hostname": "first.example", "interface": "eth0", "mode": "dhcp"}
    assert not (host.appliance.etc / "app.json").exists()
    tab.assert_quiet()


def test_failure_of_the_vendors_script_is_told_in_its_words(dashboard_browser: Browser, host: Host) -> None:
    preset(host)
    failed = host.appliance.root / "failed"  # the former settings can be put into force again
    vendor_command(host, "network.sh", f"[ -e {failed} ] && exit; touch {failed}; echo the cable is cut; exit 3")
    tab = dashboard_browser.tab(host).login(path="/dashboard/network")

    tab.page.fill("#field-hostname", "other.example")
    save(tab)

    expect(tab.page.locator(".job [role=alert]")).to_contain_text("network.sh failed with exit status 3")
    expect(tab.page.locator(".job .log")).to_contain_text("the cable is cut")
    tab.settle().assert_quiet()
    assert tab.page.input_value("#field-hostname") == "other.example"
    assert tab.page.locator("text=are in force.").count() == 0


def test_job_that_runs_already_is_shown_and_so_is_one_of_somebody_else(dashboard_browser: Browser, host: Host) -> None:
    preset(host)
    seen = host.appliance.root / "seen"
    vendor_command(host, "network.sh", f"while [ ! -e {seen} ]; do sleep 0.1; done")
    form = ("-F", f"settings={json.dumps({'network': FIXED})};filename=a")
    watching = dashboard_browser.tab(host).login(path="/dashboard/network")
    assert host.post("/settings", *form).status == 202

    opened = dashboard_browser.tab(host).login(path="/dashboard/network")
    for tab in (watching, opened):
        tab.page.locator(".job progress").wait_for()
        assert tab.page.evaluate("document.activeElement.closest('.job')") is None
    seen.touch()
    for tab in (watching, opened):
        tab.wait_for("The new settings are in force.")
        tab.assert_quiet()


def test_nothing_in_the_settings_is_markup(dashboard_browser: Browser, host: Host) -> None:
    named = {each: each for each in NASTY}
    preset(host, {**FIXED, "hostname": NASTY[0], **named}, named)
    (host.appliance.etc / "storage.json").write_text(json.dumps({"storage": {"type": NASTY[1], **named}}))
    tab = dashboard_browser.tab(host, width=320, height=700).login()

    for screen in ("home", "network", "storage"):
        if screen != "home":
            tab.go(screen)
        tab.page.wait_for_selector(".card:not([hidden])")
        assert tab.page.evaluate("window.ran") is None
        assert tab.page.locator("main img, main script, main svg").count() == 0
        if screen == "network":
            expect(tab.page.locator("#field-hostname")).to_have_value(NASTY[0])
        else:
            text = tab.page.evaluate("document.querySelector('main').textContent")
            assert not [each for each in NASTY if text.count(each) < 2]
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 320
    tab.assert_quiet()


def test_storage_before_the_first_save_and_restart_to_use_it(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login(path="/dashboard/storage")

    tab.page.wait_for_selector("#field-type")
    offered = tab.page.eval_on_selector_all("#field-type option", "all => all.map((each) => each.value)")
    assert offered == ["local", "nfs", "aoe", "iscsi", "nbd"]
    tab.page.select_option("#field-type", "iscsi")
    for name, value in ISCSI.items():
        field = tab.page.locator(f"#field-iscsi-{name}")
        expect(field).to_have_attribute("required", "")
        expect(field).to_have_attribute("type", "password" if name == "password" else "text")
        field.fill(value)
    save(tab)
    tab.wait_for("Restart to use the new storage")

    assert stored(host, "storage.json") == {"storage": {"type": "iscsi", **ISCSI}}
    assert ISCSI["password"] not in tab.page.content()
    expect(tab.page.locator("#field-iscsi-password")).to_have_value("")
    tab.assert_quiet()


def test_storage_that_waits_for_a_restart_is_told_until_then_over_a_reload_too(
    dashboard_browser: Browser, host: Host
) -> None:
    (host.appliance.etc / "storage.json").write_text('{"storage": {"type": "local"}}')
    tab = dashboard_browser.tab(host).login(path="/dashboard/storage")
    tab.wait_for("Where the data are kept")
    assert tab.page.locator("[data-restart]").count() == 0
    tab.page.select_option("#field-type", "aoe")
    tab.page.fill("#field-aoe-device", "e0.1")
    save(tab)
    tab.page.wait_for_selector("[data-restart]")

    tab.page.reload()

    waiting = tab.page.locator("[data-restart]")
    expect(waiting).to_contain_text("take effect after a restart")
    expect(tab.page.get_by_role("heading", name="Where the data are kept after a restart")).to_be_visible()
    (host.appliance.etc / "storage.boot").write_text("of the boot before\n")
    tab.page.reload()
    tab.page.get_by_role("heading", name="Where the data are kept", exact=True).wait_for()
    assert waiting.count() == 0
    tab.assert_quiet()


ISCSI = {
    "target": "iqn.2016-01.com.example:storage.lun1",
    "ip": "192.0.2.9",
    "username": "user",
    "password": "correct-pony",
}


def test_storage_password_stays_unless_another_is_given_and_is_never_shown(
    dashboard_browser: Browser, host: Host
) -> None:
    storage = {"type": "iscsi", **ISCSI}
    (host.appliance.etc / "storage.json").write_text(json.dumps({"storage": storage}))
    tab = dashboard_browser.tab(host).login(path="/dashboard/storage")

    expect(tab.page.locator("#field-iscsi-password")).to_have_value("")
    tab.page.fill("#field-iscsi-username", "another")
    save(tab)
    tab.wait_for("Restart to use the new storage")
    assert stored(host, "storage.json") == {"storage": {**storage, "username": "another"}}
    assert not [each for each in (*tab.bodies, tab.page.content()) if ISCSI["password"] in each]

    tab.page.fill("#field-iscsi-password", "a-new-one")
    save(tab)
    wait_until(lambda: stored(host, "storage.json")["storage"]["password"] == "a-new-one")
    assert "a-new-one" not in tab.settle().page.content()
    tab.assert_quiet()


def test_storage_offers_what_the_vendor_offers(dashboard_browser: Browser, host: Host) -> None:
    (host.appliance.system_etc / "storage-options.json").write_text('{"options": ["nfs", "local", "magic"]}')
    (host.appliance.etc / "storage.json").write_text('{"storage": {"type": "local"}}')
    tab = dashboard_browser.tab(host).login(path="/dashboard/storage")

    tab.page.wait_for_selector("#field-type")
    offered = tab.page.eval_on_selector_all("#field-type option", "all => all.map((each) => each.value)")
    assert sorted(offered) == ["local", "nfs"]
    expect(tab.page.locator("#field-type")).to_have_value("local")
    tab.page.select_option("#field-type", "nfs")
    tab.page.fill("#field-nfs-ip", "192.0.2.9")
    tab.page.fill("#field-nfs-share", "/data")
    tab.page.fill("#field-nfs-mount_options", "no space")
    tab.page.click("form button.primary")
    tab.page.wait_for_selector("form [role=alert], [aria-invalid=true]")
    assert tab.page.input_value("#field-nfs-share") == "/data"
    tab.assert_quiet(REFUSED)


def test_license_is_shown_replaced_and_refused_with_the_reason(
    dashboard_browser: Browser, host: Host, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.asc"
    bad.write_text("-----BEGIN PGP MESSAGE-----\n\nnonsense\n-----END PGP MESSAGE-----\n")
    tab = dashboard_browser.tab(host).login(path="/dashboard/license")
    tab.wait_for("Enterprise Company")

    tab.page.set_input_files("#field-license", bad)
    tab.page.click("form button.primary")
    alert = tab.page.locator("form [role=alert], form .problem:not(:empty)").first
    expect(alert).to_contain_text("license", ignore_case=True)
    tab.wait_for("Enterprise Company")
    assert "The new license is in force." not in tab.text()

    tab.page.set_input_files("#field-license", host.appliance.root / "vendor/license-sample.asc")
    tab.page.click("form button.primary")
    tab.wait_for("The new license is in force.")
    tab.assert_quiet(REFUSED)


def test_license_that_is_missing_or_damaged_says_so(dashboard_browser: Browser, host: Host) -> None:
    (host.appliance.etc / "license.asc").write_text("nonsense")
    tab = dashboard_browser.tab(host).login(path="/dashboard/license")

    expect(tab.page.locator(".message.warn")).to_contain_text("license", ignore_case=True)
    tab.assert_quiet()


def test_token_that_may_only_read_gets_no_buttons(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=(*BUILT_IN, "tokens"), authentication={"named-tokens": True})
    preset(host)
    made = host.post("/tokens", "-F", "name=reader", "-F", "scopes=read").json["token"]
    tab = dashboard_browser.tab(host).login(token=str(made), path="/dashboard/network")

    expect(tab.page.locator("#field-hostname")).to_have_value(FIXED["hostname"])
    for screen in ("network", "certificates", "storage", "license"):
        tab.go(screen)
        tab.page.wait_for_selector(".message.info")
        assert tab.page.locator("main button").count() == 0
    assert tab.page.locator("nav a[href='/dashboard/access']").count() == 0
    tab.assert_quiet()
