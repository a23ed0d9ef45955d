"""Faults that are reported at the first attempt, before they cost anything, with a remedy."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from places import ROOT

from jidoteki.testing import MakeHost, wait_until
from jidoteki.testing.host import COMMAND

URL = "https://127.0.0.1:8443/api/v1/admin/version"


@pytest.mark.parametrize("command", ["demo", "make"])
def test_a_demo_whose_port_is_taken_says_so_and_prints_no_lines_to_try(tmp_path: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        argv = [*COMMAND, "demo", "--port", port] if command == "demo" else ["make", "-n", "run", f"PORT={port}"]
        done = subprocess.run(
            argv, cwd=ROOT, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    if command == "make":
        assert f"jidoteki demo --port {port}" in done.stdout
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert (
            f"--port {port}: Address already in use" in done.stderr
            and "; choose another port with --port" in done.stderr
        )


def test_a_demo_prints_its_lines_with_the_port_that_it_serves(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = subprocess.Popen([*COMMAND, "demo", "--port", "0"], env=env, stdout=file)
    try:
        wait_until(lambda: "Listening on" in out.read_text())
        line = next(each for each in out.read_text().splitlines() if "/version" in each)
        answer = subprocess.run(["curl", "-sk", line.split("'")[1]], capture_output=True, text=True, check=True)
    finally:
        process.terminate()
        process.wait(30)

    assert answer.stdout == '{"version":"1.0.0"}'


@pytest.mark.parametrize("command", ["sign", "call"])
def test_a_url_is_no_path(command: str) -> None:
    env = {**os.environ, "JIDOTEKI_TOKEN": "tok"}
    done = subprocess.run(
        [*COMMAND, command, "GET", URL], env=env, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "is a URL. Give its path alone: /version" in done.stderr


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/setup", "newtoken", "yourtoken\n"), ("/setup", "newtoken", "yourtoken\r\n"),
        ("/backup", "action", "START\n"),
        ("/tokens", "name", "monitor\n"), ("/tokens/revoke", "name", "monitor\n"),
    ],
)  # fmt: skip
def test_a_parameter_that_ends_with_a_newline_is_told(
    jidoteki_host: MakeHost, path: str, name: str, value: str
) -> None:
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True})

    answer = host.request("POST", path, {"scopes": "read", name: value} if path == "/tokens" else {name: value})

    assert answer.status == 400 and answer.json["Error-Message"].startswith(name)
    assert answer.json["Error-Message"].endswith("; it ends with a newline")


def test_a_form_without_a_boundary_is_told(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()

    answer = host.post("/setup", "-H", "Content-Type: multipart/form-data", "--data-binary", "--x\r\n\r\n--x--")

    assert answer.status == 400 and "names no boundary" in answer.json["Error-Message"]


def test_a_first_run_that_waits_is_told_by_the_command(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, first_run={"enabled": True})
    argv = [*COMMAND, "call", "GET", "/version", "-k", "--url", host.url.removesuffix("/api/v1/admin"), "--no-token"]

    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1 and "POST /setup?token=PASSPHRASE" in done.stderr


def test_an_inbox_without_a_package_says_what_was_looked_for(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()

    done = subprocess.run(
        [*COMMAND, "update", "--root", host.appliance.root], capture_output=True, text=True, timeout=60, check=False
    )

    log = host.get("/update/log").body.decode()
    assert f"Looked for software_package-*.enc in {host.appliance.uploads}" in done.stdout
    assert f"There is no regular file called software_package-*.enc in {host.appliance.uploads}" in log


def test_what_is_refused_while_a_job_runs_has_a_code(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    host.appliance.replace_file(host.appliance.bin / "network.sh", "#!/bin/sh\nsleep 3\n", 0o755)
    settings = 'settings={"network":{"interface":"eth7","hostname":"test.host"}}'
    host.post("/settings", "-F", settings)

    again = host.post("/settings", "-F", settings)

    assert (again.status, again.json["error-code"]) == (400, "E1004")
