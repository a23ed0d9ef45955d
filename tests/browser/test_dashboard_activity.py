"""The jobs and requests of an appliance, its logs, and what the support gets."""

from __future__ import annotations

import base64
import tarfile
from pathlib import Path
from typing import Any

import pytest
from dashboardkit import Browser, Tab, expect, needs_browser
from places import SAMPLES

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(load=[SAMPLES / "workshop.py"], enable=("tools", "audit", "uploads"), parameters=None)


def row(tab: Tab, number: int = 0) -> Any:
    return tab.page.locator("tr[data-job]").nth(number)


def work(host: Host, how: str) -> str:
    """Start a job of the plugin and return its id."""
    answer = host.post("/tools", "-F", f"how={how}")
    assert answer.status == 202
    return str(answer.headers["Job-Id"])


def ended(host: Host, id: str) -> None:
    wait_until(lambda: host.get(f"/jobs/{id}").json["status"] != "running")


def test_new_appliance_says_that_nothing_has_run(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("activity")

    tab.wait_for("Nothing has run here yet.")
    tab.assert_quiet()


def test_jobs_and_requests_appear_while_they_happen(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("activity")
    tab.wait_for("Nothing has run here yet.")

    work(host, "badly")
    row(tab).get_by_text("Failed").wait_for()
    for told in (f"It broke {MARKUP}", "Administrator", "from 127.0.0.1"):
        expect(row(tab)).to_contain_text(told, use_inner_text=True)
    requests = tab.page.locator(".card", has=tab.page.get_by_role("heading", name="Who did what"))
    requests.locator("tbody tr").first.get_by_text("Started").wait_for()
    expect(requests).to_contain_text("Tools", use_inner_text=True)
    expect(tab.page.locator("main img")).to_have_count(0)
    tab.assert_quiet()


def begin(host: Host, name: str, content: bytes, length: int) -> str:
    """Send the beginning of a file in pieces; return its id."""
    tus = ("-H", "Tus-Resumable: 1.0.0")
    metadata = f"Upload-Metadata: filename {base64.b64encode(name.encode()).decode()}"
    made = host.post("/uploads", *tus, "-H", f"Upload-Length: {length}", "-H", metadata)
    id = str(made.json["id"])
    part = ("-H", "Upload-Offset: 0", "-H", "Content-Type: application/offset+octet-stream")
    file = host.appliance.root / "part"
    file.write_bytes(content)
    assert host.curl("PATCH", f"/uploads/{id}", *tus, *part, "--data-binary", f"@{file}").status == 204
    return id


def test_files_that_were_sent_and_not_used_are_listed_and_can_be_removed(
    dashboard_browser: Browser, host: Host
) -> None:
    half = begin(host, f"half {MARKUP}.enc", bytes(300_000), 1_000_000)
    whole = begin(host, "Päckchen.tar", bytes(2_000), 2_000)
    tab = dashboard_browser.tab(host).login().go("activity")
    listed = tab.page.locator("[data-upload]")
    expect(listed).to_have_count(2)
    shown = {each.get_attribute("data-upload"): each.inner_text() for each in listed.all()}
    assert f"half {MARKUP}.enc" in shown[half] and "300 kB of 1" in shown[half]
    assert "Päckchen.tar" in shown[whole] and "All of it has arrived: 2 kB." in shown[whole]

    tab.page.locator(f"[data-upload='{half}'] button").click()
    tab.page.click("dialog button:has-text('Cancel')")
    assert len(host.get("/uploads").json["uploads"]) == 2
    tab.page.locator(f"[data-upload='{half}'] button").click()
    tab.page.click("dialog .danger")
    expect(listed).to_have_count(1)
    assert [each["id"] for each in host.get("/uploads").json["uploads"]] == [whole]
    expect(tab.page.locator("#uploads")).to_be_focused()

    host.curl("DELETE", f"/uploads/{whole}", "-H", "Tus-Resumable: 1.0.0")
    tab.wait_for("No file waits here for its use.")
    tab.assert_quiet()


def test_button_is_not_torn_in_a_narrow_window(dashboard_browser: Browser, host: Host) -> None:
    begin(host, "a-package-with-a-long-name-of-its-own.enc", bytes(2_000), 2_000)
    tab = dashboard_browser.tab(host, width=320).login(path="/dashboard/activity")

    button = tab.page.locator("[data-upload] button")
    button.wait_for()

    box = button.bounding_box()
    assert box and box["height"] < 50 and box["x"] + box["width"] <= 320
    tab.assert_quiet()


def test_sent_files_are_not_shown_to_whom_they_are_closed(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("tokens", "uploads"), authentication={"named-tokens": True})
    token = host.post("/tokens", "-F", "name=jobs", "-F", "scopes=/jobs").json["token"]

    tab = dashboard_browser.tab(host).login(token).go("activity")

    tab.settle().wait_for("Nothing has run here yet.")
    assert "Sent files" not in tab.text() and not tab.asked("admin/uploads")
    tab.assert_quiet()


def test_details_show_the_log_and_let_cancel_what_runs(dashboard_browser: Browser, host: Host) -> None:
    ended(host, work(host, "well"))
    tab = dashboard_browser.tab(host).login().go("activity")
    row(tab).get_by_text("Done").wait_for()
    work(host, "slowly")
    row(tab).get_by_text("Running").wait_for()
    row(tab, 1).get_by_text("Done").wait_for()

    row(tab).get_by_role("button", name="Details").click()
    tab.page.locator("td.details pre.log").get_by_text(f"Working {MARKUP}").wait_for()
    tab.page.locator("td.details").get_by_role("button", name="Cancel").click()
    row(tab).get_by_text("Cancelled").wait_for()
    tab.wait_for("It was cancelled.")
    row(tab, 1).get_by_role("button", name="Details").click()
    expect(tab.page.locator("td.details")).to_have_count(1)
    tab.page.locator("td.details pre.log").get_by_text(f"Working {MARKUP}").wait_for()
    row(tab, 1).get_by_role("button", name="Details").click()
    expect(tab.page.locator("td.details")).to_have_count(0)
    tab.assert_quiet()


def test_details_stay_when_another_job_begins(dashboard_browser: Browser, host: Host) -> None:
    ended(host, work(host, "well"))
    tab = dashboard_browser.tab(host).login().go("activity")
    row(tab).get_by_role("button", name="Details").click()
    tab.page.locator("td.details pre.log").wait_for()

    ended(host, work(host, "well"))
    tab.page.wait_for_selector("tr[data-job] >> nth=1")
    expect(row(tab, 1).get_by_role("button", name="Details")).to_have_attribute("aria-expanded", "true")
    expect(tab.page.locator("td.details pre.log")).to_contain_text("Working", use_inner_text=True)
    tab.assert_quiet()


def test_older_jobs_come_in_pages(dashboard_browser: Browser, host: Host) -> None:
    for _ in range(22):
        ended(host, work(host, "well"))
    tab = dashboard_browser.tab(host).login().go("activity")
    expect(tab.page.locator("tr[data-job]")).to_have_count(20)

    jobs = tab.page.locator(".card", has=tab.page.get_by_role("heading", name="Tasks"))
    jobs.get_by_role("button", name="Show older ones").click()
    expect(tab.page.locator("tr[data-job]")).to_have_count(22)
    expect(jobs.get_by_role("button", name="Show older ones")).to_have_count(0)
    tab.assert_quiet()


def test_requests_are_told_in_words_and_once_each(dashboard_browser: Browser, host: Host) -> None:
    host.post("/setup", "-F", "newtoken=another")
    host.curl("POST", "/reboot", auth="hash")
    host.token = "another"
    tab = dashboard_browser.tab(host).login(token="another").go("activity")
    requests = tab.page.locator(".card", has=tab.page.get_by_role("heading", name="Who did what"))
    requests.locator("tbody tr").first.wait_for()

    rows = [each.inner_text() for each in requests.locator("tbody tr").all()]
    assert len([each for each in rows if "Set the token" in each and "Done" in each]) == 1
    assert len([each for each in rows if "Restart the appliance" in each and "Refused: wrong token" in each]) == 1
    assert not any("request." in each or "api/v1" in each for each in rows)
    tab.assert_quiet()


def test_who_is_on_two_lines_and_an_address_on_one(dashboard_browser: Browser, host: Host) -> None:
    nonsense = host.appliance.root / "no-package"
    nonsense.write_text("this is no package")
    assert host.post("/update", "-F", f"update=@{nonsense}").status == 202
    host.wait_for_job("/update")  # whose long reason wants the room
    tab = dashboard_browser.tab(host).login().go("activity")

    hint = tab.page.locator("td > .hint").first
    hint.wait_for()

    box = hint.bounding_box()
    assert hint.inner_text() == "from 127.0.0.1" and box and box["height"] < 30
    tab.assert_quiet()


def test_change_that_came_back_is_told_in_words(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("audit", "settings"))
    answer = host.post("/settings", "-F", 'settings={"app":{"name":"new"}}', query="confirm=10")
    host.curl("GET", "/logs", "-o", "/dev/null")
    wait_until(lambda: host.get(f"/jobs/{answer.headers['Job-Id']}").json["status"] == "failed", 30)
    tab = dashboard_browser.tab(host).login().go("activity")

    requests = tab.page.locator(".card", has=tab.page.get_by_role("heading", name="Who did what"))
    requests.locator("tbody tr").first.wait_for()

    rows = [" ".join(each.inner_text().split()) for each in requests.locator("tbody tr").all()]
    assert any("Change of the settings Taken back" in each for each in rows), rows
    assert not any("change." in each or "E2001" in each or "download" in each for each in rows), rows
    tab.assert_quiet()


def test_reader_may_not_cancel(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(
        load=[SAMPLES / "workshop.py"],
        enable=("tools", "tokens"),
        parameters=None,
        authentication={"named-tokens": True},
    )
    made = host.post("/tokens", "-F", "name=reader", "-F", "scopes=read")
    work(host, "slowly")
    tab = dashboard_browser.tab(host).login(token=str(made.json["token"])).go("activity")
    row(tab).get_by_role("button", name="Details").click()
    tab.page.locator("td.details pre.log").wait_for()

    expect(tab.page.get_by_role("button", name="Cancel")).to_have_count(0)
    tab.assert_quiet()


def test_support_gets_logs_and_report_by_one_click_each(dashboard_browser: Browser, host: Host, tmp_path: Path) -> None:
    tab = dashboard_browser.tab(host).login().go("support")
    for action, name in (("Download the logs", "logs.tar.gz"), ("Download the report", "debug-bundle.tar")):
        with tab.page.expect_download(timeout=60_000) as begun:
            tab.page.get_by_role("button", name=action).click()
        assert begun.value.suggested_filename == name
        begun.value.save_as(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0
        assert "hash=" not in begun.value.url

    with tarfile.open(tmp_path / "logs.tar.gz") as archive:
        assert archive.getnames()
    tab.assert_quiet()


def test_logs_are_read_and_searched(dashboard_browser: Browser, host: Host) -> None:
    ended(host, work(host, "badly"))
    tab = dashboard_browser.tab(host).login().go("support")
    tab.page.get_by_label("Log", exact=True).select_option(index=1)
    log = tab.page.locator(".viewer pre.log")
    log.get_by_text(f"Working {MARKUP}").wait_for()

    tab.page.get_by_label("Search in this log").fill("IT BROKE <")
    tab.wait_for("1 line found")
    expect(tab.page.locator(".viewer mark")).to_have_text("It broke <", use_inner_text=True)
    expect(log).not_to_contain_text("Working", use_inner_text=True)
    tab.page.get_by_label("Search in this log").fill("[")
    tab.wait_for("0 lines found")
    tab.page.get_by_label("Search in this log").fill(":")
    tab.wait_for("2 lines found")
    tab.page.get_by_label("Search in this log").fill("nowhere")
    tab.wait_for("0 lines found")
    expect(tab.page.locator("main img")).to_have_count(0)
    tab.assert_quiet()


def test_log_of_a_running_job_goes_on(dashboard_browser: Browser, host: Host, tmp_path: Path) -> None:
    tab = dashboard_browser.tab(host).login()
    work(host, "slowly")
    tab.go("support")
    tab.page.get_by_label("Log", exact=True).select_option(index=1)
    tab.wait_for("It is running: new lines appear by themselves.")
    tab.page.locator(".viewer pre.log").get_by_text("Working").wait_for()
    tab.wait_for("These are the last lines of the log.", 30)
    tab.assert_quiet()


def test_log_to_which_nothing_was_written_is_empty(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login().go("support")
    tab.page.get_by_label("Log", exact=True).select_option(label="All updates")

    tab.wait_for("This log is empty.")
    tab.assert_quiet("status of 404")
