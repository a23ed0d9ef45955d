"""Archives for the vendor's support: the logs as they are, and the debug bundle that only the vendor can open."""

from __future__ import annotations

import base64
import glob
import io
import os
import secrets
import stat
import tarfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from jidoteki.core.updates import openssl
from jidoteki.hookspecs import Job, JobFailed

LOGS = "logs.tar.gz"
DEBUG_BUNDLE = "debug-bundle.tar"
COMPRESSION = 4
MAX_FILES = 100_000
MAX_COMMANDS = 256
BUFFER = 1024 * 1024


class _Fixed(io.RawIOBase):
    """A file as long as it was when it was opened, whatever happens to it meanwhile."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        chunk = self._file.read(wanted)
        chunk += bytes(wanted - len(chunk))
        self._left -= wanted
        return chunk


def pack_logs(job: Job) -> None:
    """Pack the logs and publish them as `logs.tar.gz`."""
    temporary = job.workspace / LOGS
    _pack_logs(job, temporary)
    job.appliance.publish(temporary, LOGS)


def make_debug_bundle(job: Job) -> None:
    """Publish `debug-bundle.tar`: logs and the output of the commands in `debug.txt`, sealed to `updates.pub`."""
    public = job.appliance.read_text(job.appliance.etc / "updates.pub")
    if not public:
        raise JobFailed("There is no updates.pub to encrypt the debug bundle to")
    passphrase = base64.b64encode(secrets.token_bytes(32))
    try:
        sealed = openssl.seal(public.encode(), passphrase + b"\n")
    except ValueError as error:
        raise JobFailed("updates.pub is not an RSA public key in PEM") from error
    logs, debug = job.workspace / LOGS, job.workspace / "debug.tar.gz"
    _pack_logs(job, logs)
    job.progress(40)
    _pack_output(job, debug)
    job.progress(80)
    bundle = job.workspace / DEBUG_BUNDLE
    with tarfile.open(bundle, "w") as archive:
        _add_bytes(archive, "debug.key.enc", sealed)
        for plain in (debug, logs):
            encrypted = plain.with_name(f"{plain.name}.enc")
            _encrypt(plain, encrypted, passphrase)
            plain.unlink()
            archive.add(encrypted, encrypted.name, filter=_anonymous)
            encrypted.unlink()
    job.appliance.publish(bundle, DEBUG_BUNDLE)


def _pack_logs(job: Job, path: Path) -> None:
    with _gzip(path) as compressed:
        with tarfile.open(fileobj=compressed, mode="w|", bufsize=BUFFER) as archive:
            for number, found in enumerate(_log_files(job)):
                if number >= MAX_FILES:
                    job.log(f"More than {MAX_FILES} files: the rest is left out")
                    break
                _add_file(archive, found, str(found).lstrip("/"), job)
                if number % 100 == 0:
                    job.progress(min(35, number // 100))


def _gzip(path: Path) -> Any:
    # zlib-ng: as small as gzip's own, where ISA-L makes files a quarter longer.
    threaded: Any = import_module("zlib_ng.gzip_ng_threaded")
    return threaded.open(path, "wb", compresslevel=COMPRESSION, threads=1)


def _log_files(job: Job) -> Iterator[Path]:
    """The files below `ADMIN/log` and below what `logs.txt` lists, with shell patterns; each once."""
    seen = set()
    for top in (job.appliance.log, *_listed(job)):
        for found in _below(top):
            if found not in seen:
                seen.add(found)
                yield found


def _listed(job: Job) -> Iterator[Path]:
    for line in (job.appliance.read_text(job.appliance.etc / "logs.txt") or "").splitlines():
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        paths = sorted(glob.glob(str(job.appliance.root / name.lstrip("/"))))
        if not paths:
            job.log(f"{name} is missing")
        yield from map(Path, paths)


def _below(top: Path) -> Iterator[Path]:
    if top.is_symlink() or not top.is_dir():
        yield top
        return
    for directory, names, leaves in os.walk(top):
        names.sort()
        yield from (Path(directory, leaf) for leaf in sorted(leaves))


def _add_file(archive: tarfile.TarFile, path: Path, name: str, job: Job) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        job.log(f"{path} is left out: {error.strerror}")
        return
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = status.st_size, status.st_mtime, 0o644
        archive.addfile(info, _Fixed(file, status.st_size))


def _pack_output(job: Job, path: Path) -> None:
    """Run each line of `debug.txt` with `sh` and pack what it says; one that fails is recorded like the others."""
    lines = (job.appliance.read_text(job.appliance.etc / "debug.txt") or "").splitlines()
    wanted = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    with _gzip(path) as compressed:
        with tarfile.open(fileobj=compressed, mode="w|") as archive:
            for number, line in enumerate(wanted[:MAX_COMMANDS], 1):
                output = job.workspace / "output"
                verdict = _run_to_file(job, line, output)
                header = f"$ {line}\n# {verdict}\n".encode()
                _add_bytes(archive, f"debug/{number:02d}.txt", header + output.read_bytes())
                output.unlink()


def _run_to_file(job: Job, line: str, output: Path) -> str:
    limit = job.settings["limits"]["command"]
    output.touch()
    try:
        # The line is the vendor's own, from a file that only root and the service can write.
        status = job.command("sh", "-c", f'exec >"$0" 2>&1; ulimit -f 16384; {line}', output, timeout=limit)
    except JobFailed as error:
        return error.message
    return f"exit status {status}"


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    archive.addfile(info, io.BytesIO(content))


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o644
    return info


def _encrypt(source: Path, target: Path, passphrase: bytes) -> None:
    with source.open("rb") as plain, target.open("xb") as encrypted:
        writer: Any = openssl.EncryptingWriter(encrypted, passphrase)
        while chunk := plain.read(BUFFER):
            writer.write(chunk)
        writer.close()
