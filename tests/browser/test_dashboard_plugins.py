"""What the dashboard makes of plugins: pages by itself, screens that they describe, and modules of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from dashboardkit import Browser, Tab, expect, needs_browser
from places import ROOT, SAMPLES

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

MARKUP = "<img src=x onerror=alert(1)>"
WORKSHOP = SAMPLES / "workshop.py"
ENABLED = ("bench", "tools", "dial", "broken")


def workshop(make_host: MakeHost, *enable: str, **sections: Any) -> Host:
    return make_host(load=[WORKSHOP], enable=enable or ENABLED, parameters=None, **sections)


@pytest.fixture
def probe(jidoteki_host: MakeHost, tmp_path: Path) -> Host:
    """A host with the example plugin, on which only `there.example` answers pings."""
    program = tmp_path / "ping"
    program.write_text('#!/bin/sh\necho "64 bytes from $4"\ntest "$4" = there.example\n')
    program.chmod(0o755)
    copied = tmp_path / "probe.py"
    copied.write_text((ROOT / "examples/probe/jidoteki_probe.py").read_text())
    return jidoteki_host(
        load=[copied], enable=("probe",), parameters=None, plugins={"probe": {"count": 2, "program": str(program)}}
    )


def menu(tab: Tab) -> list[str]:
    return list(tab.page.eval_on_selector_all("nav a", "all => all.map((each) => each.textContent.trim())"))


def part(tab: Tab, title: str) -> Any:
    """Return the card with a title."""
    return tab.page.locator(".card", has=tab.page.get_by_role("heading", name=title, exact=True))


def test_plugin_of_python_alone_has_a_page_a_form_its_job_and_the_result(
    dashboard_browser: Browser, probe: Host
) -> None:
    tab = dashboard_browser.tab(probe).login().go("probe")

    expect(tab.page.locator("#app h1")).to_have_text("Probe")
    expect(tab.page.get_by_label("Host")).to_have_attribute("required", "")
    tab.wait_for("3 to 255 letters")
    expect(part(tab, "State")).to_contain_text("It has not run yet.")
    tab.page.get_by_label("Host").fill("there.example")
    tab.page.get_by_role("button", name="Start", exact=True).click()
    tab.page.locator(".job .state.good").wait_for()
    tab.wait_for("64 bytes from there.example")

    tab.page.get_by_label("Host").fill("away.example")
    tab.page.locator("main form button").click()
    tab.page.get_by_role("alert").get_by_text("No answer from away.example").wait_for()
    tab.wait_for("Error code for the support: PROBE1")
    tab.assert_quiet()


LAMP = """
import voluptuous as vol
from jidoteki.hookspecs import Endpoint, hookimpl, validators


async def switch(request):
    return {"host": request.values["host"], "lit": request.values["lit"]}


@hookimpl
def jidoteki_endpoints(appliance):
    parameters = {vol.Required("host"): validators.hostname, vol.Optional("lit", default=True): vol.Boolean()}
    return [Endpoint("POST", "/lamp", switch, parameters=parameters)]
"""


def test_boolean_of_voluptuous_is_a_checkbox_and_the_api_takes_what_it_took(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    plugin = tmp_path / "lamp.py"
    plugin.write_text(LAMP)
    host = jidoteki_host(load=[plugin], enable=("lamp",), parameters=None)
    tab = dashboard_browser.tab(host).login().go("lamp")

    lit = tab.page.get_by_label("Lit")
    expect(lit).to_have_attribute("type", "checkbox")
    expect(lit).to_be_checked()
    lit.uncheck()
    tab.page.get_by_label("Host").fill("lamp.example")
    tab.page.locator("main form button").click()
    tab.page.locator(".facts dd", has_text="No").wait_for()
    tab.assert_quiet()
    for word, meant in {"yes": True, "off": False, "1": True, "true": True, "enable": True}.items():
        assert host.post("/lamp", "-F", "host=lamp.example", "-F", f"lit={word}").json["lit"] is meant


def test_hints_made_of_validators_are_in_the_language_of_the_page(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    plugin = tmp_path / "lamp.py"
    plugin.write_text(LAMP)
    host = jidoteki_host(load=[plugin], enable=("lamp",), parameters=None)
    tab = dashboard_browser.tab(host, locale="de-DE").login().go("lamp")

    tab.wait_for("Muss aus 3 bis 255 Buchstaben, Ziffern, '.' und '-' bestehen")
    tab.page.get_by_label("Host").fill("?")
    tab.page.locator("main form button").click()
    problem = tab.page.locator(".problem:not(:empty)")
    expect(problem).to_have_text("Muss aus 3 bis 255 Buchstaben, Ziffern, '.' und '-' bestehen")
    assert "letters" not in tab.text()
    tab.assert_quiet()


def test_job_that_somebody_else_started_is_shown(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = workshop(jidoteki_host)
    tab = dashboard_browser.tab(host).login(kept=True).go("tools")
    assert host.post("/tools", "-F", "how=slowly").status == 202
    tab.page.locator(".job progress").wait_for()

    tab.page.reload()
    tab.page.locator(".job progress").wait_for()
    tab.page.get_by_role("button", name="Cancel").click()
    tab.wait_for("It was cancelled.")
    tab.assert_quiet("ERR_INCOMPLETE_CHUNKED_ENCODING")


def test_fields_of_all_kinds_arrive_as_they_were_entered(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(b"x" * 1234)
    tab = dashboard_browser.tab(workshop(jidoteki_host)).login().go("bench")
    make = part(tab, "Make a tool")

    make.get_by_label("Name").fill("A saw")
    make.get_by_label("Colour").select_option("green")
    make.get_by_label("Loud").check()
    make.get_by_label("Size").fill("7")
    expect(make.get_by_label("Pass phrase")).to_have_attribute("type", "password")
    make.get_by_label("Pass phrase").fill("geheim")
    make.get_by_label("Picture").set_input_files(picture)
    make.get_by_label("Set: Details").check()
    make.get_by_label("Kind").select_option(label="steam")
    make.get_by_label("Pressure").fill("much")
    make.get_by_label("Kind").select_option(label="water")
    make.get_by_label("River").fill("Danube")
    for name in ("one", "two", "three"):
        make.get_by_role("button", name="Add an entry").click()
        make.get_by_role("textbox", name="Host").last.fill(name)
    make.get_by_role("button", name="Remove: Hosts 2").click()
    make.get_by_role("button", name="Send").click()
    make.get_by_text("Done.").wait_for()

    expect(make).to_contain_text("one tool")
    assert json.loads(tab.host.get("/bench/last").json["sent"]) == {
        "name": "A saw",
        "colour": "green",
        "loud": True,
        "size": 7,
        "secret": "geheim",
        "picture": 1234,
        "details": {"engine": {"type": "water", "river": "Danube"}, "hosts": ["one", "three"]},
    }
    tab.assert_quiet()


def test_what_is_left_empty_is_not_sent(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(workshop(jidoteki_host)).login().go("bench")
    make = part(tab, "Make a tool")
    make.get_by_label("Name").fill("A saw")
    make.get_by_label("Colour").select_option("red")
    make.get_by_role("button", name="Send").click()
    make.get_by_text("Done.").wait_for()

    arrived = json.loads(tab.host.get("/bench/last").json["sent"])
    assert arrived == {"name": "A saw", "colour": "red", "loud": False, "picture": None}


def test_refused_value_is_shown_at_its_field_and_the_next_click_works(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = dashboard_browser.tab(workshop(jidoteki_host)).login().go("bench")
    make = part(tab, "Make a tool")
    make.get_by_label("Colour").select_option("red")
    for wrong, told in (("!", "This must be: "), ("refused", "This name is taken already")):
        make.get_by_label("Name").fill(wrong)
        make.get_by_role("button", name="Send").click()
        make.get_by_text(told).wait_for()
        tab.becomes("document.activeElement.dataset.pointer", "/name")
        expect(make.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
        expect(make.get_by_label("Colour")).to_have_value("red")
    make.get_by_label("Name").fill("right")
    make.get_by_role("button", name="Send").click()
    make.get_by_text("Done.").wait_for()
    tab.assert_quiet("status of 400")


def test_page_that_nobody_described_shows_all_that_there_is(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = dashboard_browser.tab(workshop(jidoteki_host)).login().go("bench")

    facts = part(tab, "How the bench is").inner_text()
    assert "Lathe" in facts and "Yes" in facts and "a, b" in facts and "Room" in facts
    assert MARKUP in facts
    expect(part(tab, "Log")).to_contain_text("first line")
    expect(part(tab, "None")).to_contain_text(re.compile("There is none yet|nothing to show"))
    look = part(tab, "Look for a book")
    look.get_by_label("Name").fill("Saws")
    look.get_by_role("button", name="Show").click()
    look.get_by_text("On Saws").wait_for()
    part(tab, "Forget what was sent").get_by_role("button", name="Remove").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    part(tab, "Forget what was sent").get_by_text("Done.").wait_for()
    expect(tab.page.locator("main img")).to_have_count(0)
    tab.assert_quiet("status of 404")


def test_described_screen_is_as_its_author_says(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(workshop(jidoteki_host)).login().go("tools")
    tab.wait_for("All that there is.")

    expect(tab.page.locator("#app h1")).to_have_text(f"Tools {MARKUP}")
    assert menu(tab)[-4:] == ["Bench", "Broken", "Dial", f"Tools {MARKUP}"]
    expect(tab.page.locator("nav")).to_contain_text("Workshop", use_inner_text=True)
    expect(part(tab, "All tools").locator("th")).to_have_text(["How many", "Tool"])
    expect(part(tab, "Facts").locator("dt").first).to_have_text("Switched on")
    expect(part(tab, "What happened")).to_contain_text("first line")
    tab.page.locator("main figure, main .card:has-text('Memory')").first.wait_for()
    work = part(tab, "Work")
    work.get_by_label("In which way").select_option("well")
    work.get_by_role("button", name="Begin").click()
    work.get_by_text("All is made.").wait_for()
    expect(tab.page.locator("main img")).to_have_count(0)
    tab.assert_quiet()


def test_job_that_breaks_says_why_and_nothing_of_it_runs(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(workshop(jidoteki_host)).login().go("tools")
    dialogs: list[str] = []
    tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    part(tab, "Work").get_by_label("In which way").select_option("badly")
    tab.page.get_by_role("button", name="Begin").click()

    tab.page.get_by_role("alert").get_by_text(f"It broke {MARKUP}").wait_for()
    tab.wait_for("Error code for the support: WORK1")
    tab.wait_for(f"Working {MARKUP}")
    assert dialogs == []
    tab.assert_quiet()


def test_module_shows_its_screen_and_a_broken_one_takes_down_itself_alone(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = dashboard_browser.tab(workshop(jidoteki_host)).login().go("dial")
    expect(tab.page.locator("#found")).to_have_text("Lathe")
    expect(tab.page.locator("#app h1")).to_have_text("Dial")
    tab.assert_quiet()

    tab.page.click("nav a[href='/dashboard/broken']")
    tab.page.get_by_role("alert").get_by_text("This page failed. The others go on working.").wait_for()
    tab.go("dial")
    tab.page.locator("#found").wait_for()
    tab.assert_quiet("planted-failure")


def test_what_is_not_enabled_or_not_allowed_is_not_in_the_menu(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = workshop(jidoteki_host, "bench", "dial", "tokens", authentication={"named-tokens": True})
    tab = dashboard_browser.tab(host).login()
    assert "Bench" in menu(tab) and "Dial" in menu(tab)
    assert not any(each.startswith(("Tools", "Broken")) for each in menu(tab))

    made = host.post("/tokens", "-F", "name=dials", "-F", "scopes=GET /dial,/bench/log")
    few = dashboard_browser.tab(host).login(token=str(made.json["token"]))
    assert "Dial" in menu(few)
    tab.assert_quiet()


def test_reader_sees_no_forms(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = workshop(jidoteki_host, "bench", "tools", "tokens", authentication={"named-tokens": True})
    made = host.post("/tokens", "-F", "name=reader", "-F", "scopes=read")
    tab = dashboard_browser.tab(host).login(token=str(made.json["token"])).go("bench")
    part(tab.settle(), "How the bench is").wait_for()

    assert part(tab, "Make a tool").count() == 0
    assert part(tab, "Forget what was sent").count() == 0


@pytest.mark.parametrize("width", [320, 1280])
def test_screens_of_plugins_are_accessible_and_do_not_scroll_sideways(
    dashboard_browser: Browser, jidoteki_host: MakeHost, width: int
) -> None:
    look = pytest.importorskip("test_dashboard_look", reason="axe-playwright-python is not installed")
    tab = dashboard_browser.tab(workshop(jidoteki_host), width=width).login()
    for screen in ("bench", "tools", "dial", "broken"):
        tab.go(screen).settle()
        assert look.violations(tab) == [], screen
        wide = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, screen
