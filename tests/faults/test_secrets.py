"""Planted secrets: in no log, response, process list, bundle, core dump or world-readable file."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import threading
import time
from pathlib import Path

import pytest
from faultkit import Tally, ask, multipart
from jobcases import case_of, certificate, settings_form, start, wait_for_the_last

from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.credentials import request_hash
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost

PASSWORD = "planted-iscsi-password-4711"
WRONG = "planted-wrong-token-4712"
REFUSED = "planted refused token 4713"
NEW_TOKEN = "planted-new-token-4714"
ISCSI = {
    "storage": {
        "type": "iscsi", "target": "iqn.2016-01.com.example:storage.lun1", "ip": "192.168.1.100",
        "username": "user", "password": PASSWORD,
    }
}  # fmt: skip


class ProcessList:
    """Everything that other users could see of the host and its children while something happens."""

    def __init__(self, host: Host) -> None:
        assert host.process
        self.seen: set[bytes] = set()
        self.limits: set[str] = set()
        self._session = host.process.pid
        self._root = str(host.appliance.root).encode()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._stop.is_set():
            for name in filter(str.isdecimal, os.listdir("/proc")):
                self._read(Path("/proc", name))
            time.sleep(0.005)

    def _read(self, process: Path) -> None:
        try:
            environment = process.joinpath("environ").read_bytes()
            line = process.joinpath("cmdline").read_bytes()
            if self._root in environment or self._root in line:
                self.seen.update((line, environment))
                limits = process.joinpath("limits").read_text().splitlines()
                self.limits.update(each for each in limits if "core" in each and b"jidoteki" in line)
        except OSError:
            pass

    def __enter__(self) -> ProcessList:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    """A host that was started where everybody may read what is made."""
    host = jidoteki_host(start=False)
    (host.appliance.etc / "logs.txt").write_text("/var/log/*.nothing\n")
    (host.appliance.etc / "debug.txt").write_text("ps axeww\nenv\n")
    storage = {"options": ["local", "iscsi"]}
    host.appliance.replace_file(host.appliance.system_etc / "storage-options.json", json.dumps(storage))
    before = os.umask(0)
    try:
        return host.start("--debug")
    finally:
        os.umask(before)


def secrets_of(host: Host) -> list[bytes]:
    appliance = host.appliance
    _, key = certificate(appliance.root, "new.example")
    return [
        TOKEN.encode(), WRONG.encode(), REFUSED.encode(), NEW_TOKEN.encode(), PASSWORD.encode(),
        request_hash("GET", f"{PREFIX}/version", TOKEN).encode(),
        request_hash("POST", f"{PREFIX}/storage", TOKEN).encode(),
        key.splitlines()[1],
        (appliance.system_etc / "pki/tls/private/enterprise.key").read_bytes().splitlines()[1],
        (appliance.etc / "updates.key").read_bytes().strip(),
    ]  # fmt: skip


def exercise(host: Host) -> list[bytes]:
    """Use every secret, rightly and wrongly, and return all that was answered."""
    answers = []

    def note(method: str, path: str, query: str, form: tuple[bytes, dict[str, str]] | None = None, **more: str) -> None:
        body, headers = form or (None, {})
        reply = ask(host, method, path, query, headers, body, **more)
        answers.append(repr(reply.headers).encode() + reply.body)

    signed = host.query("POST", "/storage")[1:]
    note("GET", "/version", f"token={TOKEN}")
    note("GET", "/version", host.query("GET", "/version")[1:])
    note("GET", "/version", f"token={WRONG}", source="127.0.0.21")
    note("GET", "/nothing", f"token={WRONG}")
    note("GET", "/version", f"hash={WRONG}", source="127.0.0.22")
    note("POST", "/setup", f"token={TOKEN}", multipart(("newtoken", REFUSED.encode()), files=False))
    note("POST", "/storage", signed, settings_form(ISCSI))
    wait_for_the_last(host, "storage")
    note("POST", "/storage", signed, settings_form({"storage": {**ISCSI["storage"], "target": "bad target"}}))
    note("GET", "/storage", f"token={TOKEN}")
    start(host, case_of("certs"))
    wait_for_the_last(host, "certs")
    start(host, case_of("update"))
    wait_for_the_last(host, "update")
    for path in ("/update", "/update/log", "/certs", "/settings", "/endpoints", "/build", "/health", "/license"):
        note("GET", path, f"token={TOKEN}")
    bundle = ask(host, "GET", "/logs", f"token={TOKEN}").body
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member) if member.isfile() else None
            answers.append(member.name.encode() + (file.read() if file else b""))
    note("GET", "/debug", f"token={TOKEN}")
    return answers


def test_no_secret_leaves_the_host(host: Host, tally: Tally) -> None:
    secrets = secrets_of(host)
    with ProcessList(host) as processes:
        answers = exercise(host)
        new, headers = multipart(("newtoken", NEW_TOKEN.encode()), files=False)
        changed = ask(host, "POST", "/setup", f"token={TOKEN}", headers, new)
    assert changed.status == 200
    host.stop()

    logs = [path.read_bytes() for path in host.appliance.log.rglob("*") if path.is_file()]
    records = [path.read_bytes() for path in host.appliance.jobs.iterdir() if path.is_file()]
    status = [path.read_bytes() for path in host.appliance.etc.glob("status*")]
    places = {
        "a response": answers, "a log": [*logs, host.errors().encode()], "a job's record": records,
        "a status file": status, "the process list": list(processes.seen),
    }  # fmt: skip
    assert all(places.values()), "nothing was looked at"
    for number, secret in enumerate(secrets):
        for place, contents in places.items():
            tally.case(not any(secret in each for each in contents), f"secret {number} {secret!r} is in {place}")
    for line in processes.limits:
        tally.case(line.split()[4:6] == ["0", "0"], f"a core dump may be written: {line}")
    assert processes.limits
    assert tally.failed == []


def test_no_secret_lies_in_a_file_that_others_may_read(host: Host, tally: Tally) -> None:
    exercise(host)
    new, headers = multipart(("newtoken", NEW_TOKEN.encode()), files=False)
    ask(host, "POST", "/setup", f"token={TOKEN}", headers, new)
    secrets = [each for each in secrets_of(host) if each != TOKEN.encode()]
    appliance = host.appliance

    for top in (appliance.admin, appliance.system_etc):
        for path in top.rglob("*"):
            mode = path.lstat().st_mode
            tally.case(stat.S_ISLNK(mode) or not mode & 0o022, f"{path} may be written by others: {oct(mode)}")
            if stat.S_ISREG(mode) and mode & 0o044 and not _is_closed(path, appliance.root):
                content = path.read_bytes()
                tally.case(not any(each in content for each in secrets), f"{path} may be read by others")
    assert tally.failed == []


def _is_closed(path: Path, root: Path) -> bool:
    """Whether a directory above keeps others out."""
    return any(not each.stat().st_mode & 0o011 for each in path.parents if each.is_relative_to(root))
