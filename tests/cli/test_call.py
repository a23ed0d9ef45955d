"""`jidoteki call` as people and scripts use it: the real command with the real service."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from jidoteki.core.endpoints.update.build import build_package
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost
from jidoteki.testing.host import COMMAND

MIB = 1024 * 1024


class Caller:
    """A user at a shell that trusts the appliance's certificate and has its token in the environment."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.certificate = host.appliance.system_etc / "pki/tls/certs/enterprise.crt"
        self.environment = {**os.environ, "JIDOTEKI_TOKEN": TOKEN, "JIDOTEKI_URL": host.url}

    def __call__(self, *arguments: str | Path, trust: bool = True) -> subprocess.CompletedProcess[str]:
        argv = [*COMMAND, "call", *arguments, *(["--cacert", str(self.certificate)] if trust else [])]
        return subprocess.run(
            argv,
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )


@pytest.fixture
def call(jidoteki_host: MakeHost) -> Caller:
    return Caller(jidoteki_host())


def package(host: Host, work: Path, script: str) -> Path:
    """Return a signed update package of version 2.0.0."""
    source, vendor = work / "source", host.appliance.root / "vendor"
    source.mkdir()
    (source / "update.sh").write_text(f"#!/bin/sh\n{script}\n")
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", work / "package.enc")
    return work / "package.enc"


def test_the_body_and_nothing_else_goes_to_standard_output(call: Caller) -> None:
    done = call("get", "/version")

    assert (done.returncode, done.stdout, done.stderr) == (0, '{"version":"1.0.0"}', "")


def test_a_path_with_the_prefix_and_a_query_is_the_same(call: Caller) -> None:
    done = call("POST", "/api/v1/admin/backup?dry-run=1", "-F", "action=START")

    assert done.returncode == 0
    assert json.loads(done.stdout)["dry-run"] is True


def test_an_error_is_one_sentence_and_exit_status_1(call: Caller) -> None:
    done = call("POST", "/setup", "-F", "nonsense=1")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("jidoteki: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-F", "novalue"], "must be NAME=VALUE"),
        (["-F", "a=1", "-F", "a=2"], "given twice"),
        (["-F", "update=@/nonexistent"], "-F update: /nonexistent is not a file"),
        (["--wait", "-o", "x"], "exclude each other"),
        (["-F", f"text=<{ROOT / 'requirements.txt'}"], "too long for text"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_status_2_without_a_request(call: Caller, arguments: list[str], told: str) -> None:
    done = call("POST", "/update", *arguments)

    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", ["/version\r\nX: y", "/vers ion", "/versión"])
def test_a_path_that_is_none_is_never_sent(call: Caller, path: str) -> None:
    done = call("GET", path)

    assert done.returncode == 1
    assert "is not a path" in done.stderr and done.stderr.count("\n") == 1


def test_an_update_is_waited_for(call: Caller, tmp_path: Path) -> None:
    done = call("POST", "/update", "-F", f"update=@{package(call.host, tmp_path, 'sleep 1')}", "--wait")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "success"
    assert done.stderr.splitlines()[-1] == "Waiting: 100 %"
    assert call("GET", "/version").stdout == '{"version":"2.0.0"}'


def test_the_deletion_of_a_backup_is_waited_for(call: Caller) -> None:
    call("POST", "/backup", "-F", "action=START", "--wait")

    done = call("POST", "/backup", "-F", "action=STOP", "--wait")

    assert (done.returncode, json.loads(done.stdout)["type"]) == (0, "backup-delete"), done.stderr


@pytest.mark.parametrize(("path", "form"), [("/settings", "settings=@{}"), ("/backup", "action=START")])
def test_waiting_for_a_dry_run_ends_with_its_answer(call: Caller, tmp_path: Path, path: str, form: str) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text('{"app": {"name": "x"}}')

    done = call("POST", f"{path}?dry-run=1", "-F", form.format(settings), "--wait")

    assert (done.returncode, json.loads(done.stdout)["dry-run"]) == (0, True), done.stderr


def test_a_job_that_fails_is_exit_status_1_with_its_code(call: Caller, tmp_path: Path) -> None:
    done = call("POST", "/update", "-F", f"update=@{package(call.host, tmp_path, 'exit 7')}", "--wait")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "jidoteki: update.sh failed with exit status 7 (E1002)"


@pytest.mark.parametrize(
    ("path", "script", "document"),
    [
        ("/settings", "network.sh", {"network": {"interface": "eth7", "hostname": "test.host"}}),
        ("/storage", "storage.sh", {"storage": {"type": "local"}}),
    ],
)
def test_settings_are_waited_for_too(call: Caller, path: str, script: str, document: object) -> None:
    settings = f"settings={json.dumps(document)}"
    fine = call("POST", path, "-F", settings, "--wait")
    call.host.appliance.replace_file(call.host.appliance.bin / script, "#!/bin/sh\nexit 3\n", 0o755)
    failed = call("POST", path, "-F", settings, "--wait")

    assert fine.returncode == 0, fine.stderr
    assert json.loads(fine.stdout)["status"] == "success"
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-1] == f"jidoteki: {script} failed with exit status 3 (E1000)"


def test_a_reboot_that_fails_is_seen_by_who_waits(jidoteki_host: MakeHost) -> None:
    call = Caller(jidoteki_host(commands={"reboot": ["false"]}))

    done = call("POST", "/reboot", "--wait")

    assert done.returncode == 1
    assert "The reboot command failed with exit status 1" in done.stderr


def test_a_bar_is_drawn_on_a_terminal(call: Caller, tmp_path: Path) -> None:
    update = package(call.host, tmp_path, "sleep 1")
    terminal, other_end = pty.openpty()

    done = subprocess.run(
        [*COMMAND, "call", "POST", "/update", "-F", f"update=@{update}", "--wait", "--insecure"],
        env={**call.environment, "TERM": "xterm", "COLUMNS": "80"}, stdout=subprocess.PIPE, stderr=other_end,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip

    os.close(other_end)
    drawn = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert json.loads(done.stdout)["status"] == "success"
    assert "Waiting  [####" in drawn and "100%" in drawn


def test_a_download_goes_to_a_file_that_tar_opens(call: Caller, tmp_path: Path) -> None:
    done = call("GET", "/logs", "-o", tmp_path / "logs.tar.gz")
    listed = subprocess.run(["tar", "tzf", tmp_path / "logs.tar.gz"], capture_output=True, text=True, check=True)

    assert (done.returncode, done.stdout) == (0, "")
    assert "jidoteki-admin-api.log" in listed.stdout
    assert [path.name for path in tmp_path.glob("logs*")] == ["logs.tar.gz"]


def test_a_download_into_a_pipe_comes_whole(call: Caller, tmp_path: Path) -> None:
    with (tmp_path / "piped").open("wb") as target:
        subprocess.run(
            [*COMMAND, "call", "GET", "/logs", "--insecure"],
            env=call.environment,
            stdout=target,
            timeout=60,
            check=True,
        )

    subprocess.run(["tar", "tzf", tmp_path / "piped"], capture_output=True, check=True)


def on_a_terminal(call: Caller, *arguments: str) -> tuple[int, str, str]:
    """Run the command on a terminal; return the exit status, the terminal's output, and standard error."""
    terminal, other_end = pty.openpty()
    done = subprocess.run(
        [*COMMAND, "call", *arguments, "--insecure"], env=call.environment, stdin=subprocess.DEVNULL,
        stdout=other_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.write(other_end, b"\n")  # so that there is always something to read
    os.close(other_end)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the end
        while chunk := os.read(terminal, 65536):
            shown += chunk
    os.close(terminal)
    return done.returncode, shown.decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\n"), done.stderr


@pytest.mark.parametrize("path", ["/logs", "/debug"])
def test_a_terminal_is_not_filled_with_what_is_no_text(call: Caller, path: str) -> None:
    status, shown, told = on_a_terminal(call, "GET", path)

    assert (status, shown) == (1, "")
    assert "bytes of application/octet-stream: write it to a file with --output FILE (-o FILE)" in told
    assert told.count("\n") == 1


def test_a_terminal_shows_text_with_one_line_end(call: Caller) -> None:
    changelog = on_a_terminal(call, "GET", "/changelog")
    version = on_a_terminal(call, "GET", "/version")

    assert changelog[0] == 0 and changelog[1].startswith("# Changelog")
    assert version == (0, '{"version":"1.0.0"}\n', "")


def test_a_terminal_gets_no_bytes_that_are_called_text(call: Caller) -> None:
    call.host.appliance.replace_file(call.host.appliance.etc / "changelog.txt", b"\x1f\x8b\x00\x00binary")

    status, shown, told = on_a_terminal(call, "GET", "/changelog")

    assert (status, shown) == (1, "")
    assert "is no text" in told


def test_what_is_too_long_for_memory_is_refused_on_a_terminal_before_it_is_fetched(call: Caller) -> None:
    host = call.host
    with (host.appliance.spool / "backup.tar").open("wb") as file:
        file.truncate(100 * MIB)
    description = {"status": "success", "filesize": "100M", "sha256": "0" * 64}
    host.appliance.replace_file(host.appliance.spool / "backup.json", json.dumps(description))

    status, shown, told = on_a_terminal(call, "GET", "/backup/download")

    assert (status, shown) == (1, "")
    assert f"{100 * MIB} bytes of application/octet-stream" in told


def test_a_dash_for_the_file_is_standard_output_whatever_it_is(call: Caller, tmp_path: Path) -> None:
    status, shown, _ = on_a_terminal(call, "GET", "/logs", "-o", "-")
    piped = subprocess.run(
        [*COMMAND, "call", "GET", "/logs", "--insecure", "-o", "-"], env=call.environment, cwd=tmp_path,
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip

    assert status == 0 and len(shown) > 100
    assert piped.stdout.startswith(b"\x1f\x8b")
    assert not (tmp_path / "-").exists()


def test_a_long_upload_is_never_held_in_memory(call: Caller, tmp_path: Path) -> None:
    long = tmp_path / "long"
    with long.open("wb") as file:
        file.truncate(400 * MIB)
    # Started by a small process: the kernel counts the memory of the parent before exec, too.
    measure = (
        "import resource, subprocess, sys; "
        "status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode; "
        "print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )

    done = subprocess.run(
        [sys.executable, "-c", measure, *COMMAND, "call", "POST", "/update", "-F", f"update=@{long}", "--insecure"],
        env=call.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip

    status, peak = map(int, done.stdout.split())
    assert status == 0
    assert peak < 150 * 1024  # KiB


def test_a_certificate_that_is_not_trusted_ends_it_and_insecure_allows_it(call: Caller) -> None:
    refused = call("GET", "/version", trust=False)
    allowed = call("GET", "/version", "--insecure", trust=False)

    assert refused.returncode == 1
    assert "is not trusted" in refused.stderr
    assert allowed.stdout == '{"version":"1.0.0"}'


def test_the_token_comes_from_a_file_too_and_never_stands_in_a_url(call: Caller, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    call.environment["JIDOTEKI_TOKEN"] = "wrong"

    hashed = call("GET", "/version", "--token-file", tmp_path / "token")
    in_a_header = call("GET", "/version", "--token-file", tmp_path / "token", "--bearer")

    assert (hashed.returncode, in_a_header.returncode) == (0, 0)
    assert TOKEN not in (call.host.appliance.log / "jidoteki-admin-api.log").read_text()


def test_the_first_setup_takes_the_new_token_from_a_file(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    call = Caller(jidoteki_host(token=None))
    (tmp_path / "new").write_text(f"{TOKEN}\n")

    done = call("POST", "/setup", "--no-token", "-F", f"newtoken=<{tmp_path / 'new'}")

    assert done.returncode == 0, done.stderr
    assert call("GET", "/version").returncode == 0


def test_help_names_every_option_the_page_explains() -> None:
    page = (ROOT / "docs/command-line.md").read_text()
    shown = subprocess.run([*COMMAND, "call", "--help"], capture_output=True, text=True, check=True).stdout

    options = [word for word in shown.replace(",", " ").split() if word.startswith("--") and word != "--help"]
    assert len(set(options)) > 8
    assert [each for each in options if each not in page] == []


def test_nobody_answers_is_told_in_one_sentence(unused_tcp_port: int) -> None:
    done = subprocess.run(
        [sys.executable, *COMMAND[1:], "call", "GET", "/version", "--url", f"https://127.0.0.1:{unused_tcp_port}"],
        env={**os.environ, "JIDOTEKI_TOKEN": TOKEN}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.startswith("jidoteki: https://127.0.0.1") and done.stderr.count("\n") == 1
