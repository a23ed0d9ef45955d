"""Packages for updates at the dashboard, and what is done there with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dashboardkit import Browser, Tab

from jidoteki.core.endpoints.update.build import build_package
from jidoteki.testing import Host, wait_until

#: What the browser says of requests that a service which is away did not answer.
AWAY = r"ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|CONNECTION_REFUSED|EMPTY_RESPONSE|INTERNET_DISCONNECTED)"
REFUSED = r"status of 400 "
CHANGELOG = "# 2.0.0\n\n* Faster search\n"


def package(
    host: Host,
    directory: Path,
    script: str = "echo installed",
    version: str = "2.0.0",
    size: int = 0,
    name: str = "package.enc",
) -> Path:
    """Return a package that the appliance accepts, with an `update.sh` of some lines."""
    source, vendor = directory / f"source-of-{name}", host.appliance.root / "vendor"
    source.mkdir()
    (source / "changelog.txt").write_text(CHANGELOG)
    (source / "update.sh").write_text(f"#!/bin/sh\n{script}\n")
    if size:
        (source / "ballast").write_bytes(os.urandom(size))
    built = directory / name
    build_package(source, version, vendor / "updates.key", vendor / "private.pem", built)
    return built


def update_screen(browser: Browser, host: Host, **options: Any) -> Tab:
    """Return a tab that is signed in and shows the screen for updates."""
    tab = browser.tab(host, **options).login(path="/dashboard/update", kept=True)
    tab.page.wait_for_selector("#field-package")
    return tab


def check(tab: Tab, path: Path) -> None:
    """Choose a package and let it be checked."""
    tab.page.set_input_files("#field-package", path)
    tab.page.click("text=Check the package")


def install(tab: Tab, path: Path) -> None:
    """Choose a package, let it be checked and install it."""
    check(tab, path)
    tab.page.wait_for_selector("#preview")
    tab.page.click("text=Install the update")
    tab.page.wait_for_selector("#now .job")


def slow_down(tab: Tab, bytes_per_second: int) -> None:
    """Limit how fast the browser sends; 0 for no limit."""
    limit = bytes_per_second or -1
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Network.enable")
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": limit}
    session.send("Network.emulateNetworkConditions", conditions)


def wait_for_end_of(host: Host) -> str:
    """Wait until the service ended by something else than the test; return the port to start it at again."""
    process = host.process
    assert process is not None
    wait_until(lambda: process.poll() is not None, 30)
    assert process.stdout
    process.stdout.close()
    host.process = None
    return host.url.rpartition(":")[2]


def uploads(host: Host) -> list[str]:
    """Return what uploads left on the appliance."""
    directory = host.appliance.spool / "uploads"
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
