"""Guests: Debian systems that systemd-nspawn boots, with systemd as process 1, on any Linux and without a network.

The tree of each suite is made once, in build/vm, and copied for each guest. Whatever happens to the tests, no guest
outlives them: each is a part of a process namespace whose first process dies with the process that made it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from places import ROOT

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import wait_until

BUILT: Final = ROOT / "build/vm"
MEMORY: Final = Path("/dev/shm")
#: Bytes that a copy may need in memory.
ROOM: Final = 3 << 30
COPIES: Final = "jidoteki-guest-"
PACKAGES: Final = "systemd,systemd-sysv,dbus,polkitd,udev,iproute2,procps,ca-certificates,python3,openssl,curl,gnupg"
#: Of a tree that boots without systemd.
WITHOUT_SYSTEMD: Final = (
    "sysvinit-core,openrc,runit,iproute2,procps,ca-certificates,python3,openssl,curl,busybox-static"
)
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCES: Final = Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")
NEEDED: Final = ("systemd-nspawn", "mmdebstrap", "nsenter", "setpriv", "unshare", "dpkg-deb", "openssl")
PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NSPAWN: Final = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network")
#: Runs a program that ends with this process, and with all that it started, however that ends: in processes of its own.
NEVER_LEFT: Final = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--pid",
    "--mount-proc",
    "--fork",
    "--kill-child=KILL",
)
MINUTES: Final = 60.0
SERVICE: Final = "jidoteki-admin-api"
ADMIN: Final = "/opt/jidoteki/tinyadmin"
TOKEN: Final = "the-token"


class CannotBootError(Exception):
    """This machine cannot boot guests; the message says why."""


class Guest:
    """A machine that runs.

    :param tree: its root directory, as this machine sees it.
    """

    def __init__(self, tree: Path, console: Path, process: subprocess.Popen[bytes]) -> None:
        self.tree = tree
        self._console = console
        self._process = process
        self._first = 0

    def path(self, name: str) -> Path:
        """Return the place of a file of the guest; what it mounts (/run, /tmp, /dev) is not there."""
        return self.tree / name.lstrip("/")

    def run(
        self, *argv: str | Path, timeout: float = 60, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as root."""
        enter = (
            "nsenter",
            "-t",
            str(self._leader()),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-C",
            "-r",
            "-w",
            "env",
            "-i",
            PATH,
        )
        done = subprocess.run(
            [*enter, *argv], capture_output=True, text=True, timeout=timeout, input=input, check=False
        )
        if check:
            said = f"{shlex.join(map(str, argv))}: {done.stdout}{done.stderr}"
            assert done.returncode == 0, f"{said}\n{self.journal(30)}"
        return done

    def sh(self, script: str, timeout: float = 60, check: bool = True) -> str:
        """Run a shell script as root, and return what it says."""
        return self.run("bash", "-ec", script, timeout=timeout, check=check).stdout

    @property
    def network(self) -> tuple[str, ...]:
        """What runs a program of this machine in the guest's network."""
        return ("nsenter", "-t", str(self._leader()), "-n")

    def show(self, name: str) -> str:
        """Return a property of the service's unit."""
        return self.run("systemctl", "show", "--value", "--property", name, SERVICE).stdout.strip()

    @property
    def main_pid(self) -> int:
        """The service's process, by the guest's number, which is never 0."""
        pid = int(self.show("MainPID"))
        assert pid > 1, self.journal()
        return pid

    def journal(self, lines: int | str = "all") -> str:
        """Return what the journal has of the service, its last lines."""
        return self.run("journalctl", "--no-pager", "--unit", SERVICE, "--lines", str(lines), check=False).stdout

    def request(self, method: str, path: str, *arguments: str, token: str | None = TOKEN) -> tuple[int, str]:
        """Make a request with curl in the guest; return its status, 0 without an answer, and the body."""
        bearer = ("-H", f"Authorization: Bearer {token}") if token else ()
        url = f"https://127.0.0.1:8443{PREFIX}{path}"
        curl = ("curl", "-sk", "--max-time", "30", "-X", method, "-w", "\n%{http_code}", *bearer, *arguments, url)
        body, _, status = self.run(*curl, check=False).stdout.rpartition("\n")
        return int(status or 0), body

    def serves(self) -> bool:
        """Return whether the service answers."""
        return self.request("GET", "/version")[0] == 200

    def wait_for_job(self, path: str, seconds: float = 60) -> dict[str, Any]:
        """Ask for a job until it has ended, over restarts of the service, and return how."""

        def ended() -> dict[str, Any] | None:
            status, body = self.request("GET", path)
            said: dict[str, Any] = json.loads(body) if status == 200 else {"status": "running"}
            return said if said["status"] != "running" else None

        found: dict[str, Any] = wait_until(ended, seconds, 0.2)
        return found

    def wait_until_booted(self, wanted: tuple[str, ...]) -> None:
        """Wait until the system is in one of these states.

        :raises CannotBootError: the guest ended, or does not come up.
        """
        for _ in range(300):
            if self._process.poll() is not None:
                raise CannotBootError(f"systemd-nspawn ended: {self._console.read_text(errors='replace')[-2000:]}")
            # Before the guest has its own bus there is nobody to ask, and while it boots it is `starting`.
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip() if self._leader(0) else ""
            if state in wanted:
                return
            time.sleep(0.1)
        raise CannotBootError(f"The guest does not come up: {self._console.read_text(errors='replace')[-2000:]}")

    def is_there(self) -> bool:
        """Return whether it has a process 1."""
        return bool(self._leader(0))

    def _leader(self, must: int = 1) -> int:
        """Return this machine's number of the guest's process 1."""
        if not self._first:
            nspawn = _child(self._process.pid)
            first = nspawn and _child(nspawn)
            if first and Path(f"/proc/{first}/comm").read_text() in ("systemd\n", "init\n"):  # it has forked before
                self._first = first
        assert self._first or not must
        return self._first

    def power_off(self) -> None:
        """End the guest in order."""
        self.run("systemctl", "poweroff")
        self._process.wait(60)

    def cut(self) -> None:
        """End the guest at once."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def _child(pid: int) -> int:
    """Return a child of a process, or 0."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


@contextmanager
def booted(tree: Path, wait: bool = True, init: str = "--boot") -> Iterator[Guest]:
    """Boot a tree, and end the guest afterwards.

    :param wait: whether to wait until all units are started.
    :param init: what is process 1, if it is not systemd; there is nothing to wait for then.
    """
    console = tree.with_name(f"{tree.name}.console")
    # With control groups of version 2, and with a /tmp on disk, for that in memory is small.
    environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_TMPFS_TMP": "0"}
    with _control_group(tree.parent.name) as group, console.open("wb") as output:
        argv = (
            "sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', group, *NEVER_LEFT, *NSPAWN, "--directory", tree,
            "--machine", tree.parent.name, "--hostname=guest", "--console=pipe", init,
        )  # fmt: skip
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        guest = Guest(tree, console, process)
        try:
            if init == "--boot":
                guest.wait_until_booted(("running", "degraded") if wait else ("starting", "running", "degraded"))
            else:
                wait_until(guest.is_there)
            yield guest
        finally:
            guest.cut()


@contextmanager
def _control_group(name: str) -> Iterator[Path]:
    """Make a control group, for guests in the same one would end each other's services; remove it afterwards."""
    mounts = [
        line.split() for line in Path("/proc/self/mountinfo").read_text(errors="replace").rstrip("\n").split("\n")
    ]
    kinds = {Path(fields[4]): fields[fields.index("-") + 1] for fields in mounts}
    group = next((place / name for place, kind in kinds.items() if kind == "cgroup2"), None)
    if group is None:
        raise CannotBootError("there are no control groups of version 2")
    try:
        group.mkdir()
    except OSError as error:
        raise CannotBootError(f"{group} cannot be made: {error.strerror}") from error
    try:
        yield group
    finally:
        wait_until(lambda: "populated 0" in (group / "cgroup.events").read_text())
        for place in (place for place, kind in kinds.items() if kind in ("cgroup", "cgroup2")):
            inner = sorted((path for path in (place / name).rglob("*") if path.is_dir()), reverse=True)
            for each in (*inner, place / name):
                with suppress(FileNotFoundError):
                    each.rmdir()


@contextmanager
def copied(base: Path) -> Iterator[Path]:
    """Copy a tree, and remove the copy afterwards: in memory where there is room, which is many times faster."""
    place = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else BUILT
    _clear(place)
    directory = place / f"{COPIES}{secrets.token_hex(8)}"
    directory.mkdir(mode=0o755)
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["cp", "-a", "--reflink=auto", base, directory / "root"], check=True)
        yield directory / "root"
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _clear(place: Path) -> None:
    """Remove the copies of tests that were killed: nobody has their locks."""
    for directory in place.glob(f"{COPIES}*"):
        with suppress(OSError):
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory)
            finally:
                os.close(lock)


def probed(tree: Path) -> Path:
    """Return a tree that boots.

    :raises CannotBootError: it does not.
    """
    with copied(tree) as copy, booted(copy):
        return tree


def enter(tree: Path, *argv: str | Path) -> str:
    """Run a program in a tree that is not booted, as the build of an image does, without a network."""
    nspawn = (
        "systemd-nspawn",
        "--quiet",
        "--directory",
        str(tree),
        "--register=no",
        "--keep-unit",
        "--private-network",
    )
    done = subprocess.run([*nspawn, "--pipe", *argv], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def base(suite: str, name: str = "base", also: str = "", packages: str = PACKAGES) -> Path:
    """Return the tree of a suite, made at the first time from the mirror that this machine's apt uses.

    :param name: of a tree with further packages.
    :param also: those, behind commas.
    :param packages: what all trees of one kind have.
    :raises CannotBootError: it cannot be made here.
    """
    missing = [program for program in NEEDED if not shutil.which(program)]
    if os.geteuid() != 0 or missing:
        raise CannotBootError(f"needs root, and: {', '.join(missing) or 'nothing else'}")
    BUILT.mkdir(parents=True, exist_ok=True)
    tree = BUILT / f"{name}-{suite}-{hashlib.sha256(packages.encode()).hexdigest()[:8]}"
    with (BUILT / f"{name}-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (tree / "usr").exists():
            _make_base(suite, tree, packages + also)
    return tree


def _make_base(suite: str, tree: Path, packages: str) -> None:
    partial = tree.with_name(f"{tree.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    source = f"deb [signed-by={KEYRING}] {_mirror()} {suite} main"
    options = ("--quiet", "--variant=minbase", *_apt_options(), f"--include={packages}")
    argv = ("mmdebstrap", *options, suite, str(partial), source)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=15 * MINUTES, check=False)
    if done.returncode:
        raise CannotBootError(f"mmdebstrap failed: {done.stderr[-2000:]}")
    partial.rename(tree)


def _mirror() -> str:
    """Return the first mirror in apt's configuration."""
    for file in filter(Path.is_file, SOURCES):
        for line in file.read_text().splitlines():
            words = line.split()
            if words[:1] == ["URIs:"] and len(words) > 1:
                return words[1]
            if words[:1] == ["deb"] and (found := [each for each in words if "://" in each]):
                return found[0]
    raise CannotBootError("apt has no mirror of Debian here")


def _apt_options() -> list[str]:
    """Return what this machine's apt says about proxies and the age of its mirror, for mmdebstrap's."""
    said = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False).stdout
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check-")
    return [
        f"--aptopt={line.rstrip(';')}" for line in said.splitlines() if line.startswith(wanted) and '""' not in line
    ]
