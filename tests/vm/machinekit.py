"""Machines that qemu emulates, with a kernel and a disk of their own: for what a container cannot show.

A power cut is SIGKILL of qemu: what the guest's kernel had not given to its disk is gone. No acceleration is needed, so
that this runs on any machine; a boot takes half a minute.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from guestkit import ADMIN, SERVICE, TOKEN, CannotBootError, base, copied, enter

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import wait_until

PACKAGES: Final = ",linux-image-cloud-amd64,initramfs-tools,zstd,openssh-server"
NEEDED: Final = ("qemu-system-x86_64", "mke2fs", "e2fsck", "debugfs", "ssh", "ssh-keygen")
SIZE: Final = "3G"
BOOT_TIMEOUT: Final = 400.0
#: Says which boot this is.
BOOT: Final = "cat /proc/sys/kernel/random/boot_id"
#: Where each instruction is emulated, the kernel need not defend itself from its neighbours.
QUICK: Final = "mitigations=off nokaslr audit=0 nowatchdog"
NETWORK: Final = "[Match]\nName=e*\n[Network]\nDHCP=yes\n"
#: Puts settings into force, and says which.
NETWORK_SH: Final = f"#!/bin/sh\ncp $JIDO_ETC/network.conf {ADMIN}/log/in-force\n"


@dataclass(frozen=True, slots=True)
class Image:
    """What a machine starts with: its disk, and beside it `vmlinuz`, `initrd` and `key`."""

    disk: Path


def make_image(suite: str, directory: Path, deb: Path, vendor: Path) -> Image:
    """Make the disk of a machine with the product, provisioned and set up.

    :raises CannotBootError: it cannot be made here.
    """
    if missing := [program for program in NEEDED if not shutil.which(program, path="/usr/bin:/usr/sbin:/bin:/sbin")]:
        raise CannotBootError(f"needs {', '.join(missing)}")
    with copied(base(suite, "machine", PACKAGES)) as tree:
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key")
        _fill(tree, deb, vendor, (directory / "key.pub").read_text())
        for name in ("vmlinuz", "initrd"):
            (found,) = (tree / "boot").glob(f"{name}*")
            shutil.copy(found, directory / name)
        disk = directory / "disk"
        _run("truncate", "-s", SIZE, disk)
        _run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", tree, disk)
    return Image(disk)


def _fill(tree: Path, deb: Path, vendor: Path, public_key: str) -> None:
    for name, content in {
        "etc/systemd/network/20.network": NETWORK,
        "etc/fstab": "LABEL=root / ext4 defaults 0 1\n",
        "etc/initramfs-tools/conf.d/small": "MODULES=dep\nCOMPRESS=gzip\n",  # made within a minute here, too
        "root/.ssh/authorized_keys": public_key,
        "root/keys/updates.key": (vendor / "updates.key").read_text(),
        "root/keys/updates.pub": (vendor / "updates.pub").read_text(),
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
    (tree / "root/.ssh").chmod(0o700)
    (tree / "root/product.deb").write_bytes(deb.read_bytes())
    enter(tree, "dpkg", "-i", "/root/product.deb")
    enter(tree, "systemctl", "enable", "--quiet", "systemd-networkd", "ssh")
    enter(tree, "jidoteki", "provision", "--keys", "/root/keys")
    admin = tree / ADMIN.lstrip("/")
    (admin / "keys/backup.txt").write_text(".\n")
    (admin / "etc/api.token").write_text(TOKEN)
    (admin / "etc/api.token").chmod(0o600)
    (admin / "bin/network.sh").write_text(NETWORK_SH)
    (admin / "bin/network.sh").chmod(0o755)
    enter(tree, "chown", "jidoteki:", f"{ADMIN}/etc/api.token")
    configuration = tree / "usr/local/etc/jidoteki-admin-api.json"
    configuration.write_text(configuration.read_text().replace('"certs"', '"certs", "backup"'))


class Machine:
    """A machine on a disk of its own, which stays over power cuts.

    :param image: what its disk is a copy of.
    """

    def __init__(self, image: Image, directory: Path) -> None:
        self._place = image.disk.parent
        self._key = self._place / "key"
        self._disk = directory / "disk"
        self._console = directory / "console"
        _run("cp", "--sparse=always", image.disk, self._disk)
        self._process: subprocess.Popen[bytes] | None = None
        self._ssh, self._api = _free_port(), _free_port()
        #: How often it restarted itself.
        self.restarts = 0

    def boot(self) -> None:
        """Switch the power on, and wait until the service answers."""
        self._start()
        self.wait_until_it_serves()

    def go_on(self) -> None:
        """Wait until it serves, whatever happened to it before."""
        if self._process is None:
            self._start()
        self.wait_until_it_serves()

    def use_own_initrd(self) -> None:
        """Let it boot from now on with the kernel and the initial file system on its disk, while it is off."""
        checked = subprocess.run(["e2fsck", "-p", self._disk], capture_output=True, text=True, check=False)
        assert checked.returncode in (0, 1), checked.stdout  # as the kernel would: the journal is played back
        for name in ("vmlinuz", "initrd.img"):
            found = subprocess.run(
                ["debugfs", "-R", "ls -p /boot", self._disk], capture_output=True, text=True, check=True
            )
            (path,) = (each for each in found.stdout.split("/") if each.startswith(f"{name}-"))
            target = self._disk.with_name(name.removesuffix(".img"))
            _run("debugfs", "-R", f"dump /boot/{path} {target}", self._disk)
            assert target.stat().st_size
        self._place = self._disk.parent

    def _start(self) -> None:
        forward = ",".join(
            f"hostfwd=tcp:127.0.0.1:{ours}-:{theirs}" for ours, theirs in ((self._ssh, 22), (self._api, 8443))
        )
        argv: list[str | Path] = [
            "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", "q35", "-m", "1024", "-smp", "2",
            "-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-nodefaults", "-display", "none",
            "-serial", f"file:{self._console}",
            "-no-reboot", "-kernel", self._place / "vmlinuz", "-initrd", self._place / "initrd",
            "-append", f"root=LABEL=root rw console=ttyS0 quiet {QUICK}",
            "-drive", f"file={self._disk},format=raw,if=virtio,cache=writeback", "-device", "virtio-rng-pci",
            "-netdev", f"user,id=n,restrict=on,{forward}", "-device", "virtio-net-pci,netdev=n",
        ]  # fmt: skip
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def _go_on(self) -> None:
        """Start it again where it restarts itself: qemu ends then, which resets nothing but the whole machine."""
        if self._process and self._process.poll() is not None:
            assert self._process.returncode == 0
            self.restarts += 1
            self._start()

    def wait_until_it_serves(self) -> None:
        """Wait until the service answers, for example after a reboot."""
        try:
            wait_until(lambda: self.request("GET", "/version")[0] == 200, BOOT_TIMEOUT, 1)
        except AssertionError as error:
            raise AssertionError(f"It does not serve: {self._console.read_text(errors='replace')[-3000:]}") from error

    def cut(self) -> None:
        """Cut the power off."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def cut_and_boot(self) -> None:
        """Cut the power off, and switch it on again."""
        self.cut()
        self.boot()

    def request(self, method: str, path: str, *arguments: str) -> tuple[int, str]:
        """Make a request with curl from outside; return its status, 0 without an answer, and the body."""
        self._go_on()
        argv = self.curl(method, path, "-w", "\n%{http_code}", *arguments)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, errors="replace")
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def curl(self, method: str, path: str, *arguments: str, seconds: int = 120) -> list[str]:
        """Return the command of a request from outside."""
        options = ("-sk", "--max-time", str(seconds), "-X", method, "-H", f"Authorization: Bearer {TOKEN}")
        return ["curl", *options, *arguments, f"https://{self.address}{PREFIX}{path}"]

    @property
    def address(self) -> str:
        """Where the service is reached from outside."""
        return f"127.0.0.1:{self._api}"

    def json(self, path: str) -> Any:
        """Return the JSON of an answer."""
        return json.loads(self.request("GET", path)[1])

    def begin(self, path: str, *arguments: str) -> str:
        """Start a job and return its id."""
        status, body = self.request("POST", path, "-D", "/dev/stderr", *arguments)
        assert status == 202, body
        (last,) = self.json("/jobs?limit=1")["jobs"]
        return str(last["id"])

    def ended(self, id: str, seconds: float = 180) -> dict[str, Any]:
        """Return the record of a job once it has ended."""

        def record() -> Any:
            with suppress(ValueError):
                found = self.json(f"/jobs/{id}")
                return found if found.get("status") not in (None, "running") else None

        found: dict[str, Any] = wait_until(record, seconds, 0.2)
        return found

    def sh(self, script: str) -> str:
        """Run a shell script as root in the machine, and return what it says."""
        options = ("UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR", "ConnectTimeout=30")
        argv: list[str | Path] = ["ssh", "-i", self._key, "-p", str(self._ssh)]
        argv += [word for option in options for word in ("-o", option)]

        def done() -> subprocess.CompletedProcess[str] | None:
            self._go_on()
            ended = subprocess.run([*argv, "root@127.0.0.1", script], capture_output=True, text=True, check=False)
            return ended if ended.returncode != 255 else None  # while it boots

        ended = wait_until(done, BOOT_TIMEOUT, 2)
        assert ended.returncode == 0, f"{script}: {ended.stdout}{ended.stderr}"
        return str(ended.stdout)

    def restarted(self, before: int) -> None:
        """Wait until it has restarted itself once more than that, and serves."""
        wait_until(lambda: self.request("GET", "/version")[0] == 200 and self.restarts > before, BOOT_TIMEOUT, 1)

    def is_told(self, job_type: str, code: str, message: str) -> None:
        """Assert that a failure is told in all places but its record and its event."""
        assert code in self.request("GET", "/health")[1]
        assert f'"{job_type} {code}"' in self.sh(f"cat {ADMIN}/log/jidoteki-audit.log")
        assert message in self.sh(f"cat {ADMIN}/log/jidoteki-admin-api.log*")

    def journal(self) -> str:
        """Return what the journal has of the service."""
        return self.sh(f"journalctl --no-pager --boot --unit {SERVICE}")


@contextmanager
def running(image: Image, directory: Path) -> Iterator[Machine]:
    """Boot a machine, and switch it off afterwards."""
    machine = Machine(image, directory)
    try:
        machine.boot()
        yield machine
    finally:
        machine.cut()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _run(*argv: str | Path) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
