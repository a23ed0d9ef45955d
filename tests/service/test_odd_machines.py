"""Unusual machines: old kernels, containers, full and read-only file systems."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from namespaces import UNSHARE, mounted, needs_mounts

from jidoteki.core.appliance import Appliance
from jidoteki.core.http import tls
from jidoteki.core.service import health
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

#: Runs a program under a filter as container engines use, which fails pidfd_open with an error (seccomp(2)).
WITHOUT_PIDFD = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 434), (0x06, 0, 0, 0x00050000 | int(sys.argv[1])), (0x06, 0, 0, 0x7FFF0000)]
code = b"".join(struct.pack("HBBI", *each) for each in steps)
held = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(held)))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program)) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the number of the system call differs")
@pytest.mark.parametrize("number", [38, 1], ids=["ENOSYS", "EPERM"])
def test_jobs_end_without_pidfd_open(jidoteki_host: MakeHost, number: int) -> None:
    host = jidoteki_host(start=False).start(prefix=(sys.executable, "-c", WITHOUT_PIDFD, str(number)))

    logs = host.get("/logs", "--max-time", "20")
    begun = host.post("/backup", "-F", "action=START")
    ended = host.wait_for_job("/backup")
    stopped = host.post("/backup", "--max-time", "20", "-F", "action=STOP")

    assert (logs.status, begun.status, ended["status"], stopped.status) == (200, 202, "success", 202)


#: Runs a program without the sockets that tell of network interfaces, as `RestrictAddressFamilies=` of systemd does.
WITHOUT_NETLINK = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
steps = [
    (0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, 16), (0x06, 0, 0, 0x00050000 | 97),
    (0x06, 0, 0, 0x7FFF0000),
]
code = b"".join(struct.pack("HBBI", *each) for each in steps)
held = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(held)))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program)) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the number of the system call differs")
def test_a_certificate_is_made_where_the_addresses_are_hidden(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    shutil.rmtree(host.appliance.system_etc / "pki")

    host.start(prefix=(sys.executable, "-c", WITHOUT_NETLINK))

    assert host.get("/version").status == 200
    wait_until(lambda: "The addresses of this machine are not known" in host.errors())
    assert host.certificate.read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_no_fault_on_the_way_to_a_certificate_is_raised(
    jidoteki_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance = jidoteki_host(start=False).appliance
    shutil.rmtree(appliance.system_etc / "pki")

    def refuse(appliance: Appliance) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(tls, "make_self_signed", refuse)

    assert tls.Certificate(appliance).context()


MEMORY = "MemTotal:        1048576 kB\nMemFree:          524288 kB\nMemAvailable:     786432 kB\n"
MEMINFO = {
    "zero bytes behind": MEMORY + "SwapTotal: 0 kB\n" + "\0" * 500,
    "zero bytes before": "\0" * 500 + "\n" + MEMORY,
    "odd lines": "Mem\n:\nX: y kB\nNegative: -1 kB\nMany: 1 2 3 kB\n" + MEMORY + "Broken",
    "neither available nor cached": MEMORY.replace("MemAvailable", "MemElsewhere").replace("524288", "786432"),
    "more available than there is": MEMORY.replace("786432", "9999999999"),
}


@pytest.mark.parametrize("kind", MEMINFO)
def test_memory_is_measured_whatever_else_the_kernel_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO[kind])
    monkeypatch.setattr(health, "MEMINFO", tmp_path / "meminfo")

    used = 0 if "more" in kind else 256

    assert health.measure("/")["memory"] == {"used": f"{used}M", "total": "1024M", "percentage": used * 100 // 1024}


@pytest.mark.parametrize("content", ["", "\0" * 4096, MEMORY.replace("1048576", "0"), None])
def test_memory_is_measured_where_meminfo_does_not_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "meminfo").write_text(content)
    monkeypatch.setattr(health, "MEMINFO", tmp_path / "meminfo")

    memory = health.measure("/")["memory"]

    assert int(memory["total"].removesuffix("M")) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    assert 0 <= memory["percentage"] <= 100


def test_what_cannot_be_measured_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("nobody knows")

    monkeypatch.setattr(psutil, "getloadavg", fail)

    assert health.measure("/").keys() == {"disk", "memory"}
    assert health.measure("/nowhere").keys() == {"memory"}


@needs_mounts
def test_an_odd_measurement_does_not_freeze_the_figures(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False, health={"refresh": 0.3})
    meminfo = host.appliance.etc / "meminfo"
    meminfo.write_text(MEMORY + "\0" * 500)
    host.start(prefix=mounted(f"mount --bind '{meminfo}' /proc/meminfo"))

    for mebibytes in (1024, 2048, 4096):
        meminfo.write_text(MEMORY.replace("1048576", str(mebibytes * 1024)) + "\0" * 500)
        wait_until(lambda: host.get("/health").json["memory"]["total"] == f"{mebibytes}M")  # noqa: B023  # called at once

    assert (host.appliance.etc / "health.json").exists()


@needs_mounts
def test_without_proc_the_service_serves_and_says_what_is_missing(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False).start(prefix=mounted("mount -t tmpfs none /proc"))

    assert host.get("/version").status == 200
    assert {"disk", "memory"} <= host.get("/health").json.keys()
    assert host.post("/settings", "-F", 'settings={"app":{"a":1}}').status == 202
    wait_until(lambda: host.get("/settings").status == 200)
    logs = host.get("/logs")
    assert (logs.status, "/proc" in logs.json["Error-Message"]) == (503, True)
    wait_until(lambda: "/proc is not mounted" in host.errors())


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def end(host: Host, first: int, number: int = signal.SIGTERM) -> None:
    """End a service in a container: `unshare` itself handles no signals."""
    assert host.process
    os.kill(first, number)
    assert host.process.wait(20) == 0
    if host.process.stdout:
        host.process.stdout.close()
    host.process = None


ORPHANS = """
from pathlib import Path
import subprocess
from jidoteki.hookspecs import Endpoint, hookimpl

async def leave(request):
    subprocess.run(["sh", "-c", "sleep 0.5 & exit 0"])
    return {}

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/orphans", leave)]
"""


@needs_mounts
def test_process_1_sees_the_ends_of_orphans(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    (tmp_path / "orphans.py").write_text(ORPHANS)
    host = jidoteki_host((tmp_path / "orphans.py",), ("orphans",), start=False)
    host.start(prefix=(*UNSHARE, "--pid", "--fork", "--mount-proc", "--kill-child"))
    first = children(host.process.pid if host.process else 0)[0]

    for _ in range(3):
        assert host.post("/orphans").status == 200
    assert host.post("/settings", "-F", 'settings={"app":{"a":1}}').status == 202
    wait_until(lambda: host.get("/settings").status == 200)
    time.sleep(1)

    states = [Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2][0] for each in children(first)]
    assert len(states) == 1 and "Z" not in states
    end(host, first)


@needs_mounts
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_hands_signals_on_and_ends_as_the_service_does(jidoteki_host: MakeHost, number: int) -> None:
    host = jidoteki_host(start=False).start(prefix=(*UNSHARE, "--pid", "--fork", "--mount-proc", "--kill-child"))
    assert host.process
    log = host.appliance.log / "jidoteki-admin-api.log"
    first = children(host.process.pid)[0]

    os.kill(first, signal.SIGHUP)
    wait_until(lambda: "The configuration was read again" in log.read_text())
    end(host, first, number)

    assert "Ending: requests in flight" in log.read_text()


@needs_mounts
@pytest.mark.parametrize("how", ["read-only", "full"])
def test_the_first_start_succeeds_where_no_certificate_can_be_stored(jidoteki_host: MakeHost, how: str) -> None:
    host = jidoteki_host(start=False)
    etc = host.appliance.system_etc
    shutil.rmtree(etc / "pki")
    scripts = {
        "read-only": f"mount --bind '{etc}' '{etc}' && mount -o remount,bind,ro '{etc}'",
        "full": f"cp -a '{etc}' '{etc}.copy' && mount -t tmpfs -o size=64k none '{etc}'"
        f" && cp -a '{etc}.copy/.' '{etc}' && {{ head -c 100000 /dev/zero > '{etc}/filler'; true; }}",
    }
    host.start(prefix=mounted(scripts[how]))

    done = subprocess.run(
        ["curl", "-sSk", f"{host.url}/api/v1/admin/version{host.query('GET', '/version')}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "version" in done.stdout
    wait_until(lambda: "a temporary self-signed certificate is" in host.errors())


@needs_mounts
def test_without_an_inode_the_service_serves_and_says_so(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    root = host.appliance.root
    script = (
        f"cp -a '{root}' '{root}.copy' && mount -t tmpfs -o size=32m,nr_inodes=400 none '{root}'"
        f" && cp -a '{root}.copy/.' '{root}' && i=0"
        f" && {{ while touch '{root}'/fill$i 2> /dev/null; do i=$((i+1)); done; true; }}"
    )
    host.start(prefix=mounted(script))

    assert host.get("/version").status == 200
    assert host.get("/health").status == 200
    upload = host.post("/update", "-F", f"update=@{__file__}", query="dry-run=1")
    assert upload.json["Error-Message"] == "update cannot be stored: No space left on device"
    wait_until(lambda: "No inode is left" in host.errors())
