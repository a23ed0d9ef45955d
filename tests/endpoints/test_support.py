"""`/logs` and `/debug`, opened with the real tar and openssl."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from obstacles import obstruct

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    logs = host.appliance.root / "var/log/app"
    logs.mkdir(parents=True)
    (logs / "app.log").write_text("line\n" * 10_000)
    (logs / "sub").mkdir()
    (logs / "sub/other.log").write_text("other\n")
    (logs / "link").symlink_to("/etc/passwd")
    host.appliance.replace_file(host.appliance.etc / "logs.txt", "/var/log/app\n/var/log/missing.log\n# comment\n")
    return host


def tar_list(path: Path) -> list[str]:
    return subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True).stdout.splitlines()


def test_logs_hold_the_admin_tree_and_what_is_listed(host: Host, tmp_path: Path) -> None:
    answer = host.get("/logs")
    (tmp_path / "logs.tar.gz").write_bytes(answer.body)
    names = tar_list(tmp_path / "logs.tar.gz")
    subprocess.run(["tar", "xzf", "logs.tar.gz"], cwd=tmp_path, check=True)

    root = str(host.appliance.root).lstrip("/")
    assert f"{root}/var/log/app/app.log" in names
    assert f"{root}/var/log/app/sub/other.log" in names
    assert f"{root}/opt/jidoteki/tinyadmin/log/jidoteki-admin-api.log" in names
    assert not any("link" in name for name in names)
    assert (tmp_path / root / "var/log/app/app.log").read_text() == "line\n" * 10_000
    assert "missing.log is missing" in (host.appliance.log / "update_logs.log").read_text()


def test_concurrent_calls_share_one_packing(host: Host) -> None:
    (host.appliance.root / "var/log/app/big.log").write_bytes(b"some text that compresses\n" * 4_000_000)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: host.get("/logs"), range(6)))

    assert [answer.status for answer in answers] == [200] * 6
    assert len(list(host.appliance.jobs.glob("*-logs.json"))) < 6


def test_the_debug_bundle_is_opened_with_openssl(host: Host, tmp_path: Path) -> None:
    commands = "echo hello; echo problem >&2\n\n# comment\nexit 3\nyes | head -c 100000\ncat /nonexistent\n"
    host.appliance.replace_file(host.appliance.etc / "debug.txt", commands)

    answer = host.get("/debug")

    assert answer.status == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="debug-bundle.tar"'
    (tmp_path / "debug-bundle.tar").write_bytes(answer.body)
    assert tar_list(tmp_path / "debug-bundle.tar") == ["debug.key.enc", "debug.tar.gz.enc", "logs.tar.gz.enc"]
    key = host.appliance.root / "vendor/private.pem"
    subprocess.run(
        ["sh", "-ec", f"""
            tar xf debug-bundle.tar
            openssl pkeyutl -decrypt -inkey '{key}' -in debug.key.enc -out debug.key
            decrypt="openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -pass file:debug.key"
            for part in debug logs; do $decrypt -in $part.tar.gz.enc -out $part.tar.gz; tar xzf $part.tar.gz; done
        """], cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    output = {path.name: path.read_text() for path in tmp_path.glob("debug-*.log")}
    assert output["debug-1.log"] == "Running: echo hello; echo problem >&2\nhello\nproblem\n"
    assert output["debug-2.log"] == "Running: exit 3\nExit status: 3\n"
    assert len(output["debug-3.log"]) > 100_000
    assert output["debug-4.log"].endswith("No such file or directory\nExit status: 1\n")
    assert (tmp_path / "logs.tar.gz").stat().st_size > 100


def test_the_log_of_the_debug_bundle_says_what_the_original_says(host: Host) -> None:
    host.appliance.replace_file(host.appliance.etc / "debug.txt", "\ufeffecho one\r\necho two\r\n")

    assert host.get("/debug").status == 200

    lines = (host.appliance.log / "update_debug.log").read_text().splitlines()
    assert [line.partition("][SYSTEM] ")[2] for line in lines if "/var/log/" not in line] == [
        "Generating compressed debug-bundle.tar. Please wait..",
        "Creating debug/debug-1.log",
        "Creating debug/debug-2.log",
        "Generated debug bundle successful",
    ]


def test_several_logs_may_stand_in_one_line(host: Host) -> None:
    for name in ("one.log", "two.log", "three.log"):
        (host.appliance.root / "var/log" / name).write_text(name)
    listed = "\ufeff/var/log/one.log /var/log/t*.log\r\n/var/log/app\r\n"
    host.appliance.replace_file(host.appliance.etc / "logs.txt", listed)

    members = packed(host)

    assert {f"var/log/{name}" for name in ("one.log", "two.log", "three.log", "app/app.log")} <= members.keys()


def test_no_debug_bundle_without_the_vendors_key(host: Host) -> None:
    (host.appliance.etc / "updates.pub").unlink()

    answer = host.get("/debug")

    assert (host.appliance.log / "update_debug.log").read_text().endswith("] Invalid or missing debug file\n")

    assert (answer.status, answer.json["Error-Message"]) == (
        400, "There is no updates.pub to encrypt the debug bundle to",
    )  # fmt: skip


def test_a_command_that_hangs_does_not_keep_the_bundle_from_being_made(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(limits={"command": 1})
    host.appliance.replace_file(host.appliance.etc / "debug.txt", "sleep 100\n")

    assert host.get("/debug").status == 200


def test_a_file_that_grows_while_it_is_packed_does_no_harm(host: Host, tmp_path: Path) -> None:
    growing = host.appliance.root / "var/log/app/growing.log"
    with subprocess.Popen(["sh", "-c", f"while :; do echo more >> '{growing}'; done"]) as writer:
        answer = host.get("/logs")
        writer.kill()

    (tmp_path / "logs.tar.gz").write_bytes(answer.body)
    assert any(name.endswith("growing.log") for name in tar_list(tmp_path / "logs.tar.gz"))


NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make things that belong to others")


def packed(host: Host) -> dict[str, bytes]:
    """Return the members of `/logs` below the root, by their names there."""
    answer = host.get("/logs")
    assert answer.status == 200
    root = str(host.appliance.root).lstrip("/") + "/"
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        members = {each.name.removeprefix(root): archive.extractfile(each) for each in archive.getmembers()}
        return {name: file.read() for name, file in members.items() if file}


@pytest.fixture
def secret(host: Host) -> Path:
    """Return a directory that only root can read."""
    directory = host.appliance.root / "secret"
    directory.mkdir(mode=0o700)
    (directory / "shadow").write_text("root:hash\n")
    (directory / "shadow").chmod(0o600)
    return directory


@as_root
@pytest.mark.parametrize(
    "listed",
    ["/var/log/app/*/*", "/var/log/app/x/shadow", "/var/log/app/[x]/shadow", "/var/log/*/x/*", "/var/log/app/x",
     "/var/log/app", "/var/log/app/file", "/var/log/app/sub/../x/shadow"],
)  # fmt: skip
def test_nothing_behind_a_link_that_somebody_else_made_is_packed(host: Host, secret: Path, listed: str) -> None:
    app = host.appliance.root / "var/log/app"
    (app / "x").symlink_to(secret)
    (app / "file").symlink_to(secret / "shadow")
    os.chown(app, NOBODY, NOBODY)
    (host.appliance.etc / "logs.txt").write_text(f"{listed}\n/var/log/app/sub/*\n")

    members = packed(host)

    assert b"root:hash\n" not in members.values()
    assert members["var/log/app/sub/other.log"] == b"other\n"


@as_root
def test_a_directory_that_is_writable_by_its_group_is_somebody_elses_too(host: Host, secret: Path) -> None:
    app = host.appliance.root / "var/log/app"
    (app / "x").symlink_to(secret)
    app.chmod(0o775)
    (host.appliance.etc / "logs.txt").write_text("/var/log/app/*/*\n")

    assert b"root:hash\n" not in packed(host).values()


def test_a_link_that_the_vendor_made_is_followed_and_keeps_its_name(host: Host, tmp_path: Path) -> None:
    moved = tmp_path / "data/log"
    moved.mkdir(parents=True)
    (moved / "moved.log").write_text("moved\n")
    below = host.appliance.root / "var/log"
    below.chmod(0o755)
    (below / "moved").symlink_to(moved)
    (below / "one.log").symlink_to(moved / "moved.log")
    (host.appliance.etc / "logs.txt").write_text("/var/log/moved\n/var/log/mov*/m*.log\n/var/log/one.log\n")

    members = packed(host)

    assert members["var/log/moved/moved.log"] == members["var/log/one.log"] == b"moved\n"


@as_root
def test_a_second_name_of_a_file_of_roots_is_not_packed(host: Host, secret: Path) -> None:
    app = host.appliance.root / "var/log/app"
    os.link(secret / "shadow", app / "shadow.log")
    os.link(app / "app.log", app / "app.log.1")
    os.chown(app / "app.log", NOBODY, NOBODY)
    os.chown(app, NOBODY, NOBODY)

    members = packed(host)

    assert b"root:hash\n" not in members.values()
    assert members["var/log/app/app.log.1"] == b"line\n" * 10_000
    assert "shadow.log is left out" in (host.appliance.log / "update_logs.log").read_text()


def test_a_file_of_holes_does_not_keep_the_logs_from_being_packed(host: Host) -> None:
    with (host.appliance.root / "var/log/app/holes.log").open("wb") as file:
        file.truncate(1 << 42)
        file.seek(-4, os.SEEK_END)
        file.write(b"end\n")

    members = packed(host)

    assert members["var/log/app/holes.log"].endswith(b"\0end\n")
    assert "only the last" in (host.appliance.log / "update_logs.log").read_text()


def unpacked(host: Host, tmp_path: Path) -> Path:
    """Return the logs below the root, as GNU tar unpacks them."""
    (tmp_path / "logs.tar.gz").write_bytes(host.get("/logs").body)
    subprocess.run(["tar", "xzf", "logs.tar.gz"], cwd=tmp_path, check=True, timeout=60)
    return tmp_path / str(host.appliance.root).lstrip("/")


def test_a_log_that_was_emptied_while_it_was_written_keeps_its_beginning_and_its_hole(
    host: Host, tmp_path: Path
) -> None:
    with (host.appliance.root / "var/log/app/holes.log").open("wb") as file:
        file.write(b"begin\n")
        file.truncate(1_000_000_000)
        file.seek(-4, os.SEEK_END)
        file.write(b"end\n")

    log = unpacked(host, tmp_path) / "var/log/app/holes.log"

    status = log.stat()
    assert (status.st_size, status.st_blocks * 512 < 1_000_000) == (1_000_000_000, True)
    with log.open("rb") as file:
        assert file.read(7) == b"begin\n\0"
        file.seek(-5, os.SEEK_END)
        assert file.read() == b"\0end\n"


def test_many_holes_leave_all_the_room_to_other_logs(host: Host, tmp_path: Path) -> None:
    for number in range(150):
        with (host.appliance.root / f"var/log/app/a-{number}.log").open("wb") as file:
            file.truncate(1_000_000_000)

    logs = unpacked(host, tmp_path) / "var/log/app"

    assert (logs / "app.log").read_text() == "line\n" * 10_000
    assert (logs / "a-149.log").stat().st_size == 1_000_000_000
    assert "are packed" not in (host.appliance.log / "update_logs.log").read_text()


def test_very_deep_directories_are_left_out_and_the_rest_packed(host: Host) -> None:
    here = os.open(host.appliance.root / "var/log/app", os.O_RDONLY)
    for _ in range(150):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)

    assert "var/log/app/app.log" in packed(host)


@pytest.mark.parametrize("kind", ["directory", "pipe", "dangling link", "link to an endless device", "garbage"])
def test_lists_that_cannot_be_read_do_not_keep_the_rest_from_being_packed(host: Host, kind: str) -> None:
    for name in ("logs.txt", "debug.txt"):
        assert obstruct(host.appliance.etc / name, kind)

    assert any(name.endswith("jidoteki-admin-api.log") for name in packed(host))
    assert host.get("/debug").status == 200
