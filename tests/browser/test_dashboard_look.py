"""Whoever looks at the dashboard: with little sight, a small screen, another language, the vendor's colours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from axekit import violations
from dashboardkit import SCREENS, SETTINGS, Browser, Tab, expect, needs_browser
from places import ROOT

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

GERMAN = ROOT / "plugins/dashboard/static/languages/de.json"
#: Markup, templates, addresses with scripts, the other direction, and a lot, as a name or a value.
NASTY = (
    "<img src=x onerror=alert(1)>",
    "{{constructor.constructor('alert(1)')()}}",
    "javascript:alert(1)",
    "\u202eabc\u202d",
    "<script>alert(1)</script>",
    "x" * 10_000,
)


def all_screens(make_host: MakeHost, **sections: Any) -> Host:
    enable = ("settings", "certs", "storage", "license", "backup", "tokens", "audit", "history", "uploads")
    return make_host(enable=enable, parameters=None, authentication={"named-tokens": True}, **sections)


def with_settings(host: Host, settings: Any) -> None:
    answer = host.post("/settings", "-F", f"settings={json.dumps(settings)}")
    assert answer.status == 202, answer
    assert host.wait_for_job(f"/jobs/{answer.headers['Job-Id']}")["status"] == "success"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_screen(dashboard_browser: Browser, jidoteki_host: MakeHost, scheme: str) -> None:
    host = all_screens(jidoteki_host)
    tab = dashboard_browser.tab(host, color_scheme=scheme, reduced_motion="reduce").open()
    tab.page.wait_for_selector("#token")
    found = {"login": violations(tab)}
    tab.login()
    for screen in SCREENS:
        found[f"{screen}, empty"] = violations(tab.go(screen))
    with_settings(host, SETTINGS)
    assert host.post("/backup", "-F", "action=START").status == 202
    assert host.wait_for_job("/backup")["status"] == "success"
    for screen in SCREENS:
        found[f"{screen}, in use"] = violations(tab.go(screen))
    tab.page.click("nav button.restart")
    tab.page.wait_for_selector("dialog[open]")
    found["dialog"] = violations(tab)

    assert {screen: each for screen, each in found.items() if each} == {}


@pytest.mark.parametrize("width", [320, 640])
def test_nothing_scrolls_sideways_on_narrow_screens(
    dashboard_browser: Browser, jidoteki_host: MakeHost, width: int
) -> None:
    host = all_screens(jidoteki_host)
    with_settings(host, SETTINGS)
    tab = dashboard_browser.tab(host, width=width, height=640).login()
    for screen in SCREENS:
        tab.go(screen)
        wide = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, screen
        small = tab.page.evaluate(
            """[...document.querySelectorAll('button, nav a, select, input:not([type=file]):not([hidden])')]
            .filter((each) => each.checkVisibility() && !each.closest('.unseen'))
            .map((each) => [each.outerHTML.slice(0, 100), each.getBoundingClientRect()])
            .filter(([, box]) => box.width < 20 || box.height < 20).map(([html]) => html)"""
        )
        assert small == [], screen


def test_nothing_moves_for_those_who_want_no_motion(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(jidoteki_host(), reduced_motion="reduce").login()

    assert tab.page.evaluate("document.getAnimations().length") == 0


def test_hostile_names_and_values_are_shown_as_text(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = all_screens(jidoteki_host)
    network = {"hostname": "shop", **{text[:60]: text for text in NASTY}}
    host.appliance.replace_file(host.appliance.system_etc / "network.json", json.dumps(network))
    for name, content in {"changelog.txt": "\n".join(NASTY), "version.txt": NASTY[0]}.items():
        for path in host.appliance.root.rglob(name):
            path.write_text(content)
    tab = dashboard_browser.tab(host).login()
    dialogs: list[str] = []
    tab.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    for screen in SCREENS:
        tab.go(screen)
        assert tab.page.locator("main img").count() == 0, screen
    tab.go("home").wait_for(NASTY[0])
    assert dialogs == []
    tab.assert_quiet()


def colours(tab: Tab, selector: str) -> list[str]:
    """Return the colours of the background and of the text of an element."""
    found: list[str] = tab.page.locator(selector).first.evaluate(
        """element => {
            const { backgroundColor, color } = getComputedStyle(element);
            return [backgroundColor, color];
        }"""
    )
    return found


def test_vendor_has_name_logo_colours_and_support_on_the_first_screen(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    logo = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="30"><script>alert(1)</script>'
        '<rect width="80" height="30"/></svg>'
    )
    host = jidoteki_host(
        start=False,
        plugins={
            "dashboard": {
                "name": "Shop <b>of</b> Müller",
                "logo": "usr/local/etc/logo.svg",
                "colours": {"background": "#004400", "text": "#ffffee"},
                "support": "Call 555-0100",
            }
        },
    )
    host.appliance.replace_file(host.appliance.system_etc / "logo.svg", logo)
    host.start()
    tab = dashboard_browser.tab(host).open()
    tab.wait_for("Shop <b>of</b> Müller")
    tab.wait_for("Call 555-0100")
    expect(tab.page.locator("header img.logo")).to_have_js_property("naturalWidth", 80)
    given = ["rgb(0, 68, 0)", "rgb(255, 255, 238)"]
    assert (colours(tab, "header"), colours(tab, "button.primary")) == (given, given)
    tab.login().go("update")
    assert (colours(tab, "header"), colours(tab, "button.primary")) == (given, given)
    tab.assert_quiet()


def test_pseudo_language_leaves_no_text_of_the_dashboard_untranslated(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = all_screens(
        jidoteki_host, start=False, plugins={"dashboard": {"languages": {"eo": "usr/local/etc/eo.json"}}}
    )
    catalogue = {english: pseudo(translated) for english, translated in json.loads(GERMAN.read_text()).items()}
    host.appliance.replace_file(host.appliance.system_etc / "eo.json", json.dumps(catalogue))
    host.start()
    with_settings(host, SETTINGS)
    tab = dashboard_browser.tab(host, locale="eo", width=390, height=800).login()
    tab.loading = str(catalogue["Loading …"])
    served = tab.page.request.get(f"{host.url}/docs/openapi.json").text()
    left = {}
    for screen in SCREENS:
        tab.go(screen)
        left[screen] = [each for each in tab.page.evaluate(UNTRANSLATED) if each not in served]
        assert tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0

    assert {screen: each for screen, each in left.items() if each} == {}


def pseudo(translated: str | dict[str, str]) -> str | dict[str, str]:
    """Return a text that is recognised and 40 % longer; of one with forms, for each of them."""
    if isinstance(translated, dict):
        return {form: str(pseudo(text)) for form, text in translated.items()}
    longer = " ûé" * (len(translated) // 7)
    return f"[!! {translated}{longer} !!]"


#: Words of the dashboard that are not between the marks of the pseudo-language; data of the appliance are `data-plain`.
UNTRANSLATED = r"""(() => {
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("#app"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { nodeValue, parentElement } = walker.currentNode;
    let text = nodeValue;
    for (let before = ""; before !== text; ) { // marks may be in marks: a name in a sentence
      before = text;
      text = text.replace(/\[!!((?!\[!!|!!\]).)*!!\]/gs, "");
    }
    const data = parentElement.closest(
      "dd, pre, code, td, time, .changelog, .brand, .state, .figures, .services, [data-plain], option, footer, svg");
    if (/[a-z]{3}/i.test(text.trim()) && !data && parentElement.checkVisibility()) {
      found.push(text.slice(0, 80));
    }
  }
  return found;
})()"""
