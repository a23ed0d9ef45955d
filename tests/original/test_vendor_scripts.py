"""The vendor's scripts in `ADMIN/bin`, as the original started them: how and where, and those that cannot run."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from namespaces import mounted, needs_mounts

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

SETTINGS = {
    "settings": {"network": {"interface": "eth0", "hostname": "test.example"}},
    "storage": {"storage": {"type": "local"}},
}
SUCCESS, FAILURE = "Updating settings successful", "Invalid or missing settings file"
BY_AWK = f'#!{shutil.which("awk")} -f\nBEGIN {{ print "ran with", ARGV[1] }}\n'


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


def change(host: Host, kind: str = "settings") -> dict[str, Any]:
    """Post new settings, and return the record of the job that put them into force."""
    answer = host.request("POST", f"/{kind}", {"settings": json.dumps(SETTINGS[kind]).encode()})
    path = host.appliance.jobs / f"{answer.headers['Job-Id']}.json"

    def ended() -> dict[str, Any] | None:
        record: dict[str, Any] = json.loads(path.read_text())
        return record if record["status"] != "running" else None

    result: dict[str, Any] = wait_until(ended)
    return result


def log(host: Host, kind: str = "settings") -> list[str]:
    return (host.appliance.log / f"update_{kind}.log").read_text().splitlines()


def write(host: Host, content: str, mode: int = 0o755, name: str = "network.sh") -> Path:
    path = host.appliance.bin / name
    path.write_text(content, newline="")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o755, 0o644, 0o600])
@pytest.mark.parametrize(
    "content",
    [
        'echo "ran with $1"\n',
        '#!/bin/sh\necho "ran with $1"\n',
        '#! /bin/sh -e \necho "ran with $1"\n',
        '#!/usr/bin/env sh\necho "ran with $1"\n',
        '#!\necho "ran with $1"\n',
        BY_AWK,
    ],
    ids=["no first line", "sh", "an argument", "env", "an empty first line", "another interpreter"],
)
def test_a_script_is_run_by_what_its_first_line_says_or_by_sh(host: Host, content: str, mode: int) -> None:
    write(host, content, mode)

    record = change(host)

    assert (record["status"], record["error_message"]) == ("success", None)
    assert "ran with dhcp" in log(host)
    assert log(host)[-1].endswith(SUCCESS)


def test_an_empty_script_succeeds_as_in_a_shell(host: Host) -> None:
    write(host, "")

    assert change(host)["status"] == "success"


def test_a_script_that_root_linked_elsewhere_is_followed(host: Host, tmp_path: Path) -> None:
    write(host, "echo linked\n", name="real").rename(tmp_path / "real")
    (host.appliance.bin / "network.sh").symlink_to(tmp_path / "real")

    change(host)

    assert "linked" in log(host)


def test_a_script_that_is_open_for_writing_runs(host: Host) -> None:
    with write(host, "#!/bin/sh\necho ran\n").open("a"):
        assert change(host)["status"] == "success"

    assert "ran" in log(host)


@needs_mounts
def test_a_script_on_a_file_system_without_execution_runs(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    write(host, "#!/bin/sh\necho ran\n")
    bin = shlex.quote(str(host.appliance.bin))
    host.start(prefix=mounted(f"mount --bind {bin} {bin} && mount -o remount,bind,noexec {bin}"))

    assert change(host)["status"] == "success"
    assert "ran" in log(host)


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [
        ("directory", "not a regular file"),
        ("pipe", "not a regular file"),
        ("dangling link", "No such file or directory"),
        ("no such interpreter", "/nowhere/sh: No such file or directory"),
        ("an interpreter that is a directory", "/etc: Permission denied"),
        ("a first line of Windows", "its first line ends with CR LF"),
    ],
)
@pytest.mark.parametrize(("kind", "name"), [("settings", "network.sh"), ("storage", "storage.sh")])
def test_a_script_that_is_there_and_cannot_run_is_a_failure_with_its_reason(
    host: Host, kind: str, name: str, obstacle: str, reason: str
) -> None:
    path = host.appliance.bin / name
    match obstacle:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "dangling link":
            path.symlink_to("nowhere")
        case "no such interpreter":
            write(host, "#!/nowhere/sh\n", name=name)
        case "an interpreter that is a directory":
            write(host, "#!/etc\n", name=name)
        case _:
            write(host, "#!/bin/sh\r\necho ran\r\n", name=name)

    record = change(host, kind)

    assert record["status"] == "failed"
    assert record["error_message"].startswith(f"{name} cannot be run: ")
    assert reason in record["error_message"]
    assert log(host, kind)[-2].endswith(record["error_message"])
    assert log(host, kind)[-1].endswith(FAILURE)


@pytest.mark.parametrize("kind", ["settings", "storage"])
def test_without_a_script_the_settings_are_stored_all_the_same(host: Host, kind: str) -> None:
    assert change(host, kind)["status"] == "success"
    assert log(host, kind)[-1].endswith(SUCCESS)


@pytest.mark.parametrize(
    ("kind", "name", "arguments"), [("settings", "network.sh", "dhcp"), ("storage", "storage.sh", "")]
)
def test_a_script_runs_in_the_inbox_with_the_arguments_and_umask_of_the_original(
    host: Host, kind: str, name: str, arguments: str
) -> None:
    write(host, 'echo "in $(pwd)"; echo "umask $(umask)"; echo "with $*"; echo "tree $JIDO_ADMIN_PATH"\n', name=name)

    change(host, kind)

    lines = log(host, kind)
    assert f"in {host.appliance.uploads}" in lines
    assert "umask 0022" in lines
    assert f"with {arguments}".strip() in [line.strip() for line in lines]
    assert f"tree {host.appliance.admin}" in lines


def test_a_missing_inbox_is_not_in_the_way_of_new_settings(host: Host) -> None:
    write(host, "echo ran\n")
    host.appliance.uploads.rename(host.appliance.uploads.with_name("elsewhere"))

    assert change(host)["status"] == "success"
    assert "ran" in log(host)


def test_what_the_persist_command_prints_is_not_the_end_of_the_log(host: Host) -> None:
    host.configure(commands={"persist": ["sh", "-c", "echo persisting"]})
    host.reload()

    assert change(host)["status"] == "success"

    assert log(host)[-1].endswith(SUCCESS)
    assert "persisting" in next(host.appliance.jobs.glob("*-settings.log")).read_text()


@pytest.mark.parametrize(
    ("persist", "told"),
    [
        (["sh", "-c", "echo The disk is full; exit 3"], "failed with exit status 3: The disk is full"),
        (["/nonexistent/keep"], "failed: keep cannot be run: No such file or directory"),
        (["sleep", "4711"], "failed: sleep did not end within 1 seconds"),
    ],
)
def test_a_change_that_the_persist_command_does_not_keep_is_told_to_be_in_force(
    host: Host, persist: list[str], told: str
) -> None:
    host.configure(commands={"persist": persist}, limits={"command": 1})
    host.reload()

    assert change(host)["status"] == "failed"

    assert log(host)[-1].endswith(f"The change is in force, but the persist command {told}")
