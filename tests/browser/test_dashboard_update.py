"""An update at the dashboard: sent, previewed, installed, followed over restarts, and told only as it is."""

from __future__ import annotations

import itertools
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from cutting_proxy import CuttingProxy
from dashboardkit import Browser, expect, needs_browser
from updatekit import AWAY, REFUSED, check, install, package, slow_down, update_screen, uploads, wait_for_end_of

from jidoteki.testing import wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

NO_STREAM = "status of 503"
LOGO = '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="30"><rect width="80" height="30"/></svg>'
SENT = "document.querySelector('#sending-place progress')?.value ?? 0"
GOOD = "document.querySelectorAll('main .message.good').length"
LINES = "echo one; sleep 1; echo two; sleep 1; echo three; sleep 1"


def refuse(route: Any) -> None:
    route.fulfill(status=503, headers={"Retry-After": "60"}, content_type="application/json", body='{"Status":"503"}')


@pytest.mark.parametrize("stream", [True, False])
def test_update_that_restarts_the_service_is_followed_to_the_new_version(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, stream: bool
) -> None:
    host = jidoteki_host(start=False, plugins={"dashboard": {"logo": "usr/local/etc/logo.svg"}})
    logo = host.appliance.system_etc / "logo.svg"
    host.appliance.replace_file(logo, LOGO.format(80))
    host.start()
    assert host.process
    script = f"echo before; sleep 2; echo '{LOGO.format(90)}' > {logo}; kill {host.process.pid}; sleep 4; echo after"
    sent = package(host, tmp_path, script, size=3_000_000)
    profile = dashboard_browser.profile()
    if not stream:
        profile.route("**/admin/events**", refuse)
    tab = update_screen(dashboard_browser, host, profile=profile)
    build = tab.page.evaluate("JSON.parse(document.querySelector('#state').textContent).build")
    slow_down(tab, 1_000_000)

    check(tab, sent)
    seen = [wait_until(lambda: tab.page.evaluate(SENT)) for _ in range(3) if not tab.page.wait_for_timeout(500)]
    tab.page.wait_for_selector("#preview")
    assert seen == sorted(seen) and seen[0] < seen[-1]
    expect(tab.page.locator(".versions")).to_contain_text("From version 1.0.0 to version 2.0.0")
    tab.wait_for("Faster search")
    slow_down(tab, 0)
    tab.page.click("text=Install the update")
    tab.wait_for("before")
    expect(tab.page.locator("#now progress")).to_be_visible()
    port = wait_for_end_of(host)
    tab.wait_for("The appliance does not answer")
    assert tab.page.evaluate(GOOD) == 0
    host.start("--port", port)

    expect(tab.page.locator("#state")).not_to_contain_text(build, timeout=30_000)  # the page is loaded again
    tab.wait_for("The update is installed. The appliance now has version 2.0.0.", 30)
    assert host.get("/version").json["version"] == "2.0.0"
    log = tab.page.inner_text("#now pre.log").splitlines()
    assert (log.count("before"), log.count("after")) == (1, 1)
    expect(tab.page.locator("#now .state")).to_have_text("Done")
    tab.assert_quiet(AWAY, NO_STREAM)


def test_package_that_is_refused_is_told_before_anything_is_installed(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    (tmp_path / "nonsense.enc").write_text("this is no package")
    old = package(host, tmp_path, version="1.0.0", name="old.enc")
    tab = update_screen(dashboard_browser, host)

    for path, code in ((old, "E1001"), (tmp_path / "nonsense.enc", "E1005")):
        check(tab, path)
        told = tab.page.locator(f"main [role=alert]:has-text('{code}')")
        told.wait_for()
        assert len(told.inner_text()) > 60  # the appliance's sentence beside the code
        assert tab.page.evaluate(GOOD) == 0
    wait_until(lambda: uploads(host) == [])
    assert host.get("/update").json["status"] is None
    tab.assert_quiet(REFUSED)


def test_script_that_fails_is_told_with_its_code_and_the_next_package_can_be_chosen(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = update_screen(dashboard_browser, host)

    install(tab, package(host, tmp_path, "echo trying; exit 3"))

    told = tab.page.locator("main [role=alert]:has-text('E1002')")
    expect(told).to_contain_text("update.sh")
    assert tab.page.evaluate(GOOD) == 0
    tab.page.locator("#field-package").wait_for()
    tab.wait_for("This appliance has version 1.0.0.")
    tab.assert_quiet()


def test_success_that_left_the_version_as_it_was_is_no_success(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = update_screen(dashboard_browser, host)
    version = host.appliance.etc / "version.txt"

    install(tab, package(host, tmp_path, "sleep 1"))
    tab.page.route("**/admin/version**", lambda route: route.fulfill(json={"version": "1.0.0"}))

    tab.wait_for("The update ended without an error, but the appliance still has version 1.0.0, not 2.0.0.")
    assert tab.page.evaluate(GOOD) == 0
    assert version.read_text().strip() == "2.0.0"


def test_appliance_that_never_comes_back_is_never_called_updated(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    assert host.process
    tab = update_screen(dashboard_browser, host)

    install(tab, package(host, tmp_path, f"sleep 1; kill {host.process.pid}; echo done"))
    wait_for_end_of(host)
    tab.wait_for("The appliance does not answer")
    tab.page.wait_for_timeout(8_000)

    assert tab.page.evaluate(GOOD) == 0
    assert "which is normal during an update" in tab.text()
    assert tab.page.inner_text("#now .state") == "Running"
    tab.assert_quiet(AWAY)


def test_reload_second_browser_and_sleep_show_the_same_job_with_each_line_once(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = update_screen(dashboard_browser, host)
    awake = host.appliance.root / "awake"
    lines = [f"echo line-{number}; sleep 0.5" for number in range(24)]
    lines.insert(12, f"while [ ! -e {awake} ]; do sleep 0.1; done")
    install(tab, package(host, tmp_path, "; ".join(lines)))
    other = dashboard_browser.tab(host).login(path="/dashboard/update")
    tab.wait_for("line-3")
    asleep = dashboard_browser.tab(host).login(path="/dashboard/update")
    asleep.wait_for("line-3")
    asleep.page.context.set_offline(True)

    tab.page.reload()
    tab.wait_for("line-8")
    for each in (tab, other):
        each.becomes("document.querySelector('#now progress')?.value", 70)
    awake.touch()
    asleep.page.wait_for_timeout(3_000)
    asleep.page.context.set_offline(False)

    for each in (tab, other, asleep):
        each.wait_for("The appliance now has version 2.0.0.", 30)
        shown = each.page.inner_text("#now pre.log").splitlines()
        assert [line for line in shown if line.startswith("line-")] == [f"line-{number}" for number in range(24)]
        each.assert_quiet(AWAY)


def test_second_update_is_refused_before_a_byte_is_sent_and_the_running_one_is_shown(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    first, second = (package(host, tmp_path, LINES, name=f"{name}.enc") for name in ("first", "second"))
    profile = dashboard_browser.profile()
    profile.route("**/admin/events**", refuse)
    profile.route("**/admin/jobs?limit=20**", lambda route: route.fulfill(json={"jobs": [], "next": None}))
    tab = update_screen(dashboard_browser, host, profile=profile)  # which does not hear of what others do

    assert host.post("/update", "-F", f"update=@{first}").status == 202
    check(tab, second)

    tab.wait_for("An update is running already. Nothing was sent.")
    tab.wait_for("three")
    assert tab.asked("POST .*/(uploads|update)") == []
    tab.wait_for("The appliance now has version 2.0.0.")
    tab.assert_quiet(NO_STREAM)


def test_update_that_somebody_else_starts_is_shown_in_place_of_the_own_preview(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    mine, theirs = (package(host, tmp_path, LINES, name=f"{name}.enc") for name in ("mine", "theirs"))
    tab = update_screen(dashboard_browser, host)
    check(tab, mine)
    tab.page.wait_for_selector("#preview")

    assert host.post("/update", "-F", f"update=@{theirs}").status == 202

    tab.wait_for("Somebody else has just started an update. Your package was not installed.")
    tab.wait_for("two")
    expect(tab.page.locator("#preview")).to_have_count(0)
    wait_until(lambda: uploads(host) == [])
    tab.assert_quiet()


def test_upload_that_is_cut_says_so_and_goes_on_where_it_broke(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    # More cuts than the browser sends again by itself, and too close for the file to get through in one piece.
    proxy = CuttingProxy(host.url, each=1_000_000, cuts=40)
    host.url = proxy.url
    tab = update_screen(dashboard_browser, host)

    check(tab, package(host, tmp_path, size=3_000_000))

    tab.wait_for("The connection was lost. Sending goes on as soon as the appliance answers.")
    tab.page.wait_for_selector("#preview", timeout=60_000)
    pattern = re.compile("'upload-offset': '([0-9]+)'")
    starts = [int(found[1]) for sent in tab.bodies if (found := pattern.search(sent))]
    assert starts[0] == 0 < starts[-1]
    assert all(0 <= later - earlier < 2_000_000 for earlier, later in itertools.pairwise([*starts, 3_000_000]))
    tab.page.click("text=Do not install")
    wait_until(lambda: uploads(host) == [])
    tab.assert_quiet(AWAY, "status of 409 ")
    proxy.close()


def test_upload_that_is_cancelled_leaves_nothing_and_can_be_tried_again(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = update_screen(dashboard_browser, host)
    slow_down(tab, 1_000_000)
    sent = package(host, tmp_path, size=4_000_000)
    check(tab, sent)
    wait_until(lambda: tab.page.evaluate(SENT) > 1_600_000)

    tab.page.click("#sending-place >> text=Cancel")

    tab.wait_for("Sending was cancelled. The appliance keeps nothing of the file.")
    wait_until(lambda: uploads(host) == [])
    slow_down(tab, 0)
    check(tab, sent)
    tab.page.wait_for_selector("#preview")
    tab.assert_quiet()


@pytest.mark.parametrize("how", ["menu", "closed"])
def test_package_that_was_sent_and_not_installed_is_removed_when_the_screen_is_left(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, how: str
) -> None:
    host = jidoteki_host()
    tab = update_screen(dashboard_browser, host)
    check(tab, package(host, tmp_path))
    tab.page.wait_for_selector("#preview")
    assert uploads(host) != []

    if how == "menu":
        tab.go("home")
    else:
        tab.page.close(run_before_unload=True)

    wait_until(lambda: uploads(host) == [])


def test_uploads_of_others_stay_and_one_that_nobody_goes_on_with_gives_way(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    made = [host.post("/uploads", "-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Length: 10") for _ in range(4)]
    assert [each.status for each in made] == [201] * 4
    tab = update_screen(dashboard_browser, host)

    check(tab, package(host, tmp_path))
    tab.page.wait_for_selector("main [role=alert]:has-text('use or delete one')")
    assert len(host.get("/uploads").json["uploads"]) == 4

    left = host.appliance.spool / "uploads" / made[2].headers["Location"].rpartition("/")[2]
    long_ago = time.time() - 4000
    os.utime(left, (long_ago, long_ago))
    tab.page.click("form button.primary")
    tab.page.wait_for_selector("#preview")
    assert not left.exists()
    tab.assert_quiet("status of 429 ")


def test_package_is_sent_with_the_update_where_uploads_are_not_served(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(plugins={"uploads": {"enabled": False}})
    tab = update_screen(dashboard_browser, host)

    check(tab, package(host, tmp_path, LINES, size=2_000_000))
    tab.wait_for("What is new in it cannot be shown beforehand.")
    slow_down(tab, 1_000_000)
    tab.page.click("text=Install the update")
    wait_until(lambda: tab.page.evaluate(SENT) > 500_000)
    slow_down(tab, 0)

    tab.wait_for("three", 30)
    tab.wait_for("The update is installed. The appliance now has version 2.0.0.")
    assert len(tab.asked("POST .*/update")) == 1
    tab.assert_quiet()


def test_token_that_may_only_update_sees_how_it_goes(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True})
    made = host.post("/tokens", "-F", "name=updater", "-F", "scopes=/update")
    tab = dashboard_browser.tab(host).login(token=str(made.json["token"]), path="/dashboard/update")

    check(tab, package(host, tmp_path, LINES))
    tab.page.click("text=Install the update")

    tab.wait_for("two")
    tab.wait_for("The update is installed.")
    tab.assert_quiet("status of 403 ")


def test_package_can_be_dropped_and_the_keyboard_does_all_else(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = update_screen(dashboard_browser, host)
    content = package(host, tmp_path).read_bytes()
    drop = """bytes => {
      const carried = new DataTransfer();
      carried.items.add(new File([new Uint8Array(bytes)], "package.enc"));
      for (const type of ["dragenter", "dragover", "drop"]) {
        const options = { dataTransfer: carried, bubbles: true, cancelable: true };
        document.querySelector(".drop").dispatchEvent(new DragEvent(type, options));
      }
    }"""

    tab.page.evaluate(drop, list(content))
    expect(tab.page.locator("#field-package")).to_be_focused()
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("#preview")
    expect(tab.page.locator("#preview")).to_be_focused()
    for _ in range(8):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.textContent") == "Install the update":
            break
    tab.page.keyboard.press("Enter")
    tab.wait_for("The update is installed. The appliance now has version 2.0.0.")
    tab.until("['H2', 'PRE'].includes(document.activeElement.tagName)")
    tab.assert_quiet()


def test_full_log_has_earlier_updates_too(dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host()
    for number in (2, 3):
        sent = package(host, tmp_path, f"echo to-{number}", version=f"{number}.0.0", name=f"{number}.enc")
        assert host.post("/update", "-F", f"update=@{sent}").status == 202
        assert host.wait_for_job("/update")["status"] == "success"
    tab = update_screen(dashboard_browser, host)
    tab.wait_for("to-3")
    assert "to-2" not in tab.text()

    tab.page.click("text=Show full log")

    tab.wait_for("to-2")
    with tab.page.expect_download() as downloading:
        tab.page.click("details >> text=Download")
    assert b"to-2" in Path(downloading.value.path()).read_bytes()
    tab.assert_quiet()
