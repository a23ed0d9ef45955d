"""Update packages: the good ones are taken, all others are refused before anything of them is unpacked."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jidoteki.core.archives.unpacking import Policy
from jidoteki.core.endpoints.update import encryption_guesses, package
from jidoteki.core.endpoints.update.build import build_package
from jidoteki.core.endpoints.update.package import PackageError
from jidoteki.core.endpoints.update.versions import VersionError

FILES = {"version.txt": "1.1.0\n", "update.sh": "#!/bin/sh\necho hello\n", "files/data": "x" * 20_000}
POLICY = Policy.update(max_size=1 << 30, max_members=1000, free_space=0)
FLIPS = int(os.environ.get("JIDOTEKI_TEST_BIT_FLIPS", "60"))

Take = Callable[..., Path]


@pytest.fixture(scope="session")
def good(vendor: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bytes(vendor.package(tmp_path_factory.mktemp("good"), FILES))


@pytest.fixture
def take(vendor: Any, tmp_path: Path) -> Take:
    """Return a function that does all that is done before `update.sh`, and returns where the package was unpacked."""
    work = tmp_path / "work"
    work.mkdir()

    def take_one(content: bytes, etc: Path = vendor.directory, legacy: bool = False) -> Path:
        keys = package.load_keys(etc)
        decrypted = package.decrypt(io.BytesIO(content), keys, work, legacy=legacy)
        package.verify(decrypted, keys)
        (work / "package").mkdir()
        package.unpack(decrypted.archive, work / "package", POLICY)
        return work / "package"

    return take_one


def outer(*members: tuple[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def test_a_package_made_with_openssl_and_tar_is_taken(take: Take, good: bytes) -> None:
    unpacked = take(good)

    assert (unpacked / "version.txt").read_text() == "1.1.0\n"
    assert (unpacked / "files/data").read_text() == "x" * 20_000
    assert os.access(unpacked / "update.sh", os.X_OK)


def test_the_signature_may_come_first(take: Take, vendor: Any, tmp_path: Path) -> None:
    archive = vendor.archive(tmp_path / "made", FILES)
    signature = vendor.sign(archive)

    content = vendor.encrypt(outer((signature.name, signature.read_bytes()), (archive.name, archive.read_bytes())))

    assert take(content).exists()


@pytest.mark.parametrize("format", ["gnu", "ustar", "pax", "v7"])
def test_every_format_of_tar_is_taken(take: Take, vendor: Any, tmp_path: Path, format: str) -> None:
    archive = vendor.archive(tmp_path / "made", FILES)
    argv = ["tar", f"--format={format}", "-C", archive.parent, "-cf", "-", f"./{archive.name}"]
    plain = subprocess.run([*argv, vendor.sign(archive).name], check=True, capture_output=True).stdout

    assert take(vendor.encrypt(plain)).exists()


def test_a_legacy_package_is_refused_unless_it_is_allowed(take: Take, vendor: Any, tmp_path: Path) -> None:
    content = vendor.package(tmp_path / "made", FILES, "-md", "md5")

    with pytest.raises(PackageError, match="-md md5"):
        take(content)
    assert take(content, legacy=True).exists()


def test_a_modern_package_is_taken_where_legacy_ones_are_allowed(take: Take, good: bytes) -> None:
    assert take(good, legacy=True).exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-md", "sha256"), "-aes-256-cbc -md sha256 without -pbkdf2"),
        (("-md", "sha512"), "-aes-256-cbc -md sha512 without -pbkdf2"),
        (("-md", "sha512", "-pbkdf2"), "-aes-256-cbc -md sha512 -pbkdf2"),
        (("-md", "sha256", "-pbkdf2", "-iter", "100000"), "-aes-256-cbc -md sha256 -pbkdf2 -iter 100000"),
        (("-aes-128-cbc", "-md", "sha256", "-pbkdf2"), "-aes-128-cbc -md sha256 -pbkdf2"),
        (("-aes-256-ctr", "-md", "sha256", "-pbkdf2"), "-aes-256-ctr -md sha256 -pbkdf2"),
        (("-md", "sha512", "-iter", "100000"), "-aes-256-cbc -md sha512 -pbkdf2 -iter 100000"),
        (("-iter", "5000"), "-aes-256-cbc -md sha256 -pbkdf2 -iter 5000"),
        (("-md", "sha384", "-pbkdf2"), "-aes-256-cbc -md sha384 -pbkdf2"),
        (("-aes-256-ecb", "-pbkdf2"), "-aes-256-ecb -md sha256 -pbkdf2"),
        (("-camellia-256-cbc", "-pbkdf2"), "-camellia-256-cbc -md sha256 -pbkdf2"),
        (("-des3", "-md", "sha256", "-pbkdf2"), "-des-ede3-cbc -md sha256 -pbkdf2"),
        (("-chacha20", "-md", "sha256", "-pbkdf2"), "-chacha20 -md sha256 -pbkdf2"),
        (("-a", "-md", "sha256", "-pbkdf2"), "leave out -a"),
    ],
)
def test_the_options_of_openssl_that_made_a_package_are_told(
    take: Take, vendor: Any, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    content = vendor.package(tmp_path / "made", FILES, *options)

    with pytest.raises(PackageError) as refused:
        take(content)

    assert told in str(refused.value)


def test_a_gzip_file_in_the_place_of_the_tar_archive_is_told(take: Take, vendor: Any, tmp_path: Path) -> None:
    archive = vendor.archive(tmp_path / "made", FILES)

    with pytest.raises(PackageError, match="is a gzip file, and should be a plain tar archive"):
        take(vendor.encrypt(archive.read_bytes()))


@pytest.mark.parametrize("tenth", range(10))
def test_a_truncated_package_is_refused(take: Take, good: bytes, tmp_path: Path, tenth: int) -> None:
    with pytest.raises(PackageError):
        take(good[: len(good) * tenth // 10])

    assert not (tmp_path / "work/package").exists()


def test_a_package_cut_off_at_any_4_kib_is_refused(vendor: Any, take: Take, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(256 * 1024).hex()
    whole = vendor.package(tmp_path / "whole", {**FILES, "files/data": content})
    places = range(4096, len(whole), 4096)

    accepted = []
    for place in places:
        with contextlib.suppress(PackageError):
            take(whole[:place])
            accepted.append(place)
        (tmp_path / "work/software_package.tar.gz").unlink(missing_ok=True)

    assert len(places) > 60
    assert accepted == []
    assert not (tmp_path / "work/package").exists()


@pytest.mark.parametrize("missing", [1, 15, 16, 17, 512, 1024, 4096])
def test_a_package_without_its_very_end_is_refused(take: Take, good: bytes, tmp_path: Path, missing: int) -> None:
    with pytest.raises(PackageError, match="cut off"):
        take(good[:-missing])

    assert not (tmp_path / "work/package").exists()


@pytest.mark.parametrize("number", range(FLIPS))
def test_a_package_with_one_bit_flipped_is_refused(take: Take, good: bytes, tmp_path: Path, number: int) -> None:
    place = random.Random(number).randrange(len(good) * 8)
    damaged = bytearray(good)
    damaged[place // 8] ^= 1 << place % 8

    with pytest.raises(PackageError):
        take(bytes(damaged))

    assert not (tmp_path / "work/package").exists()


@pytest.mark.parametrize("content", [b"", b"Salted__", b"\x1f\x8b" + bytes(1000), b"hello"])
def test_what_is_no_package_is_told_so(take: Take, content: bytes) -> None:
    with pytest.raises(PackageError, match="not a file that was encrypted"):
        take(content)


def test_a_package_encrypted_with_another_key_is_refused(
    take: Take, vendor: Any, stranger: Any, tmp_path: Path
) -> None:
    archive = vendor.archive(tmp_path / "made", FILES)

    with pytest.raises(PackageError, match="another passphrase"):
        take(stranger.seal(archive, vendor.sign(archive)))


def test_a_package_signed_by_somebody_else_is_refused(take: Take, vendor: Any, stranger: Any, tmp_path: Path) -> None:
    archive = vendor.archive(tmp_path / "made", FILES)

    with pytest.raises(PackageError, match="signature is not valid"):
        take(vendor.seal(archive, stranger.sign(archive)))


def test_the_signature_of_another_package_is_refused(take: Take, vendor: Any, tmp_path: Path) -> None:
    archive = vendor.archive(tmp_path / "made", FILES)
    other = vendor.sign(vendor.archive(tmp_path / "other", {"version.txt": "1.1.1"}))
    signature = Path(shutil.copy(other, archive.parent))

    with pytest.raises(PackageError, match="signature is not valid"):
        take(vendor.seal(archive, signature))


ARCHIVE, SIGNATURE = (package.ARCHIVE, b"archive"), (package.SIGNATURE, b"signature")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((), "no software_package.tar.gz in it"),
        ((ARCHIVE,), "no software_package.tar.gz.sign in it"),
        ((SIGNATURE,), "no software_package.tar.gz in it"),
        ((ARCHIVE, SIGNATURE, ("more", b"")), "'more' is neither"),
        ((ARCHIVE, SIGNATURE, ARCHIVE), "comes twice"),
        ((SIGNATURE, SIGNATURE, ARCHIVE), "comes twice"),
        ((("/" + package.ARCHIVE, b""), SIGNATURE), "is neither"),
        ((("../" + package.ARCHIVE, b""), SIGNATURE), "is neither"),
        ((ARCHIVE, (package.SIGNATURE, b"x" * 8193)), "longer than 8192 bytes"),
        ((("x\x1b[2J\n" * 100, b""),), r"'x\\x1b\[2J\\n"),
    ],
)
def test_anything_but_an_archive_and_its_signature_is_refused(
    take: Take, vendor: Any, members: tuple[tuple[str, bytes], ...], reason: str
) -> None:
    with pytest.raises(PackageError, match=reason):
        take(vendor.encrypt(outer(*members)))


@pytest.mark.parametrize("place", [30, 170, 320, 400, 505])
def test_a_header_with_something_where_nothing_belongs_is_refused(take: Take, vendor: Any, place: int) -> None:
    plain = bytearray(outer(ARCHIVE, SIGNATURE))
    plain[place] = 1
    plain[148:156] = b" " * 8
    plain[148:156] = b"%06o\0 " % sum(plain[:512])

    with pytest.raises(PackageError, match="damaged header"):
        take(vendor.encrypt(bytes(plain)))


@pytest.mark.parametrize("name", ["updates.key", "updates.pub"])
def test_a_missing_key_is_named(vendor: Any, tmp_path: Path, name: str) -> None:
    etc = Path(shutil.copytree(vendor.directory, tmp_path / "etc"))
    (etc / name).unlink()

    with pytest.raises(PackageError, match=f"has no {name}"):
        package.load_keys(etc)


@pytest.mark.parametrize(("name", "content"), [("updates.key", ""), ("updates.pub", "rubbish")])
def test_a_key_that_makes_no_sense_is_named(vendor: Any, tmp_path: Path, name: str, content: str) -> None:
    etc = Path(shutil.copytree(vendor.directory, tmp_path / "etc"))
    (etc / name).write_text(content)

    with pytest.raises(PackageError, match=f"{name} cannot be used"):
        package.load_keys(etc)


def test_a_signed_archive_that_is_no_gzip_is_refused(take: Take, vendor: Any, tmp_path: Path) -> None:
    archive = tmp_path / package.ARCHIVE
    archive.write_bytes(b"rubbish" * 1000)

    with pytest.raises(PackageError, match="not compressed with gzip"):
        take(vendor.seal(archive, vendor.sign(archive)))


def test_a_signed_archive_whose_compressed_data_end_early_is_refused(take: Take, vendor: Any, tmp_path: Path) -> None:
    archive = vendor.archive(tmp_path / "made", FILES)
    archive.write_bytes(archive.read_bytes()[:-9])

    with pytest.raises(PackageError, match="compressed data end too early"):
        take(vendor.seal(archive, vendor.sign(archive)))


def test_a_package_that_would_fill_the_disk_is_refused_before_it_is_written(
    vendor: Any, good: bytes, tmp_path: Path
) -> None:
    with pytest.raises(PackageError, match="bytes of disk free"):
        package.decrypt(io.BytesIO(good), package.load_keys(vendor.directory), tmp_path, free_space=1 << 60)

    assert not any(tmp_path.iterdir())


def test_a_large_package_takes_little_memory(vendor: Any, tmp_path: Path) -> None:
    """256 MiB of zeros and as much again of what does not compress well."""
    source = tmp_path / "made/source"
    source.mkdir(parents=True)
    (source / "random").write_bytes(random.Random(1).randbytes(1 << 20) * 64)
    with (source / "zeros").open("wb") as file:
        file.truncate(192 << 20)
    archive = tmp_path / "made" / package.ARCHIVE
    subprocess.run(f"tar -C {source} -c . | gzip -1 > {archive}", shell=True, check=True)
    (tmp_path / "p.enc").write_bytes(vendor.seal(archive, vendor.sign(archive)))
    (tmp_path / "work/package").mkdir(parents=True)
    script = """if True:
        import resource, sys
        from pathlib import Path
        from jidoteki.core.archives.unpacking import Policy
        from jidoteki.core.endpoints.update import package
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        keys, work = package.load_keys(Path(sys.argv[1])), Path(sys.argv[2])
        with open(sys.argv[3], "rb") as file:
            decrypted = package.decrypt(file, keys, work)
        package.verify(decrypted, keys)
        policy = Policy.update(max_size=1 << 30, max_members=10, free_space=0)
        package.unpack(decrypted.archive, work / "package", policy)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    argv = [sys.executable, "-c", script, vendor.directory, tmp_path / "work", tmp_path / "p.enc"]

    grown = int(subprocess.run(argv, check=True, capture_output=True).stdout)

    assert (tmp_path / "work/package/zeros").stat().st_size == 192 << 20
    assert grown <= 64 * 1024


def test_a_built_package_is_what_tar_and_openssl_expect(vendor: Any, tmp_path: Path) -> None:
    (tmp_path / "source/files").mkdir(parents=True)
    (tmp_path / "source/update.sh").write_text("#!/bin/sh\n")
    (tmp_path / "source/files/link").symlink_to("../update.sh")

    build_package(tmp_path / "source", "2.0.0", vendor.key, vendor.private, tmp_path / "p.enc")

    script = """set -e
        openssl enc -d -aes-256-cbc -md sha256 -pbkdf2 -pass file:$1 -in p.enc | tar x
        openssl dgst -sha256 -verify $2 -signature software_package.tar.gz.sign software_package.tar.gz
        tar tzf software_package.tar.gz; tar xzOf software_package.tar.gz version.txt"""
    argv = ["sh", "-c", script, "sh", vendor.key, vendor.public]
    printed = subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.splitlines()
    assert printed == ["Verified OK", "version.txt", "files/", "update.sh", "files/link", "2.0.0"]


def test_a_built_package_is_taken(take: Take, vendor: Any, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/data").write_bytes(bytes(3_000_000))

    build_package(tmp_path / "source", "2.0.0", vendor.key, vendor.private, tmp_path / "p.enc")

    assert (take((tmp_path / "p.enc").read_bytes()) / "data").stat().st_size == 3_000_000


def test_the_archive_of_a_built_package_depends_on_the_files_alone(
    vendor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    keys = package.load_keys(vendor.directory)

    def digest(name: str, time: float) -> bytes:
        (tmp_path / name / "work").mkdir(parents=True)
        (tmp_path / name / "source").mkdir()
        (tmp_path / name / "source/data").write_text("data")
        os.utime(tmp_path / name / "source/data", (time, time))
        build_package(tmp_path / name / "source", "2.0.0", vendor.key, vendor.private, tmp_path / name / "p.enc")
        with (tmp_path / name / "p.enc").open("rb") as file:
            return package.decrypt(file, keys, tmp_path / name / "work").digest

    assert digest("one", 1) == digest("other", 2)


def test_a_directory_that_no_appliance_would_take_is_not_packed(vendor: Any, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/out").symlink_to("/etc/passwd")

    with pytest.raises(PackageError, match="symbolic link to an absolute name"):
        build_package(tmp_path / "source", "2.0.0", vendor.key, vendor.private, tmp_path / "p.enc")

    assert not (tmp_path / "p.enc").exists()


def test_a_package_without_a_valid_version_is_not_built(vendor: Any, tmp_path: Path) -> None:
    with pytest.raises(VersionError):
        build_package(tmp_path, "1\n2", vendor.key, vendor.private, tmp_path / "p.enc")


class _Once:
    """A source that can be read once and in no other order."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, 1000))


@pytest.mark.parametrize("options", [(), ("-md", "md5")])
def test_a_package_is_read_once(vendor: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    keys = package.load_keys(vendor.directory)
    (tmp_path / "work").mkdir()

    decrypted = package.decrypt(
        _Once(vendor.package(tmp_path / "made", FILES, *options)), keys, tmp_path / "work", legacy=True
    )

    package.verify(decrypted, keys)


@pytest.mark.parametrize("name", ["updates.key", "updates.pub"])
def test_a_pipe_in_place_of_a_key_is_said_and_not_waited_for(vendor: Any, tmp_path: Path, name: str) -> None:
    for each in ("updates.key", "updates.pub"):
        shutil.copy(vendor.directory / each, tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)

    with pytest.raises(PackageError, match=f"{name} cannot be read: It is not a regular file"):
        package.load_keys(tmp_path)


def test_guessing_how_a_package_was_encrypted_is_bounded_on_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(digest: str, count: int, passphrase: bytes, salt: bytes) -> bytes:
        until = time.thread_time() + count * 5e-6
        while time.thread_time() < until:
            pass
        return b"x" * 48

    monkeypatch.setattr(encryption_guesses, "_pbkdf2", slowly)
    began = time.thread_time()

    told = encryption_guesses.explained(b"Salted__" + bytes(range(8)) + b"?" * 1024, b"passphrase")

    assert told is None
    assert time.thread_time() - began < 1.5 * encryption_guesses.MAX_CPU
