"""Backups at the dashboard: made, cancelled, downloaded once, removed, and brought back after a preview."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from backupkit import keep_busy
from dashboardkit import SETTINGS, Browser, Tab, expect, needs_browser
from updatekit import REFUSED, slow_down, uploads

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

pytestmark = needs_browser

SENT = "document.querySelector('#sending-place progress')?.value ?? 0"
GONE = "status of 40[34] "


def backup_screen(browser: Browser, host: Host, **options: object) -> Tab:
    tab = browser.tab(host, **options).login(path="/dashboard/backup")
    tab.page.wait_for_selector("#backup")
    return tab


def fill(host: Host, size: int) -> None:
    """Put a file of random bytes into the data."""
    with (host.appliance.data / "app/large").open("wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - start)))


def make_backup(tab: Tab, seconds: float = 30.0) -> None:
    tab.page.click("main button:has-text('Make a')")
    tab.wait_for("The backup is complete.", seconds)
    tab.page.wait_for_selector(".facts code")


def downloaded(tab: Tab, target: Path) -> Path:
    with tab.page.expect_download(timeout=300_000) as downloading:
        tab.page.click("main button:has-text('Download')")
    downloading.value.save_as(target)
    return target


def check(tab: Tab, archive: Path) -> None:
    tab.page.set_input_files("#field-archive", archive)
    tab.page.click("text=Check the backup")


def confirm(tab: Tab, word: str = "restore") -> None:
    tab.page.click("main .danger")
    tab.page.fill("#dialog-typed", word)
    tab.page.click("dialog .danger")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_backup_is_made_shown_and_downloaded_with_the_shown_checksum(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host()
    fill(host, 3_000_000)
    tab = backup_screen(dashboard_browser, host)
    tab.wait_for("There is no backup on this appliance yet.")
    expect(tab.page.locator(".facts")).to_contain_text(re.compile(r"Free space\s*[\d.]+ [GT]B of [\d.]+ [GT]B"))

    make_backup(tab)
    expect(tab.page.locator("[aria-labelledby=backup] .facts")).to_have_count(1)  # in one column of values
    with tab.page.expect_download() as downloading:
        tab.page.click("main button:has-text('Download')")
    saved = Path(downloading.value.path())

    today = tab.page.evaluate("new Date().toLocaleDateString('sv')")
    assert downloading.value.suggested_filename == f"127.0.0.1-{today}-backup.tar"
    expect(tab.page.locator(".facts code")).to_have_text(digest(saved), use_inner_text=True)
    expect(tab.page.locator(".facts")).to_contain_text("MB", use_inner_text=True)
    assert "ticket=" in downloading.value.url and "hash=" not in downloading.value.url
    assert tab.page.request.get(downloading.value.url).status == 403  # it works once
    tab.assert_quiet()


def test_downloaded_backup_is_called_after_the_appliance(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("settings", "backup"))
    answer = host.post("/settings", "-F", f"settings={json.dumps(SETTINGS)}")
    host.wait_for_job(f"/jobs/{answer.headers['Job-Id']}")
    tab = backup_screen(dashboard_browser, host)
    make_backup(tab)

    with tab.page.expect_download() as downloading:
        tab.page.click("main button:has-text('Download')")

    assert re.fullmatch(r"shop\.example\.com-\d{4}-\d\d-\d\d-backup\.tar", downloading.value.suggested_filename)
    tab.assert_quiet()


def test_backup_that_is_cancelled_says_so_and_leaves_none(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    keep_busy(host.appliance.data / "app/busy")
    tab = backup_screen(dashboard_browser, host)

    tab.page.click("text=Make a backup")
    tab.page.click("#now >> text=Cancel")

    tab.wait_for("It was cancelled.")
    tab.page.wait_for_selector("text=Make a backup")
    assert host.get("/backup/download").status == 404
    tab.assert_quiet()


def test_backup_is_removed_after_a_question(dashboard_browser: Browser, jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    tab = backup_screen(dashboard_browser, host)
    make_backup(tab)

    tab.page.click("main button:has-text('Delete')")
    tab.page.click("dialog >> text=Cancel")
    assert host.get("/backup").status == 200
    tab.page.click("main button:has-text('Delete')")
    tab.page.click("dialog .danger")

    tab.wait_for("There is no backup on this appliance yet.")
    assert host.get("/backup").status == 404
    tab.assert_quiet()


def test_backup_that_somebody_else_makes_is_shown_and_one_that_failed_says_why(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host()
    tab = backup_screen(dashboard_browser, host)

    host.appliance.replace_file(host.appliance.etc / "backup.txt", "missing\n")
    assert host.post("/backup", "-F", "action=START").status == 202

    told = tab.page.locator("#now [role=alert]")
    expect(told).to_contain_text("Nothing that backup.txt lists", use_inner_text=True)
    tab.page.wait_for_selector("#backup")
    assert tab.page.locator("main [role=alert]").count() == 1
    tab.page.reload()
    tab.page.wait_for_selector("main [role=alert]:has-text('Nothing that backup.txt lists')")
    tab.assert_quiet()


@pytest.mark.parametrize("mode", ["merge", "exact"])
def test_restore_is_previewed_confirmed_by_a_word_and_brings_the_data_back(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, mode: str
) -> None:
    host = jidoteki_host()
    tab = backup_screen(dashboard_browser, host)
    make_backup(tab)
    saved = downloaded(tab, tmp_path / "backup.tar")
    settings, later = host.appliance.data / "app/settings.json", host.appliance.data / "app/later"
    settings.write_text("spoilt")
    later.write_text("made after the backup")

    tab.page.check(f"#{mode}")
    check(tab, saved)
    tab.page.wait_for_selector("#preview")
    told = tab.page.inner_text("section:has(#preview)")  # all of it is drawn at once
    assert ("1 file that is not in the backup will be removed:" in told) == (mode == "exact")
    assert ("app/later" in told) == (mode == "exact")
    facts = tab.page.inner_text("section:has(#preview) .facts")
    assert "1.0.0" in facts and "3" in facts and "Free space" in facts
    confirm(tab, "yes")
    expect(tab.page.locator("dialog")).to_contain_text("Please type “restore”.", use_inner_text=True)
    assert settings.read_text() == "spoilt"
    tab.page.fill("#dialog-typed", "restore")
    tab.page.keyboard.press("Enter")

    tab.wait_for("The backup is restored.")
    tab.wait_for("Last restore:")
    assert settings.read_text() == '{"theme": "dark"}\n'
    assert later.exists() == (mode == "merge")
    expect(tab.page.locator("#preview")).to_have_count(0)
    wait_until(lambda: uploads(host) == [])
    tab.assert_quiet()


def test_file_that_was_made_after_the_preview_and_removed_is_told(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = backup_screen(dashboard_browser, host)
    make_backup(tab)
    saved = downloaded(tab, tmp_path / "backup.tar")
    (host.appliance.data / "app/odd\n\u202egnp").write_text("made after the backup")
    tab.page.check("#exact")
    check(tab, saved)
    tab.page.wait_for_selector("#preview")
    shown = tab.page.inner_text("section:has(#preview) .told code")
    assert shown == r"app/odd\u{a}\u{202e}gnp"
    (host.appliance.data / "app/later").write_text("made after the preview")

    confirm(tab)

    told = tab.page.locator("#outcome .told")
    expect(told).to_contain_text("The data changed after the preview: 2 files were removed.", use_inner_text=True)
    expect(told.locator("code")).to_have_text(["app/later", shown], use_inner_text=True)
    tab.assert_quiet()


def test_backup_that_somebody_else_removed_cannot_be_downloaded_without_a_word(
    dashboard_browser: Browser, jidoteki_host: MakeHost
) -> None:
    host = jidoteki_host()
    tab = backup_screen(dashboard_browser, host)
    make_backup(tab)
    deaf = dashboard_browser.profile()
    deaf.route("**/admin/events**", lambda route: route.abort())
    deaf.route("**/admin/jobs?limit=20**", lambda route: route.fulfill(json={"jobs": [], "next": None}))
    other = backup_screen(dashboard_browser, host, profile=deaf)

    assert host.post("/backup", "-F", "action=STOP").status == 202

    tab.wait_for("There is no backup on this appliance yet.")
    other.page.click("main button:has-text('Download')")
    other.wait_for("The backup is not there any more.")
    assert not other.asked("ticket=")
    tab.assert_quiet()


def test_archive_that_is_none_is_refused_with_the_reason(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = backup_screen(dashboard_browser, host)
    (tmp_path / "no.tar").write_text("this is no archive")

    check(tab, tmp_path / "no.tar")

    tab.page.wait_for_selector("main [role=alert]:has-text('The archive is no tar archive')")
    expect(tab.page.locator("#field-archive")).to_be_visible()
    wait_until(lambda: uploads(host) == [])
    tab.assert_quiet(REFUSED)


def test_too_little_space_is_told_in_the_words_of_the_appliance(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    archive = tmp_path / "sparse.tar"
    with tarfile.open(archive, "w") as tar:
        (tmp_path / "app").mkdir()
        (tmp_path / "app/file").write_bytes(os.urandom(5_000_000))
        tar.add(tmp_path / "app", "app")
    tab = backup_screen(dashboard_browser, host)
    check(tab, archive)
    tab.page.wait_for_selector("#preview")
    host.configure(limits={"free-space": 1 << 50})
    host.reload()

    confirm(tab)

    told = tab.page.locator("main [role=alert]")
    expect(told).to_contain_text("there is room for only 0", use_inner_text=True)
    assert not (host.appliance.data / "app/file").exists()
    tab.assert_quiet(REFUSED)


def test_restore_that_loses_its_connection_is_followed_to_its_end(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    tab = backup_screen(dashboard_browser, host)
    make_backup(tab)
    saved = downloaded(tab, tmp_path / "backup.tar")
    (host.appliance.data / "app/settings.json").write_text("spoilt")
    check(tab, saved)
    tab.page.wait_for_selector("#preview")

    def lose(route: object) -> None:
        route.fetch()  # type: ignore[attr-defined]  # a Route
        route.abort()  # type: ignore[attr-defined]

    tab.page.route("**/backup/restore?hash=*", lose)
    confirm(tab)

    tab.wait_for("The backup is restored.")
    tab.wait_for("Last restore:")
    assert tab.page.locator("main [role=alert]").count() == 0
    tab.assert_quiet("ERR_FAILED")


def test_restore_is_cancelled_while_it_is_sent(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host()
    fill(host, 3_000_000)
    tab = backup_screen(dashboard_browser, host)
    make_backup(tab)
    saved = downloaded(tab, tmp_path / "backup.tar")
    slow_down(tab, 500_000)
    check(tab, saved)
    wait_until(lambda: tab.page.evaluate(SENT) > 500_000)

    tab.page.click("#sending-place >> text=Cancel")

    tab.wait_for("Sending was cancelled. The appliance keeps nothing of the file.")
    wait_until(lambda: uploads(host) == [])
    tab.assert_quiet()


def test_token_of_backups_alone_makes_and_restores_one(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True})
    fill(host, 50_000_000)
    made = host.post("/tokens", "-F", "name=backups", "-F", "scopes=/backup,/uploads,/downloads")
    tab = dashboard_browser.tab(host).login(token=str(made.json["token"]), path="/dashboard/backup")

    tab.page.click("text=Make a backup")
    tab.page.wait_for_selector(".facts code")
    saved = downloaded(tab, tmp_path / "backup.tar")
    check(tab, saved)
    tab.page.wait_for_selector("#preview")
    confirm(tab)

    tab.wait_for("The backup is restored.")
    tab.assert_quiet(GONE)


def peak_memory(browser: Browser) -> int:
    """Return the bytes that the browser's processes had at most, all of them together."""
    session = browser.started.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    status = [Path(f"/proc/{each['id']}/status").read_text() for each in processes]
    return sum(int(text.partition("VmHWM:")[2].split()[0]) * 1024 for text in status)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", [400_000_000, pytest.param(3 << 30, marks=pytest.mark.slow)])
def test_large_backup_is_downloaded_in_little_memory(
    dashboard_browser: Browser, jidoteki_host: MakeHost, tmp_path: Path, size: int
) -> None:
    host = jidoteki_host()
    fill(host, size)
    tab = backup_screen(dashboard_browser, host)
    make_backup(tab, 900)
    before = peak_memory(dashboard_browser)

    saved = downloaded(tab, tmp_path / "backup.tar")

    assert saved.stat().st_size > size
    expect(tab.page.locator(".facts code")).to_have_text(digest(saved), use_inner_text=True)
    assert peak_memory(dashboard_browser) - before < 300_000_000
    tab.assert_quiet()
