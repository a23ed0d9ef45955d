"""`POST /certs?confirm=N`: a certificate goes away again unless somebody confirms it."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from trialkit import certificate_form, kill_job, leftovers

from jidoteki.plugins.certs.jobs import TlsFiles
from jidoteki.testing import Host, MakeHost, wait_until


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


def served(host: Host) -> str:
    """Return the certificate that a new client is shown."""
    server = urlsplit(host.url)
    return ssl.get_server_certificate((str(server.hostname), server.port or 0))


def state(host: Host) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in TlsFiles.of(host.appliance).all if path.exists()}


def ended(host: Host, id: str) -> Any:
    def record() -> Any:
        content = json.loads((host.appliance.jobs / f"{id}.json").read_text())
        return content if content["status"] != "running" else None

    return wait_until(record, 60, 0.1)


def begin(host: Host, directory: Path, seconds: int = 3600) -> str:
    answer = host.post("/certs", *certificate_form(directory, "new"), query=f"confirm={seconds}")
    assert answer.status == 202, answer.text
    id = answer.headers["Job-Id"]
    wait_until(lambda: (host.appliance.jobs / f"{id}.pending").exists())
    return id


def test_a_certificate_that_is_confirmed_stays(host: Host, tmp_path: Path) -> None:
    id = begin(host, tmp_path)
    pending = host.get("/certs").json["pending"]

    answer = host.post("/certs/confirm")

    assert answer.status == 200
    assert pending["certificate"]["subject"] == "CN=new"
    assert 3500 < pending["seconds-left"] <= 3600
    assert ended(host, id)["status"] == "success"
    assert served(host) == (tmp_path / "new.crt").read_text()
    assert "pending" not in host.get("/certs").json


def test_a_certificate_that_nobody_confirms_goes_away_again(host: Host, tmp_path: Path) -> None:
    former, was = state(host), served(host)
    script = host.appliance.bin / "certs.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(f"#!/bin/sh\nopenssl x509 -noout -subject -in {host.certificate} >> {tmp_path}/told\n")
    id = begin(host, tmp_path, 10)
    assert served(host) != was

    job = ended(host, id)

    assert job["error_code"] == "E2001"
    assert state(host) == former
    assert served(host) == was
    assert len((tmp_path / "told").read_text().splitlines()) == 2
    assert "CN = new" not in (tmp_path / "told").read_text().splitlines()[1]
    wait_until(lambda: leftovers(host) == [])
    host.assert_audited("change.reverted", "certs E2001")
    assert wait_until(lambda: host.get("/health").json.get("reverted"))[0]["job"] == id


@pytest.mark.parametrize("restarted", [False, True])
def test_a_certificate_goes_away_again_when_its_job_is_killed(host: Host, tmp_path: Path, restarted: bool) -> None:
    former, was = state(host), served(host)
    id = begin(host, tmp_path)
    if restarted:
        host.stop(signal.SIGKILL)

    kill_job(host, id)
    if restarted:
        host.start()

    assert ended(host, id)["error_code"] == "E2001"
    assert state(host) == former
    assert served(host) == was


def test_a_certificate_stays_on_trial_through_a_restart(host: Host, tmp_path: Path) -> None:
    id = begin(host, tmp_path)
    host.stop()
    host.start()

    assert host.post("/certs/confirm").status == 200

    assert ended(host, id)["status"] == "success"
    assert served(host) == (tmp_path / "new.crt").read_text()


def test_settings_and_certificates_are_confirmed_each_for_themselves(host: Host, tmp_path: Path) -> None:
    begin(host, tmp_path)

    assert host.post("/settings/confirm").status == 400
    assert "pending" in host.get("/certs").json


def test_a_bundle_that_nobody_could_connect_to_does_not_take_over(host: Host, tmp_path: Path) -> None:
    was = served(host)
    key, public = tmp_path / "dsa.key", tmp_path / "dsa.crt"
    parameters = tmp_path / "parameters"
    subprocess.run(["openssl", "dsaparam", "-out", parameters, "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "gendsa", "-out", key, parameters], check=True, capture_output=True)
    subprocess.run(["openssl", "req", "-x509", "-key", key, "-subj", "/CN=dsa", "-out", public], check=True)
    TlsFiles.of(host.appliance).served.write_bytes(key.read_bytes() + public.read_bytes())

    assert served(host) == was

    log = host.appliance.log / "jidoteki-admin-api.log"
    wait_until(lambda: "enterprise.pem cannot be used, the certificate stays as it was" in log.read_text())
