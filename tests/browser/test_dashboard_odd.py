"""What people and appliances do that nobody expects: files that go, answers that never come, clicks that are two."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from dashboardkit import Browser, Tab, expect, needs_browser
from updatekit import AWAY, check, package, slow_down, update_screen, uploads

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = [needs_browser, pytest.mark.timeout(300)]

UNREADABLE = "The file cannot be read. It may have been changed or removed since it was chosen"
NO_ANSWER = "The appliance does not answer"
BANNER = "document.querySelector('.connection').innerText"
#: What the browser says of a request whose file it cannot read.
FILE_GONE = r"ERR_(UPLOAD_FILE_CHANGED|FILE_NOT_FOUND|ALPN_NEGOTIATION_FAILED|FAILED)"

PLUGIN = """
import asyncio
from jidoteki.hookspecs import Endpoint, JobType, hookimpl

async def hang(request):
    await asyncio.sleep(600)

async def rows(request):
    return {"long": "X" * 3000, "rows": [{"name": "first"}, None, {"name": "last"}]}

async def work(request):
    return await request.start_job("counting")

def count(job):
    import time
    for percentage in range(100):
        job.progress(percentage)
        time.sleep(0.1)

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("counting", count)]

@hookimpl
def jidoteki_endpoints(appliance):
    return [
        Endpoint("GET", "/probe/never", hang),
        Endpoint("GET", "/probe/rows", rows),
        Endpoint("POST", "/probe/count", work, starts="counting"),
    ]
"""


def drop(tab: Tab, path: Path) -> None:
    """Drop a file, as a person does with the mouse."""
    box = tab.page.locator(".drop").bounding_box()
    session = tab.page.context.new_cdp_session(tab.page)
    where = {"x": box["x"] + 20, "y": box["y"] + 20}
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})
    tab.becomes("document.querySelector('#field-package').files.length", 1)


@pytest.mark.parametrize("how", ["changed", "removed", "folder"])
def test_package_that_cannot_be_read_is_told_at_once_and_another_one_is_taken(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, how: str
) -> None:
    host = jidoteki_host()
    good = package(host, tmp_path)
    bad = tmp_path / "bad.enc"
    if how == "folder":
        bad.mkdir()
    else:
        bad.write_bytes(good.read_bytes())
    tab = update_screen(dashboard_browser, host)
    drop(tab, bad)
    if how == "changed":
        bad.write_bytes(b"something else")
        os.utime(bad, (1, 1))
    elif how == "removed":
        bad.unlink()

    tab.page.click("text=Check the package")

    tab.wait_for(UNREADABLE, 5)
    assert NO_ANSWER not in tab.text() and "The connection was lost" not in tab.text()
    wait_until(lambda: uploads(host) == [])
    tab.page.set_input_files("#field-package", good)
    tab.page.click("text=Check the package")
    tab.page.wait_for_selector("#preview")
    tab.assert_quiet(FILE_GONE)


def sending(browser: Browser, host: Host, directory: Path, profile: Any = None) -> Tab:
    """Return a tab that sends a package, which takes longer than a service that ends waits for."""
    tab = browser.tab(host, profile).login(path="/dashboard/update", kept=True)
    tab.page.wait_for_selector("#field-package")
    slow_down(tab, 1_000_000)
    check(tab, package(host, directory, size=40_000_000))
    tab.wait_for("per second")
    return tab


@pytest.mark.parametrize("where", ["here", "in another tab"])
def test_signing_out_leaves_nothing_of_what_was_being_sent(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, where: str
) -> None:
    host = jidoteki_host()
    profile = dashboard_browser.profile()
    tab = sending(dashboard_browser, host, tmp_path, profile)
    assert uploads(host)

    (tab if where == "here" else dashboard_browser.tab(host, profile).open()).page.click("button.leave")

    tab.page.wait_for_selector("form[data-login]")
    wait_until(lambda: tab.page.wait_for_timeout(100) or uploads(host) == [], 10)
    tab.assert_quiet(AWAY)


def test_new_version_of_the_page_waits_for_what_is_being_sent(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = sending(dashboard_browser, host, tmp_path)
    asked: list[str] = []
    tab.page.on("dialog", lambda dialog: asked.append(dialog.type) or dialog.dismiss())  # type: ignore[func-returns-value]
    tab.page.route("**/dashboard/state.json", lambda route: route.fulfill(json={"build": "another", "setup": "done"}))
    port = host.url.rpartition(":")[2]
    host.stop()
    host.start("--port", port)

    tab.wait_for("This page is of a version that the appliance has no more.", 30)
    assert asked == []
    tab.wait_for("Sending package.enc")
    tab.assert_quiet(AWAY)


def test_file_of_a_form_that_was_removed_is_told_in_the_language_of_the_page(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    chosen = tmp_path / "license.asc"
    chosen.write_text("a license")
    tab = dashboard_browser.tab(host, locale="de-DE").login(path="/dashboard/license")
    tab.page.set_input_files("#field-license", chosen)
    chosen.unlink()

    tab.page.click("main form button.primary")

    tab.wait_for("Die Datei kann nicht gelesen werden.", 5)
    assert tab.page.get_attribute("main [role=alert] p", "lang") is None  # it is German, and read out as such
    assert tab.page.evaluate(BANNER) == ""
    assert len(tab.asked("POST .*/license")) == 1
    tab.assert_quiet(FILE_GONE)


def test_answer_of_the_appliance_is_marked_as_english_and_words_of_the_page_are_not(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_bytes(b"")
    tab = dashboard_browser.tab(jidoteki_host(), locale="de-DE").login(path="/dashboard/update")
    tab.page.set_input_files("#field-package", tmp_path / "empty")
    tab.page.click("main form button.primary")
    tab.wait_for("Die Datei empty ist leer.")
    assert tab.page.get_attribute("main [role=alert] p", "lang") is None

    answer = {"Error-Message": "Something that nobody translated"}
    tab.page.route("**/admin/uploads?**", lambda route: route.fulfill(status=400, json=answer))
    (tmp_path / "full").write_bytes(b"1")
    tab.page.set_input_files("#field-package", tmp_path / "full")
    tab.page.click("main form button.primary")
    tab.wait_for(answer["Error-Message"])
    expect(tab.page.locator("main [role=alert] p")).to_have_attribute("lang", "en")
    tab.assert_quiet("status of 400 ")


def test_screen_that_is_opened_while_the_appliance_is_away_comes_by_itself(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host()
    tab = dashboard_browser.tab(host).login()
    port = host.url.rpartition(":")[2]
    host.stop()
    tab.wait_for("The appliance does not answer. Trying again")

    tab.page.click("nav a[href='/dashboard/network']")
    tab.wait_for("The appliance does not answer. Please try again.")
    assert "This page failed" not in tab.text()
    host.start("--port", port)

    tab.page.wait_for_selector("#field-hostname")
    tab.assert_quiet(AWAY)


@pytest.mark.slow
def test_appliance_that_falls_silent_without_a_word_is_told_as_lost(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host()
    tab = dashboard_browser.tab(host).login()
    tab.page.wait_for_selector("header .figures dd")
    assert host.process
    os.kill(host.process.pid, signal.SIGSTOP)
    try:
        tab.wait_for("The appliance does not answer. Trying again", 90)
    finally:
        os.kill(host.process.pid, signal.SIGCONT)
    tab.becomes(BANNER, "", 30)
    tab.assert_quiet()


def test_page_of_a_plugin_is_there_though_nothing_is_at_its_first_part(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    tab = plugin_tab(dashboard_browser, jidoteki_host, tmp_path)
    tab.page.set_viewport_size({"width": 320, "height": 800})
    cells = tab.page.locator("main tbody tr")
    expect(cells).to_have_text(["first", "last"])  # what is no object is no row, and takes down none
    tab.becomes("document.documentElement.scrollWidth", 320)
    tab.assert_quiet()


def test_part_whose_answer_never_comes_is_asked_for_once_however_much_happens(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    tab = plugin_tab(dashboard_browser, jidoteki_host, tmp_path)
    tab.page.get_by_role("button", name="Start", exact=True).click()
    tab.page.locator(".job .state.good").wait_for()

    wait_until(lambda: tab.page.wait_for_timeout(100) or len(tab.asked("/probe/rows")) > 3)
    assert len(tab.asked("/probe/never")) == 1
    tab.go("home")  # which needs connections, of which browsers have six
    tab.wait_for("This appliance")
    tab.assert_quiet()


def plugin_tab(browser: Browser, make_host: MakeHost, directory: Path) -> Tab:
    plugin = directory / "probe.py"
    plugin.write_text(PLUGIN)
    host = make_host(load=[plugin], enable=("probe",), parameters=None)
    return browser.tab(host).login().go("probe")


@pytest.fixture
def with_backup(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host(enable=("backup",))
    assert host.post("/backup", "-F", "action=START").status == 202
    assert host.wait_for_job("/backup")["status"] == "success"
    return host


def middle(place: Any) -> tuple[float, float]:
    box = place.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_second_click_of_a_double_one_answers_no_question_that_came_between(
    dashboard_browser: Browser, with_backup: Host
) -> None:
    tab = dashboard_browser.tab(with_backup).login(path="/dashboard/backup")
    delete = tab.page.get_by_role("button", name="Delete")
    delete.click()
    x, y = middle(tab.page.locator("dialog .danger"))
    tab.page.click("dialog >> text=Cancel")
    rule = f"main .actions button:nth-child(3) {{ position: fixed; left: {x - 20}px; top: {y - 10}px }}"
    tab.page.evaluate(  # where it is in a window of another size
        """rule => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(rule);
            document.adoptedStyleSheets.push(sheet);
        }""",
        rule,
    )

    tab.page.mouse.dblclick(x, y, delay=30)
    tab.page.wait_for_timeout(1_000)

    assert tab.page.locator("dialog[open]").count() == 1
    assert tab.asked("POST .*/backup") == []
    tab.page.mouse.click(x, y)  # one that is meant does
    tab.wait_for("There is no backup on this appliance yet.")
    tab.assert_quiet()


def test_double_click_downloads_once(dashboard_browser: Browser, with_backup: Host) -> None:
    tab = dashboard_browser.tab(with_backup).login(path="/dashboard/backup")

    with tab.page.expect_download():
        tab.page.get_by_role("button", name="Download").dblclick(delay=80)
    tab.page.wait_for_timeout(1_000)

    assert len(tab.asked("POST .*/downloads")) == 1
    with tab.page.expect_download():
        tab.page.get_by_role("button", name="Download").click()
    tab.assert_quiet()
