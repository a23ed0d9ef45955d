"""TLS settings, asked for with `openssl s_client`: 1.2 and 1.3, forward secrecy, no renegotiation, no compression."""

from __future__ import annotations

import subprocess

import pytest
from faultkit import Tally

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN


@pytest.fixture(scope="module")
def host(jidoteki_module_host: Host) -> Host:
    return jidoteki_module_host


def s_client(host: Host, *options: str, given: str = "") -> str:
    """What `openssl s_client` says; with `given` it goes on until the host ends the connection."""
    address = host.url.removeprefix("https://")
    done = subprocess.run(
        ["openssl", "s_client", "-connect", address, "-CAfile",
         str(host.appliance.system_etc / "pki/tls/certs/enterprise.crt"), *options],
        input=given, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return done.stdout + done.stderr


def is_established(output: str) -> bool:
    return "Cipher is (NONE)" not in output and "New, TLSv1." in output


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_new_versions_are_spoken(host: Host, tally: Tally, version: str) -> None:
    output = s_client(host, version)

    tally.case(is_established(output), output)
    tally.case("Verify return code: 0 (ok)" in output, output)
    tally.case("Compression: NONE" in output or version == "-tls1_3", output)
    assert tally.failed == []


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(host: Host, tally: Tally, version: str) -> None:
    output = s_client(host, version, "-cipher", "ALL:@SECLEVEL=0")

    tally.case(not is_established(output), output)
    tally.case("alert protocol version" in output or "unexpected eof" in output, output)
    assert tally.failed == []


WEAK = ["AES128-SHA", "AES256-GCM-SHA384", "AES128-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384",
        "DHE-RSA-AES256-GCM-SHA384", "NULL", "eNULL", "aNULL", "PSK", "CAMELLIA", "ARIA", "AESCCM", "kRSA"]  # fmt: skip


@pytest.mark.parametrize("cipher", WEAK)
def test_ciphers_without_forward_secrecy_or_authenticated_encryption_are_refused(
    host: Host, tally: Tally, cipher: str
) -> None:
    output = s_client(host, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")

    tally.case(not is_established(output), output)
    assert tally.failed == []


@pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                                    "ECDHE-ECDSA-CHACHA20-POLY1305"])  # fmt: skip
def test_modern_ciphers_of_tls_1_2_are_spoken(host: Host, tally: Tally, cipher: str) -> None:
    output = s_client(host, "-tls1_2", "-cipher", cipher)

    tally.case(f"Cipher is {cipher}" in output, output)
    assert tally.failed == []


def test_the_key_exchange_is_ephemeral(host: Host, tally: Tally) -> None:
    for version in ("-tls1_2", "-tls1_3"):
        output = s_client(host, version)
        tally.case("Server Temp Key: " in output or "Peer Temp Key: " in output or "Negotiated TLS1.3 group" in output,
                   output)  # fmt: skip
    assert tally.failed == []


def test_a_renegotiation_that_the_client_asks_for_is_refused(host: Host, tally: Tally) -> None:
    output = s_client(host, "-tls1_2", given="R\n")

    tally.case("RENEGOTIATING" in output, output)
    tally.case("no renegotiation" in output.lower(), output)
    assert tally.failed == []


def test_compression_is_not_used_even_where_the_client_offers_it(host: Host, tally: Tally) -> None:
    output = s_client(host, "-tls1_2", "-comp")

    tally.case("Compression: NONE" in output, output)
    assert tally.failed == []


def test_early_data_is_not_accepted(host: Host, tally: Tally) -> None:
    output = s_client(host, "-tls1_3")

    tally.case("Max Early Data: 0" in output or "Early data was not sent" in output, output)
    assert tally.failed == []


def test_http_without_tls_is_only_told_to_use_it(host: Host, tally: Tally) -> None:
    done = subprocess.run(
        ["curl", "-s", "-w", "%{http_code}", f"{host.url.replace('https', 'http')}{PREFIX}/version?token={TOKEN}"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip

    tally.case(done.stdout.endswith("400") and "version" not in done.stdout, done.stdout)
    assert tally.failed == []
