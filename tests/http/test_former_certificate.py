"""Connections that were made before the certificate changed."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from pathlib import Path

from jidoteki.core.appliance import Appliance
from jidoteki.core.http import tls
from jidoteki.testing import MakeHost


def asked(client: http.client.HTTPSConnection) -> tuple[int, str | None]:
    client.request("GET", "/docs/openapi.json", headers={"Accept-Encoding": "identity"})
    answer = client.getresponse()
    answer.read()
    return answer.status, answer.headers["Connection"]


def test_connection_made_with_the_former_certificate_ends_with_its_next_answer(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    name, port = host.url.removeprefix("https://").split(":")
    trusting = ssl._create_unverified_context()  # what it trusts changes on the way
    kept = http.client.HTTPSConnection(name, int(port), context=trusting, timeout=20)

    before = [asked(kept), asked(kept)]
    former = kept.sock.getpeercert(binary_form=True)
    tls.make_self_signed(Appliance(host.appliance.root, host.appliance.admin))
    after = asked(kept)
    again = [asked(kept), asked(kept)]

    assert before == again == [(200, None), (200, None)]
    assert after == (200, "close")
    assert kept.sock.getpeercert(binary_form=True) != former
    kept.close()


def test_certificate_that_cannot_be_used_ends_no_connection(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    name, port = host.url.removeprefix("https://").split(":")
    kept = http.client.HTTPSConnection(name, int(port), context=ssl._create_unverified_context(), timeout=20)
    asked(kept)

    Path(host.appliance.system_etc, "pki/tls/enterprise.pem").write_text("nonsense")

    assert [asked(kept), asked(kept)] == [(200, None), (200, None)]
    kept.close()
    assert subprocess.run(["curl", "-sk", f"{host.url}/docs/openapi.json"], capture_output=True, check=True).stdout
