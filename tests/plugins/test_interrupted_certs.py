"""Certificates whose job is killed or cancelled while the vendor's script runs: the former ones are in force again."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jidoteki.plugins.certs.jobs import PUT_BACK, TlsFiles
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def self_signed(directory: Path, name: str) -> list[str]:
    """Make a key and its certificate, and return the form."""
    how = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "300", "-subj", f"/CN={name}")
    key, public = directory / f"{name}.key", directory / f"{name}.crt"
    openssl("req", "-x509", *how, "-keyout", key, "-out", public, "-addext", "subjectAltName=IP:127.0.0.1")
    return ["-F", f"public=@{public}", "-F", f"private=@{key}"]


def signed(directory: Path, name: str) -> list[str]:
    """Make a key and its certificate, signed by an authority of its own, and return the form."""
    self_signed(directory, "authority")
    form, request = self_signed(directory, name), directory / "request"
    openssl("req", "-new", "-key", directory / f"{name}.key", "-subj", f"/CN={name}", "-out", request)
    signer = ("-CA", directory / "authority.crt", "-CAkey", directory / "authority.key", "-set_serial", "7")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", request, *signer, "-extfile", directory / "names", "-out", directory / f"{name}.crt")
    return [*form, "-F", f"ca=@{directory}/authority.crt"]


FORMS = {"self-signed": self_signed, "signed": signed}


def record(host: Host, id: str) -> Any:
    return json.loads((host.appliance.jobs / f"{id}.json").read_text())


def ended(host: Host, id: str) -> Any:
    """Wait for the end of a job; the certificate may change between that curl reads it and connects."""
    wait_until(lambda: record(host, id)["status"] != "running")
    return host.get(f"/jobs/{id}", "-k").json


def state(host: Host) -> dict[str, tuple[bytes, int]]:
    files = [path for path in TlsFiles.of(host.appliance).all if path.exists()]
    return {path.name: (path.read_bytes(), path.stat().st_mode & 0o777) for path in files}


def served(host: Host) -> str:
    return ssl.get_server_certificate(("127.0.0.1", int(host.url.rpartition(":")[2])))


def begin(host: Host, former: str, new: str, tmp_path: Path) -> tuple[str, dict[str, tuple[bytes, int]], str]:
    """Begin to replace certificates with a script that takes long; return the job's id, and what was there before."""
    script = host.appliance.bin / "certs.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    form = FORMS[former](tmp_path, "former")
    assert ended(host, host.post("/certs", *form).headers["Job-Id"])["status"] == "success"
    before, seen = state(host), served(host)
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/runs\nsleep 60\n")
    id = host.post("/certs", *FORMS[new](tmp_path, "new")).headers["Job-Id"]
    wait_until((tmp_path / "runs").exists)
    assert state(host) != before
    return id, before, seen


@pytest.mark.parametrize(("former", "new"), [("self-signed", "signed"), ("signed", "self-signed")])
@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_the_former_certificates_are_served_once_the_job_has_ended(
    jidoteki_host: MakeHost, tmp_path: Path, former: str, new: str, with_signal: signal.Signals
) -> None:
    host = jidoteki_host()
    id, before, seen = begin(host, former, new, tmp_path)
    note = host.appliance.jobs / f"{id}.former"
    assert note.stat().st_mode & 0o777 == 0o600  # it holds the former key

    os.kill(record(host, id)["pid"], with_signal)
    job = ended(host, id)

    assert state(host) == before
    assert served(host) == seen
    assert PUT_BACK in f"{job['log']} {job.get('error-message')}"
    assert job["status"] == ("failed" if with_signal == signal.SIGKILL else "cancelled")
    assert not note.exists()


@pytest.mark.parametrize(("former", "new"), [("self-signed", "signed"), ("signed", "self-signed")])
def test_the_former_certificates_are_served_after_the_power_failed(
    jidoteki_host: MakeHost, tmp_path: Path, former: str, new: str
) -> None:
    host = jidoteki_host()
    id, before, seen = begin(host, former, new, tmp_path)
    assert host.process is not None
    host.process.kill()
    os.killpg(record(host, id)["pid"], signal.SIGKILL)
    host.process.wait()
    host.process = None

    host.start()

    assert state(host) == before
    assert served(host) == seen
    assert PUT_BACK in host.get(f"/jobs/{id}").json["error-message"]
