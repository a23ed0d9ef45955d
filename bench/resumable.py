"""An upload that can be resumed, to the answer of the update that it is for, beside the same package in a form."""

from __future__ import annotations

import re
import time

from bench import servers
from bench.processes import begin_peak, peak, pid_of, settle
from bench.rows import Row, interleaved
from bench.upload import MIB, post_package, send
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host

TUS = "Tus-Resumable: 1.0.0\r\n"
MEDIA = "application/offset+octet-stream"


def rows(quick: bool) -> list[Row]:
    """MB/s to the answer, and by how much the service's memory grows meanwhile."""
    size, runs = (64 * MIB, 3) if quick else (1024 * MIB, 5)
    grown: list[float] = []
    with servers.directory() as below:
        with servers.service(servers.appliance(below), endpoints=["uploads"]) as host:

            def resumable() -> dict[str, float]:
                settle()
                pid = pid_of(host)
                before = begin_peak(pid)
                began = time.perf_counter()
                _upload(host, size)
                taken = time.perf_counter() - began
                grown.append((peak(pid) - before) / MIB)
                servers.wait_for_job(host, "update", 60)  # which refuses what is no package, and removes it
                return {"rate": size / taken / 1e6}

            def plain() -> dict[str, float]:
                settle()
                taken = post_package(host, size)
                servers.wait_for_job(host, "update", 60)
                return {"rate": size / taken / 1e6}

            mine, its = interleaved(resumable, plain, runs)
    name = f"resumable upload, {size // MIB} MiB, TLS"
    return [
        Row(name, "MB/s", mine["rate"], its["rate"], "in the form", 0.9, at_least=True),
        Row(f"{name}, memory grows", "MiB", grown, [], "", 16),
    ]


def _upload(host: Host, size: int) -> None:
    port = servers.place(host).tls_port
    target = f"{PREFIX}/uploads{host.query('POST', '/uploads')}"
    _, begun = send("POST", port, target, f"{TUS}Upload-Length: {size}\r\n", b"", 0, b"")
    found = re.search(rb"uploads/([0-9a-f]{32})", begun)
    if found is None:
        raise AssertionError(begun)
    id = found[1].decode()
    target = f"{PREFIX}/uploads/{id}{host.query('PATCH', f'/uploads/{id}')}"
    _, sent = send("PATCH", port, target, f"{TUS}Upload-Offset: 0\r\nContent-Type: {MEDIA}\r\n", b"", size, b"")
    form = f"update=upload:{id}".encode()
    target = f"{PREFIX}/update{host.query('POST', '/update')}"
    kind = "Content-Type: application/x-www-form-urlencoded\r\n"
    _, started = send("POST", port, target, kind, form, 0, b"")
    if sent[9:12] != b"204" or started[9:12] != b"202":
        raise AssertionError((sent, started))
