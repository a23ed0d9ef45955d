"""The update job up to "verified and unpacked", beside the shell pipeline that does the same in sequence.

What is timed is the check of the real job, in the process of its own that a dry run gives it: from the start of that
process until what it unpacked is removed again, as the pipeline's is.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench import content, processes, servers
from bench.rows import Row, interleaved
from jidoteki.core.appliance import Appliance
from jidoteki.core.config import loading
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.plugin_manager import manager

MIB = 1024 * 1024
PIPELINE = """
set -e
openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -pass "file:$1/updates.key" -in "$2" | tar x
openssl dgst -sha256 -verify "$1/updates.pub" -signature software_package.tar.gz.sign software_package.tar.gz
mkdir unpacked
tar zxf software_package.tar.gz -C unpacked
rm -r unpacked software_package.tar.gz software_package.tar.gz.sign
"""
PACKING = """
set -e
tar czf software_package.tar.gz -C content .
openssl dgst -sha256 -sign "$1/private.pem" -out software_package.tar.gz.sign software_package.tar.gz
tar c software_package.tar.gz software_package.tar.gz.sign |
  openssl enc -aes-256-cbc -md sha256 -pbkdf2 -pass "file:$1/updates.key" -out package.enc
rm -r content software_package.tar.gz software_package.tar.gz.sign
"""
UNPACKED_BY_PACKED = 1.35


def rows(quick: bool) -> list[Row]:
    """Seconds, and the job's memory."""
    size, runs = (32 * MIB, 2) if quick else (512 * MIB, 5)
    memory: list[float] = []
    with servers.directory() as below:
        on = servers.appliance(below)
        package = make_package(below, on, int(size * UNPACKED_BY_PACKED))
        launcher = _launcher(on)
        order = {"package": str(package)}

        def ours() -> dict[str, float]:
            processes.settle()
            with processes.LargestChild() as child:
                began = time.perf_counter()
                outcome = launcher.check("update", order, 300)
                taken = time.perf_counter() - began
            if outcome["status"] != "success":
                raise AssertionError(outcome)
            memory.append(child.most / MIB)
            return {"s": taken}

        mine, its = interleaved(ours, lambda: _pipeline(below, on, package), runs)
        packed = package.stat().st_size // MIB
    name = f"update job, package of {packed} MiB"
    return [
        Row(name, "s", mine["s"], its["s"], "openssl | tar, openssl, tar", 0.45),
        Row(f"{name}, memory", "MiB", memory, [], "", 64),
    ]


def make_package(below: Path, on: Appliance, unpacked: int, version: str = "1.1.0") -> Path:
    """Make a package of about `unpacked` bytes of content; its `update.sh` does nothing."""
    directory = below / "content"
    directory.mkdir()
    (directory / "version.txt").write_text(f"{version}\n")
    (directory / "update.sh").write_text("#!/bin/sh\ntrue\n")
    content.write_image(directory, unpacked)
    subprocess.run(["sh", "-c", PACKING, "sh", on.root / "vendor"], cwd=below, check=True)
    return below / "package.enc"


def _launcher(on: Appliance) -> Launcher:
    config = loading.load(on.configuration)
    return Launcher(on, config, manager.load_all(on, config))


def _pipeline(below: Path, on: Appliance, package: Path) -> dict[str, float]:
    processes.settle()
    return {"s": processes.seconds(["sh", "-c", PIPELINE, "sh", on.etc, package], cwd=below)}
