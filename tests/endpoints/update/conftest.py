"""Packages made with the real `tar` and `openssl`, and a job to install them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import scripts
from jidoteki.testing import FakeJob


def run(*argv: str | Path, **options: Any) -> bytes:
    """Run a program that must succeed, and return its output."""
    return bytes(subprocess.run([str(each) for each in argv], check=True, capture_output=True, **options).stdout)


class Vendor:
    """A vendor, with a directory of keys."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.private, self.public = directory / "private.pem", directory / "updates.pub"
        self.key = directory / "updates.key"
        run("openssl", "genrsa", "-out", self.private, "2048")
        run("openssl", "rsa", "-in", self.private, "-pubout", "-out", self.public)
        self.key.write_bytes(run("openssl", "rand", "-hex", "32"))

    def archive(self, work: Path, files: Mapping[str, str]) -> Path:
        """Pack files as `software_package.tar.gz`; those that begin with `#!` are executable."""
        source = work / "source"
        source.mkdir(parents=True)
        for name, content in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(content)
            (source / name).chmod(0o755 if content.startswith("#!") else 0o644)
        run("tar", "-C", source, "-czf", work / "software_package.tar.gz", ".")
        return work / "software_package.tar.gz"

    def sign(self, archive: Path) -> Path:
        """Sign an archive as a vendor does."""
        signature = archive.with_name(f"{archive.name}.sign")
        run("openssl", "dgst", "-sha256", "-sign", self.private, "-out", signature, archive)
        return signature

    def seal(self, archive: Path, signature: Path, *options: str) -> bytes:
        """Encrypt an archive together with its signature."""
        outer = run("tar", "-C", archive.parent, "-cf", "-", archive.name, signature.name)
        return self.encrypt(outer, *options)

    def encrypt(self, content: bytes, *options: str) -> bytes:
        """Encrypt anything as a package is."""
        derivation = options or ("-md", "sha256", "-pbkdf2")
        cipher = () if any(each.startswith("-aes-") for each in derivation) else ("-aes-256-cbc",)
        return run("openssl", "enc", *cipher, *derivation, "-pass", f"file:{self.key}", input=content)

    def package(self, work: Path, files: Mapping[str, str], *options: str) -> bytes:
        """Make a complete package."""
        archive = self.archive(work, files)
        return self.seal(archive, self.sign(archive), *options)


class UpdateJob(FakeJob):
    """A job that really runs its scripts."""

    @property
    def steps(self) -> list[int]:
        """Return the distinct percentages in order."""
        return list(dict.fromkeys(self.percentages))

    def script(
        self,
        path: Path,
        *arguments: str,
        timeout: float,
        cwd: Path | None = None,
        umask: int = 0o022,
        env: Mapping[str, str] | None = None,
        listen: Callable[[bytes], None] | None = None,
    ) -> int:
        environment = {"PATH": "/usr/bin:/bin", "JIDO_ADMIN_PATH": str(self.appliance.admin), **(env or {})}
        argv = [*scripts.command_of(path), *arguments]
        ran = subprocess.run(
            argv, timeout=timeout, cwd=cwd, env=environment, umask=umask, capture_output=True, check=False
        )
        self.lines += ran.stdout.decode().splitlines()
        if listen:
            listen(ran.stdout)
        return ran.returncode


@pytest.fixture(scope="session")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    """Return the vendor whose packages the appliance accepts."""
    return Vendor(tmp_path_factory.mktemp("vendor") / "keys")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    """Return another vendor, with other keys."""
    return Vendor(tmp_path_factory.mktemp("stranger") / "keys")


@pytest.fixture
def appliance(tmp_path: Path, vendor: Vendor) -> Appliance:
    """Return an appliance at version 1.0.0 that accepts the vendor's packages."""
    root = tmp_path / "root"
    made = Appliance(root, root / "opt/jidoteki/tinyadmin")
    made.prepare()
    shutil.copy(vendor.key, made.etc)
    shutil.copy(vendor.public, made.etc)
    (made.etc / "version.txt").write_text("1.0.0\n")
    return made


@pytest.fixture
def new_job(appliance: Appliance, tmp_path: Path) -> Callable[..., UpdateJob]:
    """Return a function that makes update jobs; its argument is the package passed to the job, if any."""

    def make(package: Path | None = None) -> UpdateJob:
        workspace = tmp_path / f"work-{len(list(tmp_path.glob('work-*')))}"
        workspace.mkdir(mode=0o700)
        return UpdateJob(appliance, {"package": str(package)} if package else {}, workspace)

    return make


@pytest.fixture
def drop(appliance: Appliance) -> Callable[..., Path]:
    """Return a function that puts a package into the uploads directory."""

    def put(content: bytes, name: str = "software_package-1.enc") -> Path:
        path = appliance.uploads / name
        path.write_bytes(content)
        return path

    return put
