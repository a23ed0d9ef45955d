"""What the appliance says, as people read it: times, changelogs, secrets, and sentences in their language."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from certificates import choose
from dashboardkit import SETTINGS, Browser, expect, needs_browser
from updatekit import install, package, update_screen

from jidoteki.testing.fixtures import MakeHost

pytestmark = [needs_browser, pytest.mark.timeout(300)]

CHANGELOG = """# Changelog

## 1.0.0 (2026-11-28)

Reads **mail** again.

- `fast`, with an item
  of two lines
* second
<b>no markup</b>
"""


def test_log_has_times_in_place_of_seconds_and_the_file_stays_as_it_is(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = update_screen(dashboard_browser, host)

    install(tab, package(host, tmp_path, "exit 3"))

    tab.page.locator("main [role=alert]:has-text('E1002')").wait_for()
    shown = tab.page.inner_text("main pre.log").splitlines()
    assert all(re.match(r"[A-Z][a-z]{2} \d{2}, \d{2}:\d{2}:\d{2}.[AP]M  \S", line) for line in shown), shown
    assert re.match(r"\[\d{10}\]\[[A-Z ]+\] ", host.get("/update/log").text)


def test_changelog_is_shown_without_its_marks_and_markup_stays_text(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host()
    host.appliance.replace_file(host.appliance.etc / "changelog.txt", CHANGELOG)
    tab = dashboard_browser.tab(host).login()

    shown = tab.page.locator("main .changelog")
    expect(shown.locator("h3")).to_have_text(["1.0.0 (2026-11-28)"])
    expect(shown.locator("li")).to_have_text(["fast, with an item of two lines", "second"])
    for text in ("Reads mail again.", "<b>no markup</b>"):
        expect(shown).to_contain_text(text)
    tab.assert_quiet()


def test_secret_can_be_looked_at_while_it_is_typed(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    tab = dashboard_browser.tab(jidoteki_host()).open()
    tab.page.fill("#token", "seen")
    expect(tab.page.locator("#token")).to_have_attribute("type", "password")

    show = tab.page.get_by_role("button", name="Show what is typed")
    show.click()
    expect(show).to_have_attribute("aria-pressed", "true")
    expect(tab.page.locator("#token[type=text]")).to_be_focused()
    show.click()
    expect(tab.page.locator("#token")).to_have_attribute("type", "password")
    assert len(tab.asked("/api/v1/admin/")) == 0


def test_sentences_of_the_appliance_are_in_the_language_of_the_browser_or_marked_as_english(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host(enable=("settings", "certs"))
    answer = host.post("/settings", "-F", f"settings={json.dumps(SETTINGS)}")
    host.wait_for_job(f"/jobs/{answer.headers['Job-Id']}")
    tab = dashboard_browser.tab(host, locale="de-DE").login(path="/dashboard/network")
    tab.page.fill("[name=gateway]", "nowhere")
    tab.page.click("form button.primary")

    problem = tab.page.locator("#field-gateway-problem")
    expect(problem).to_have_text("Muss eine IPv4- oder IPv6-Adresse aus 3 bis 45 Zeichen sein")
    expect(problem).to_have_attribute("lang", "")

    nothing = host.appliance.root / "no-package"
    nothing.write_text("this is no package")
    host.post("/update", "-F", f"update=@{nothing}")
    host.wait_for_job("/update")
    told = tab.go("update").page.locator("main [role=alert]:has-text('E1005')")
    for sentence in (
        "Die Datei ist kein Aktualisierungspaket",
        "Das Paket lässt sich nicht entschlüsseln",
        "openssl enc und",
    ):
        expect(told).to_contain_text(sentence)
    assert "it is not a file" not in told.inner_text().lower() and told.locator("[lang=en]").count() == 0

    tab.go("certificates")
    choose(tab, nothing, nothing)
    refused = tab.page.locator("form [lang=en]").first
    expect(refused).to_contain_text("PEM")
    assert "public" not in refused.inner_text()
    tab.assert_quiet("status of 400 ")


def test_wrong_file_is_told_in_plain_words_until_another_one_is_chosen(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(enable=("settings", "license", "backup"))
    host.appliance.data.mkdir(exist_ok=True)
    wrong = tmp_path / "letter.txt"
    wrong.write_text("this is nothing of this appliance")
    other = tmp_path / "other.txt"
    other.write_text("neither is this")
    told = {
        "license": ("#field-license", "#field-license-problem", "This file is not a license."),
        "backup": ("main input[type=file]", "main [role=alert]", "This file is not a backup."),
        "update": ("#field-package", "main [role=alert]", "The file is not an update package for this appliance"),
    }
    tab = dashboard_browser.tab(host).login()

    for screen, (field, place, sentence) in told.items():
        tab.go(screen).page.set_input_files(field, wrong)
        tab.page.click(f"form:has({field.removeprefix('main ')}) button.primary")
        tab.page.locator(f"{place}:has-text('{sentence}')").wait_for()
        tab.page.set_input_files(field, other)
        expect(tab.page.locator("#content")).not_to_contain_text(sentence)
    tab.assert_quiet("status of 400 ", "status of 404 ")


def test_file_that_is_too_large_is_told_in_plain_words(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(limits={"upload": 1_000_000})
    large = tmp_path / "large"
    large.write_bytes(bytes(2_000_000))
    tab = dashboard_browser.tab(host, locale="de-DE").login().go("update")

    tab.page.set_input_files("#field-package", large)
    tab.page.click("form:has(#field-package) button.primary")

    tab.page.locator("main [role=alert]:has-text('Diese Datei ist zu groß für dieses Gerät.')").wait_for()
    tab.assert_quiet("status of 413 ")


def test_what_must_wait_for_a_change_on_trial_says_so_without_the_words_of_programs(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(enable=("settings", "backup"))
    answer = host.post("/settings", "-F", f"settings={json.dumps(SETTINGS)}", query="confirm=60")
    assert answer.status == 202
    wrong = tmp_path / "letter.txt"
    wrong.write_text("this is no backup")
    tab = dashboard_browser.tab(host).login(path="/dashboard/backup")
    tab.wait_for("A change is being made that may have to be confirmed: Network.")

    tab.page.set_input_files("main input[type=file]", wrong)
    tab.page.click("form:has(input[type=file]) button.primary")

    told = tab.page.locator("main [role=alert]:has-text('E1004')")
    expect(told).to_contain_text("Another change is on trial. Keep it first, or wait until it is taken back.")
    assert "POST" not in told.inner_text()


def test_log_of_an_appliance_that_was_never_updated_is_empty_and_no_error(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    tab = update_screen(dashboard_browser, jidoteki_host())

    tab.page.click("text=Show full log")

    tab.wait_for("No update was installed yet.")
    assert tab.page.locator("main [role=alert]").count() == 0
    tab.assert_quiet()
