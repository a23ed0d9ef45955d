"""Machines whose clock is not set when they start, and is set later."""

from __future__ import annotations

import datetime
import shutil
import ssl
import sys
from pathlib import Path

import pytest
from cryptography import x509

from jidoteki.core.http import tls
from jidoteki.plugins.license import gpg
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeAppliance, MakeHost

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)
UNSET = datetime.datetime(1970, 1, 1, 0, 1, tzinfo=datetime.UTC)

#: Runs the service by a clock that a file names, and lets it look at its certificate often.
BY_THE_FILE = """
import datetime, sys
from pathlib import Path
from jidoteki.core.http import tls
from jidoteki.core.service import server
clock = Path(sys.argv[1])
tls._now = lambda: datetime.datetime.fromisoformat(clock.read_text())
server.RENEW_EACH = 0.1
del sys.argv[1:5]
from jidoteki.core.cli import main
main()
"""


def served(host: Host) -> x509.Certificate:
    name, _, port = host.url.removeprefix("https://").partition(":")
    return x509.load_pem_x509_certificate(ssl.get_server_certificate((name, int(port))).encode())


def start(host: Host, clock: Path, now: datetime.datetime) -> None:
    clock.write_text(now.isoformat())
    host.start(prefix=(sys.executable, "-c", BY_THE_FILE, str(clock)))


def is_good(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - 365 * DAY


MADE = {
    "in 1970": UNSET,
    "in 2000": datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC),
    "in the future": NOW + 5000 * DAY,
    "long ago": NOW - 3300 * DAY,
}


@pytest.mark.parametrize("when", MADE)
@pytest.mark.parametrize("restarted", [False, True], ids=["while it runs", "at the next start"])
def test_a_certificate_of_a_wrong_clock_is_made_anew(
    jidoteki_host: MakeHost, tmp_path: Path, when: str, restarted: bool
) -> None:
    host, clock = jidoteki_host(start=False), tmp_path / "clock"
    for each in (host.appliance.system_etc / "pki/tls").rglob("enterprise.*"):
        each.unlink()
    start(host, clock, MADE[when])
    before = served(host)

    clock.write_text(NOW.isoformat())
    if restarted:
        host.stop()
        start(host, clock, NOW)

    wait_until(lambda: served(host).serial_number != before.serial_number)
    assert is_good(served(host), NOW)
    assert host.get("/version").status == 200


def test_a_certificate_of_an_unset_clock_is_good_for_clients_that_have_the_time(
    jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    host = jidoteki_host(start=False)
    for each in (host.appliance.system_etc / "pki/tls").rglob("enterprise.*"):
        each.unlink()

    start(host, tmp_path / "clock", UNSET)

    assert is_good(served(host), datetime.datetime.now(datetime.UTC))
    assert is_good(served(host), UNSET)


def test_a_certificate_that_is_good_stays(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host(start=False)
    start(host, tmp_path / "clock", datetime.datetime.now(datetime.UTC))
    before = served(host)

    host.stop()
    start(host, tmp_path / "clock", datetime.datetime.now(datetime.UTC) + 300 * DAY)

    assert served(host).serial_number == before.serial_number


@pytest.mark.parametrize("when", MADE)
def test_a_customers_certificate_stays_whatever_its_time(
    monkeypatch: pytest.MonkeyPatch, jidoteki_appliance: MakeAppliance, when: str
) -> None:
    appliance = jidoteki_appliance()
    monkeypatch.setattr(tls, "_now", lambda: MADE[when])
    appliance.replace_file(tls.bundle(appliance), b"".join(tls._self_signed()), 0o640)
    before = tls.bundle(appliance).read_bytes()
    monkeypatch.setattr(tls, "_now", lambda: NOW)

    tls.Certificate(appliance).renew()

    assert tls.bundle(appliance).read_bytes() == before


@pytest.mark.skipif(shutil.which("gpg") is None, reason="there is no gpg")
@pytest.mark.parametrize("clock", ["19700102T000000", "20000101T000000"])
def test_a_license_that_is_read_with_a_slow_clock_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: str
) -> None:
    key, certificate = (each.encode() for each in gpg.make_keys("Appliance"))
    vendor, signers = (each.encode() for each in gpg.make_keys("Vendor"))
    message = gpg.make_license({"licensed": True}, certificate, vendor).encode()
    monkeypatch.setattr(gpg, "OPTIONS", (*gpg.OPTIONS, "--faked-system-time", clock))

    with pytest.raises(gpg.LicenseError, match="The clock of this appliance says"):
        gpg.decrypt(message, key, signers, tmp_path)
    with pytest.raises(gpg.LicenseError) as other:  # whose signature another key made
        gpg.decrypt(message, key, certificate, tmp_path)
    assert "clock" not in str(other.value)
