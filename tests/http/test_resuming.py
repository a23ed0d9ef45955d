"""Downloads that are interrupted and resumed by common clients: parts of two files are never combined."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import time
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import pytest

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, MakeHost


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host()
    grow(host)
    return host


def grow(host: Host) -> None:
    """Fill the logs with other, incompressible content."""
    with (host.appliance.log / "app.log").open("a") as file:
        file.write(os.urandom(100_000).hex() + "\n")


def fetch(host: Host, path: str, to: Path, *arguments: str, source: str = "127.0.0.1") -> int:
    """Download with curl; return its exit status."""
    url = f"{host.url}{PREFIX}{path}{host.query('GET', path)}"
    argv: list[str | Path] = [
        "curl", "-sS", "--cacert", host.certificate, "--interface", source, "-o", to, *arguments, url,
    ]  # fmt: skip
    return subprocess.run(argv, check=False, capture_output=True, timeout=60).returncode


def break_off(path: Path, whole: Path) -> bytes:
    """Truncate a download to its first half, and return the whole."""
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return content


@pytest.mark.parametrize("path", ["/logs", "/debug"])
def test_curl_goes_on_with_the_file_that_it_began(host: Host, tmp_path: Path, path: str) -> None:
    assert fetch(host, path, tmp_path / "whole") == 0
    content = break_off(tmp_path / "part", tmp_path / "whole")
    grow(host)

    assert fetch(host, path, tmp_path / "part", "-C", "-") == 0

    assert (tmp_path / "part").read_bytes() == content


@pytest.mark.skipif(not shutil.which("wget"), reason="there is no wget")
def test_wget_goes_on_with_the_file_that_it_began(host: Host, tmp_path: Path) -> None:
    assert fetch(host, "/logs", tmp_path / "whole") == 0
    content = break_off(tmp_path / "part", tmp_path / "whole")
    grow(host)
    url = f"{host.url}{PREFIX}/logs{host.query('GET', '/logs')}"

    subprocess.run(["wget", "-q", "-c", f"--ca-certificate={host.certificate}", "-O", tmp_path / "part", url],
                   check=True, timeout=60)  # fmt: skip

    assert (tmp_path / "part").read_bytes() == content


@pytest.mark.parametrize("path", ["/logs", "/debug"])
def test_curl_appends_nothing_once_another_file_was_made(host: Host, tmp_path: Path, path: str) -> None:
    assert fetch(host, path, tmp_path / "whole") == 0
    content = break_off(tmp_path / "part", tmp_path / "whole")
    grow(host)
    assert fetch(host, path, tmp_path / "other", source="127.0.0.2") == 0

    assert fetch(host, path, tmp_path / "part", "-C", "-") == 33  # no ranges: it cannot resume

    assert (tmp_path / "part").read_bytes() == content[: len(content) // 2]


def test_curl_appends_nothing_where_it_may_have_begun_either_of_two(host: Host, tmp_path: Path) -> None:
    assert fetch(host, "/logs", tmp_path / "whole") == 0
    break_off(tmp_path / "part", tmp_path / "whole")
    grow(host)
    assert fetch(host, "/logs", tmp_path / "another") == 0

    assert fetch(host, "/logs", tmp_path / "part", "-C", "-") == 33


def test_curl_appends_nothing_of_what_a_service_that_was_started_again_made(host: Host, tmp_path: Path) -> None:
    assert fetch(host, "/logs", tmp_path / "whole") == 0
    break_off(tmp_path / "part", tmp_path / "whole")
    host.stop()
    host.start()

    assert fetch(host, "/logs", tmp_path / "part", "-C", "-") == 33


@pytest.mark.parametrize("path", ["/logs", "/backup/download"])
def test_if_range_with_an_etag_decides(host: Host, tmp_path: Path, path: str) -> None:
    pack(host, b"first")
    first = host.get(path)
    again = host.get(path, "-H", f"If-Range: {first.headers['Etag']}", "-H", "Range: bytes=10-")
    weak = host.get(path, "-H", f"If-Range: W/{first.headers['Etag']}", "-H", "Range: bytes=10-")
    pack(host, b"other")
    grow(host)
    host.get(path)
    other = host.get(path, "-H", f"If-Range: {first.headers['Etag']}", "-H", "Range: bytes=10-")

    assert (again.status, again.body) == (206, first.body[10:])
    assert weak.status == 200
    assert other.status == 200
    assert other.headers["Etag"] != first.headers["Etag"]


def pack(host: Host, content: bytes) -> None:
    """Make a backup."""
    (host.appliance.data / "app").mkdir(parents=True, exist_ok=True)
    (host.appliance.data / "app/settings.json").write_bytes(content)
    assert host.post("/backup", "-F", "action=START").status == 202
    assert host.wait_for_job("/backup")["status"] == "success"


def test_a_backup_that_was_made_meanwhile_is_not_appended_to_the_old_one(host: Host, tmp_path: Path) -> None:
    pack(host, b"first")
    assert fetch(host, "/backup/download", tmp_path / "whole") == 0
    content = break_off(tmp_path / "part", tmp_path / "whole")
    assert fetch(host, "/backup/download", tmp_path / "part", "-C", "-") == 0
    assert (tmp_path / "part").read_bytes() == content
    break_off(tmp_path / "part", tmp_path / "whole")
    pack(host, b"other")

    assert fetch(host, "/backup/download", tmp_path / "part", "-C", "-") == 33


def test_a_backup_is_resumed_after_the_service_was_started_again(host: Host, tmp_path: Path) -> None:
    pack(host, b"first")
    assert fetch(host, "/backup/download", tmp_path / "whole") == 0
    break_off(tmp_path / "part", tmp_path / "whole")
    host.stop()
    host.start()

    assert fetch(host, "/backup/download", tmp_path / "part", "-C", "-") == 0

    with tarfile.open(tmp_path / "part") as archive:
        assert "app/settings.json" in [each.name.removeprefix("./") for each in archive]


@pytest.mark.parametrize("started_again", [False, True])
def test_another_backup_is_not_appended_after_a_restart_or_from_another_address(
    host: Host, tmp_path: Path, started_again: bool
) -> None:
    pack(host, b"first")
    assert fetch(host, "/backup/download", tmp_path / "whole") == 0
    content = break_off(tmp_path / "part", tmp_path / "whole")
    if started_again:
        host.stop()
        host.start()
    pack(host, b"other")

    assert fetch(host, "/backup/download", tmp_path / "part", "-C", "-", source="127.0.0.2") == 33

    assert (tmp_path / "part").read_bytes() == content[: len(content) // 2]


def test_a_backup_is_resumed_from_another_address(host: Host, tmp_path: Path) -> None:
    pack(host, b"first")
    assert fetch(host, "/backup/download", tmp_path / "whole") == 0
    content = break_off(tmp_path / "part", tmp_path / "whole")

    assert fetch(host, "/backup/download", tmp_path / "part", "-C", "-", source="127.0.0.2") == 0

    assert (tmp_path / "part").read_bytes() == content


@pytest.mark.parametrize("age", [0, 3000, 4000])
def test_who_is_not_known_resumes_a_backup_once_all_is_known_of_the_last_hour(host: Host, age: int) -> None:
    pack(host, b"first")
    host.stop()
    kept = host.appliance.jobs / "sent.json"
    assert not kept.exists()
    kept.write_text(json.dumps({"since": time.time() - age, "sent": []}))
    kept.chmod(0o600)
    host.start()

    answer = host.get("/backup/download", "-H", "Range: bytes=10-")

    assert answer.status == (206 if age > 3600 else 200)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"since": 0, "sent": [7]}', b"[" * 100_000])
def test_whatever_is_in_the_note_of_what_was_sent_keeps_nobody_from_a_backup(host: Host, content: bytes) -> None:
    pack(host, b"first")
    host.stop()
    (host.appliance.jobs / "sent.json").write_bytes(content)
    host.start()

    answers = [host.get("/backup/download", "-H", f"Range: bytes={part}") for part in ("10-", "0-", "10-")]

    assert [each.status for each in answers] == [200, 206, 206]


def test_if_range_with_the_date_that_was_sent_decides(host: Host) -> None:
    pack(host, b"first")
    date = host.get("/backup/download").headers["Last-Modified"]
    before = format_datetime(parsedate_to_datetime(date) - timedelta(seconds=1), usegmt=True)

    answers = [
        host.get("/backup/download", "-H", "Range: bytes=5-", "-H", f"If-Range: {d}") for d in (date, before, "x")
    ]

    assert [each.status for each in answers] == [206, 200, 200]


@pytest.mark.parametrize("path", ["/backup/download", "/update/log"])
@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ("bytes=0-4", 206), ("BYTES=0-4", 206), ("bytes=0-4,", 206), ("bytes=-5", 206), ("bytes=0-", 206),
        ("bytes=3-99999999999999999999", 206), ("bytes=0-0,5-9", 200), ("lines=1-2", 200), ("bytes=5-2", 200),
        ("bytes=", 200), ("bytes=-", 200), ("bytes", 200), ("bytes = 0-4", 200), ("bytes=x-y", 200),
        ("bytes=0-4\r\nRange: bytes=5-9", 200), (f"bytes=0-{'9' * 5000}", 200), ("bytes=-0", 416),
        ("bytes=99999999999-", 416),
    ],
)  # fmt: skip
def test_one_range_of_bytes_counts_and_nothing_else(downloads: Host, path: str, wanted: str, status: int) -> None:
    header = [argument for each in wanted.split("\r\nRange: ") for argument in ("-H", f"Range: {each}")]

    answer = downloads.get(path, *header)

    assert answer.status == status


@pytest.fixture(scope="module")
def downloads(jidoteki_module_host: Host) -> Host:
    pack(jidoteki_module_host, b"first")
    (jidoteki_module_host.appliance.log / "update.log").write_text("0123456789\n")
    jidoteki_module_host.get("/backup/download")
    return jidoteki_module_host


def test_a_part_of_a_log_is_sent_only_of_what_if_range_names(downloads: Host) -> None:
    tag = downloads.get("/update/log").headers["Etag"]

    answers = [
        downloads.get("/update/log", "-H", "Range: bytes=2-", "-H", f"If-Range: {each}") for each in (tag, '"x"')
    ]

    assert [each.status for each in answers] == [206, 200]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Range: bytes=99999999-", 416),
        ('If-Match: "x"', 412),
        ("If-Unmodified-Since: Fri, 27 Nov 2009 16:00:00 GMT", 412),
    ],
)
@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_a_part_or_version_that_is_not_there_is_told_as_any_error(
    downloads: Host, tmp_path: Path, header: str, status: int, version: str
) -> None:
    began = time.monotonic()
    keep = ("-H", "Connection: keep-alive")

    assert (
        fetch(downloads, "/backup/download", tmp_path / "b", "-H", header, version, *keep, "-D", str(tmp_path / "h"))
        == 0
    )

    head = (tmp_path / "h").read_text()
    told = json.loads((tmp_path / "b").read_text())
    assert head.split()[1] == str(status) and told["Status"].startswith(f"{status} ")
    assert f"Error-Message: {told['Error-Message']}" in head and "Content-Type: application/json" in head
    assert "Content-Disposition" not in head
    assert time.monotonic() - began < 6


def test_who_has_all_of_it_is_told_so(host: Host, tmp_path: Path) -> None:
    assert fetch(host, "/logs", tmp_path / "whole") == 0
    size = (tmp_path / "whole").stat().st_size

    answer = host.get("/logs", "-H", f"Range: bytes={size}-")

    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{size}")
    content = (tmp_path / "whole").read_bytes()
    assert fetch(host, "/logs", tmp_path / "whole", "-C", "-") == 0
    assert (tmp_path / "whole").read_bytes() == content


def test_a_client_that_asks_for_the_beginning_gets_what_is_made_now(host: Host, tmp_path: Path) -> None:
    first = host.get("/logs")
    grow(host)

    answers = [host.get("/logs", "-H", f"Range: bytes={part}", source="127.0.0.3") for part in ("0-", "0-9")]

    assert [each.status for each in answers] == [206, 206]
    assert first.headers["Etag"] not in [each.headers["Etag"] for each in answers]
