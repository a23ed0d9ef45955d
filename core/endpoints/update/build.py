"""Making update packages: the vendor's counterpart of `package`."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isal import igzip

from jidoteki.core.archives.openssl import EncryptingWriter, read_passphrase
from jidoteki.core.endpoints.update import description, key_files, lint, signing_keys, versions
from jidoteki.core.endpoints.update.package import ARCHIVE, SIGNATURES, PackageError
from jidoteki.hookspecs.restorable import can_restore

VERSION = "version.txt"
BUFFER = 256 * 1024

# The type stubs of isal lack this class.
_gzip: Any = igzip.IGzipFile


class _Writer(io.RawIOBase):
    """A file for `tarfile` that encrypts."""

    def __init__(self, target: EncryptingWriter) -> None:
        self._target = target

    def write(self, data: bytes) -> int:  # type: ignore[override]  # tarfile hands over bytes alone
        self._target.write(bytes(data))
        return len(data)


def build_package(
    source: Path, version: str, key_file: Path, private_key: Path, output: Path, *more_keys: Path,
    described: Mapping[str, Any] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Pack a directory as an encrypted, signed update package.

    The inner archive is reproducible: sorted, without owners, and with `$SOURCE_DATE_EPOCH` (seconds) as the time of
    every file if that is set. Files that an appliance would refuse are refused here.

    :param source: the directory; the appliance uses `update.sh` and `changelog.txt` in it. A `version.txt` in it is
        replaced.
    :param version: the content of `version.txt`.
    :param key_file: `updates.key`, the passphrase file.
    :param private_key: RSA or Ed25519 key in PEM, without a passphrase, whose public half is `updates.pub`.
    :param output: the path of the package, which is created only when complete.
    :param more_keys: further such keys, which sign as well.
    :param described: keys of the package's `package.json`, in place of those in the directory's.
    :raises PackageError: a key cannot be used, or the directory contains a file that a package must not.
    :raises VersionError: the version is not valid.
    :raises OSError: a file cannot be read or written.
    """
    version = versions.parse(version)
    passphrase = _passphrase(key_file)
    signing = signing_keys.load_all((private_key, *more_keys))
    for remark in lint.keys_in(source, key_file, private_key, *more_keys):
        raise PackageError(f"{remark.message}: remove it from {source}")
    written = {VERSION: f"{version}\n".encode()}
    try:
        if said := description.content(source, described):
            written[description.FILE] = said
    except (ValueError, RecursionError) as error:
        raise PackageError(f"The {description.FILE} is not valid: {error}") from error
    with tempfile.TemporaryDirectory(prefix=".jidoteki-", dir=output.parent) as work:
        archive, package = Path(work, ARCHIVE), Path(work, "package")
        _pack(source, written, archive)
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        _seal(archive, [key.sign(digest) for key in signing], passphrase, package)
        package.replace(output)


def _passphrase(key_file: Path) -> bytes:
    try:
        passphrase = read_passphrase(key_file)
    except ValueError as error:
        raise PackageError(str(error)) from error
    wrong = key_files.passphrase_problem(key_file.read_bytes()[: key_files.MAX_SIZE])
    if wrong and wrong.fatal:
        raise PackageError(f"{key_file.name} cannot be used: {wrong.message}")
    return passphrase


def _pack(source: Path, written: Mapping[str, bytes], archive: Path) -> None:
    epoch = _epoch()
    # The gzip header contains neither file name nor time.
    with archive.open("wb") as file, _gzip("", "wb", 2, file, mtime=0) as compressed:
        with tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, content in written.items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), epoch or 0
                tar.addfile(info, io.BytesIO(content))
            for path in _below(source, {source / name for name in written}):
                _add(tar, path, path.relative_to(source).as_posix(), epoch)


def _epoch() -> int | None:
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise PackageError("$SOURCE_DATE_EPOCH must be a whole number of seconds") from error


def _below(source: Path, but: Container[Path]) -> Iterator[Path]:
    for directory, names, leaves in os.walk(source):
        names.sort()
        for name in sorted(names + leaves):
            path = Path(directory, name)
            if path not in but:
                yield path


def _add(tar: tarfile.TarFile, path: Path, name: str, epoch: int | None) -> None:
    tar.inodes = {}  # type: ignore[attr-defined]  # forgets hard links: all are packed as files
    info = tar.gettarinfo(path, name)
    if info is None:
        raise PackageError(f"{path} is neither a file nor a directory nor a symbolic link")
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = int(info.mtime) if epoch is None else epoch
    info.mode &= 0o7777
    reason = can_restore(name, info, None)
    if reason:
        raise PackageError(f"{path} {reason}")
    if not info.isreg():
        tar.addfile(info)
        return
    with path.open("rb") as file:
        tar.addfile(info, file)


def _seal(archive: Path, signatures: Sequence[bytes], passphrase: bytes, package: Path) -> None:
    with package.open("wb") as target:
        writer = EncryptingWriter(target, passphrase)
        outer = _Writer(writer)
        with tarfile.open(fileobj=outer, mode="w|", bufsize=BUFFER, format=tarfile.GNU_FORMAT) as tar:
            with archive.open("rb") as file:
                tar.addfile(_member(ARCHIVE, archive.stat().st_size), file)
            for name, signature in zip(SIGNATURES, signatures, strict=False):
                tar.addfile(_member(name, len(signature)), io.BytesIO(signature))
        writer.close()


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info
