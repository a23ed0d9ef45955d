"""Certificates for tests with a browser, and the way through its warnings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from dashboardkit import Browser, Tab

from jidoteki.testing import Host


def certificate(directory: Path, name: str, names: str = "IP:127.0.0.1,DNS:new.example") -> tuple[Path, Path]:
    """Return a self-signed certificate, made by openssl, and its key."""
    made, key = directory / f"{name}.crt", directory / f"{name}.key"
    more = ("-addext", f"subjectAltName={names}") if names else ()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "20",
         "-subj", f"/CN={name}", *more, "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


def fingerprint(path: Path) -> str:
    shown = subprocess.run(
        ["openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256"],
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout.strip().partition("=")[2]


def choose(tab: Tab, made: Path, key: Path) -> None:
    tab.page.set_input_files("#field-public", made)
    tab.page.set_input_files("#field-private", key)
    tab.page.click("form button.primary")


def strict(browser: Browser, host: Host) -> Tab:
    """Return a tab of a browser that warns of certificates that it does not know, as people's browsers do."""
    return browser.tab(host, browser.profile(ignore_https_errors=False))


def pass_warning(tab: Tab, url: str) -> None:
    with pytest.raises(Exception, match="ERR_CERT"):
        tab.page.goto(url)
    type_past(tab)


def type_past(tab: Tab) -> None:
    """Do what "Advanced" and "Proceed" do on the browser's warning."""
    tab.page.wait_for_timeout(500)
    tab.page.keyboard.type("thisisunsafe")
    tab.page.wait_for_url(f"{tab.host.url}/**", timeout=20_000)
    tab.page.wait_for_load_state()
