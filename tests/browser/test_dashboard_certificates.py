"""The certificate at the dashboard: what it says, a preview, a change, and the way through the browser's warning."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import certificate, choose, fingerprint, pass_warning, strict, type_past
from dashboardkit import Browser, Tab, expect, needs_browser

from jidoteki.testing import Host, MakeHost
from jidoteki.testing.fixtures import TOKEN

pytestmark = needs_browser

REFUSED = r"status of 4\d\d "
#: What a browser says of requests that it makes behind a certificate it does not know yet.
UNKNOWN = r"ERR_(CERT_|SSL_|CONNECTION_|INCOMPLETE_|FAILED|EMPTY_|NETWORK_)"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=("certs",))


def question(tab: Tab) -> str:
    tab.page.wait_for_selector("dialog")
    return str(tab.page.inner_text("dialog"))


def test_certificate_in_use_is_described(dashboard_browser: Browser, host: Host) -> None:
    tab = dashboard_browser.tab(host).login(path="/dashboard/certificates")

    facts = tab.page.locator(".card", has_text="Certificate in use").locator(".facts")
    for told in (fingerprint(host.certificate), "localhost", "days left", "itself"):
        expect(facts).to_contain_text(told, use_inner_text=True)
    tab.assert_quiet()


def test_preview_tells_names_end_fingerprint_and_nothing_is_changed_yet(
    dashboard_browser: Browser, host: Host, tmp_path: Path
) -> None:
    made, key = certificate(tmp_path, "new.example")
    before = fingerprint(host.certificate)
    tab = dashboard_browser.tab(host).login(path="/dashboard/certificates")

    choose(tab, made, key)
    text = question(tab)

    assert "127.0.0.1, new.example" in text
    assert "19 days left" in text
    assert fingerprint(made) in text
    assert "Use this certificate?" in text and "in spite of" not in text
    assert tab.page.locator("dialog .warn:not(.state)").count() == 0
    tab.page.click("dialog button:has-text('Cancel')")
    assert fingerprint(host.certificate) == before
    tab.assert_quiet()


@pytest.mark.parametrize(
    ("names", "warning"),
    [("", "without which browsers refuse it"), ("DNS:elsewhere.example", "It is not for 127.0.0.1")],
)
def test_certificate_that_browsers_refuse_is_never_called_ready(
    dashboard_browser: Browser, host: Host, tmp_path: Path, names: str, warning: str
) -> None:
    made, key = certificate(tmp_path, "bare.example", names)
    tab = dashboard_browser.tab(host).login(path="/dashboard/certificates")

    choose(tab, made, key)
    text = question(tab)

    assert warning in text
    assert "Use this certificate in spite of the warnings?" in text
    expect(tab.page.locator("dialog button.danger")).to_have_count(1)
    tab.assert_quiet()


def test_key_that_does_not_match_is_refused_and_the_old_certificate_stays(
    dashboard_browser: Browser, host: Host, tmp_path: Path
) -> None:
    made, _ = certificate(tmp_path, "new.example")
    _, other = certificate(tmp_path, "other.example")
    before = fingerprint(host.certificate)
    tab = dashboard_browser.tab(host).login(path="/dashboard/certificates")

    choose(tab, made, other)

    told = tab.page.locator("form [role=alert], form .problem:not(:empty)").first
    expect(told).to_contain_text("The private key does not belong to the certificate in “Certificate”")
    assert tab.page.locator("dialog").count() == 0
    assert fingerprint(host.certificate) == before
    tab.assert_quiet(REFUSED)


def test_pasted_text_is_as_good_as_a_file_and_the_key_does_not_stay_in_the_page(
    dashboard_browser: Browser, host: Host, tmp_path: Path
) -> None:
    made, key = certificate(tmp_path, "pasted.example")
    tab = dashboard_browser.tab(host).login(path="/dashboard/certificates")

    tab.page.click("form button.primary")
    expect(tab.page.locator("#field-public")).to_be_focused()
    expect(tab.page.locator("#field-public-problem")).to_have_text("Choose a file, or paste its text.")
    for name, path in (("public", made), ("private", key)):
        tab.page.click(f"details:has(> p > #field-{name}-text) > summary")
        tab.page.fill(f"#field-{name}-text", path.read_text())
    tab.page.set_input_files("#field-public", made)
    tab.page.click("form button.primary")
    expect(tab.page.locator("#field-public-text-problem")).to_contain_text("not both")
    tab.page.fill("#field-public-text", "")
    tab.page.click("form button.primary")
    tab.page.click("dialog button:has-text('Use it')")
    tab.page.wait_for_selector("[data-guide]")

    expect(tab.page.locator("#field-private-text")).to_have_value("")
    assert fingerprint(host.certificate) == fingerprint(made)
    tab.assert_quiet(UNKNOWN)


def test_new_certificate_leads_through_the_warning_of_the_browser_and_back_in(
    dashboard_browser: Browser, host: Host, tmp_path: Path
) -> None:
    made, key = certificate(tmp_path, "new.example")
    tab = strict(dashboard_browser, host)
    pass_warning(tab, f"{host.url}/dashboard/certificates")
    tab.page.fill("#token", TOKEN)
    tab.page.click("form[data-login] button.primary")
    tab.wait_for("Certificate in use")

    choose(tab, made, key)
    tab.page.click("dialog button:has-text('Use it')")
    expect(tab.page.locator("[data-guide] .fingerprint")).to_have_text(fingerprint(made))
    with pytest.raises(Exception, match="ERR_CERT"), tab.page.expect_navigation():
        tab.page.click("button:has-text('Load the page again')")
    type_past(tab)

    tab.wait_for("Certificate in use")
    assert tab.page.locator("#token").count() == 0
    expect(tab.page.locator("#content")).to_contain_text(fingerprint(made))
    tab.go("home")
    tab.wait_for("This appliance")
    tab.assert_quiet(UNKNOWN)
