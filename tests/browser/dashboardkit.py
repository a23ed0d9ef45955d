"""A person at the dashboard: a real Chromium, whose complaints are collected.

Needs the program `chromium` and the package `playwright`; tests are skipped where one is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import TOKEN

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
expect.set_options(timeout=15_000)  # a busy machine is no failure
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

#: Whether the service is late on purpose, and how soon something comes says nothing.
LATE = "JIDOTEKI_BROWSER_LATE" in os.environ

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: The names of the screens, in the order of the menu.
SCREENS = (
    "home",
    "update",
    "network",
    "certificates",
    "storage",
    "license",
    "backup",
    "access",
    "monitor",
    "activity",
    "support",
)
#: Settings of an appliance in use.
SETTINGS = {
    "network": {
        "mode": "static",
        "hostname": "shop.example.com",
        "interface": "eth0",
        "ip_address": "192.168.1.5",
        "netmask": "255.255.255.0",
        "gateway": "192.168.1.1",
        "dns1": "192.168.1.1",
        "ntpserver": "pool.example.org",
    },
    "app": {"name": "Shop"},
}
#: Tells of violations of the content security policy, which a page's own handlers would not hear before it is loaded.
_WATCH = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`POLICY ${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Tab:
    """A page of a browser, what it asked for, and what it complained about.

    :param requests: `METHOD URL` of each request.
    :param bodies: header and body of each request, as text.
    :param loading: what a screen says in the language of the browser until it is there.
    """

    page: Any
    host: Host
    requests: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    statuses: list[tuple[int, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    unanswered: set[Any] = field(default_factory=set)
    loading: str = "Loading …"

    def open(self, path: str = "/") -> Tab:
        """Load a page of the appliance."""
        self.page.goto(f"{self.host.url}{path}")
        return self

    def login(self, token: str = TOKEN, path: str = "/", kept: bool = False) -> Tab:
        """Load a page and sign in."""
        self.open(path)
        self.page.fill("#token", token)
        if kept:
            self.page.check("#kept")
        self.page.click("form[data-login] button.primary")
        self.page.wait_for_selector("nav")
        return self

    def go(self, screen: str) -> Tab:
        """Go to a screen by its link in the menu; what was entered and not saved is left."""
        toggle = self.page.locator("nav .toggle")
        if toggle.is_visible():
            toggle.click()
        self.page.click(f"nav a[href='/dashboard/{screen}']")
        leave = self.page.locator("dialog[open] button.primary")
        if leave.count():
            leave.click()
        expect(self.page.locator(f"nav a[href='/dashboard/{screen}']")).to_have_attribute("aria-current", "page")
        self.page.wait_for_selector(f".screen:not(:has-text('{self.loading}'))")
        return self

    def text(self) -> str:
        """Return what is to be seen of the page."""
        return str(self.page.inner_text("body"))

    def wait_for(self, text: str, seconds: float = 15.0) -> None:
        """Wait until a text is to be seen."""
        self.page.get_by_text(text).first.wait_for(timeout=seconds * 1000)

    def until(self, expression: str, seconds: float = 15.0) -> None:
        """Wait until an expression is true; the page's policy keeps playwright's own way from evaluating it."""
        wait_until(lambda: self.page.evaluate(expression), seconds, 0.1)

    def becomes(self, expression: str, value: object, seconds: float = 15.0) -> None:
        """Wait until an expression has a value; where it has not, show the one that it had last."""
        deadline = time.monotonic() + seconds
        while (last := self.page.evaluate(expression)) != value and time.monotonic() < deadline:
            self.page.wait_for_timeout(100)
        assert last == value, expression

    def settle(self) -> Tab:
        """Wait until all that the page asked for has been there for a moment, but for streams of events."""
        quiet, deadline = 0, time.monotonic() + 30
        while quiet < 3 and time.monotonic() < deadline:
            self.page.wait_for_timeout(100)
            quiet = 0 if self.unanswered else quiet + 1
        assert quiet == 3, self.unanswered
        return self

    def asked(self, pattern: str) -> list[str]:
        """Return the requests that match a pattern."""
        return [each for each in self.requests if re.search(pattern, each)]

    def assert_quiet(self, *expected: str) -> None:
        """Fail if the page complained of anything, asked for anything elsewhere, or called anything unsafe.

        :param expected: patterns of complaints that the test provokes, such as of a status that it asks for.
        """
        left = [each for each in self.complaints if not any(re.search(pattern, each) for pattern in expected)]
        assert left == [], left
        origin = urlsplit(self.host.url).netloc
        elsewhere = [url for each in self.requests if urlsplit(url := each.split(" ", 1)[1]).netloc not in ("", origin)]
        assert [url for url in elsewhere if not url.startswith("blob:")] == []


@dataclass
class Browser:
    """A browser with nothing in its profile."""

    started: Any
    contexts: list[Any] = field(default_factory=list)

    def profile(self, width: int = 1280, height: int = 900, **options: Any) -> Any:
        """Return a fresh profile, as a person on another machine has."""
        options = {"ignore_https_errors": True, **options}
        context = self.started.new_context(viewport={"width": width, "height": height}, **options)
        context.add_init_script(_WATCH)
        self.contexts.append(context)
        return context

    def tab(self, host: Host, profile: Any = None, **options: Any) -> Tab:
        """Return a new tab, of a fresh profile unless one is given."""
        page = (profile or self.profile(**options)).new_page()
        tab = Tab(page, host)
        page.on("request", lambda sent: _note(tab, sent))
        page.on("requestfailed", lambda sent: tab.unanswered.discard(sent))
        page.on("response", lambda got: _note_answer(tab, got))
        page.on("console", lambda said: _complain(tab, said))
        page.on("pageerror", lambda error: tab.complaints.append(f"PAGE {error}"))
        return tab

    def close(self) -> None:
        """Close all profiles."""
        while self.contexts:
            self.contexts.pop().close()


def _note(tab: Tab, sent: Any) -> None:
    tab.requests.append(f"{sent.method} {sent.url}")
    tab.bodies.append(f"{sent.headers} {sent.post_data_buffer!r}")
    if "/admin/events" not in sent.url:
        tab.unanswered.add(sent)


def _note_answer(tab: Tab, got: Any) -> None:
    tab.statuses.append((got.status, got.url))
    tab.unanswered.discard(got.request)


def _complain(tab: Tab, said: Any) -> None:
    if said.type in ("error", "warning"):
        tab.complaints.append(f"{said.text} {said.location.get('url', '')}")


@contextmanager
def chromium(**options: Any) -> Iterator[Browser]:
    """Start a browser."""
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, **options)
        browser = Browser(started)
        yield browser
        browser.close()
        started.close()
