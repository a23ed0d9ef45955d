"""Archives for the vendor's support: the plain logs, and the debug bundle that only the vendor can decrypt."""

from __future__ import annotations

import base64
import io
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from jidoteki.core.archives import openssl
from jidoteki.core.endpoints.support.log_files import Finder, LogFile
from jidoteki.hookspecs import Job, JobError, paths, sparse_files

LOGS = "logs.tar.gz"
DEBUG_BUNDLE = "debug-bundle.tar"
LOGS_LIST = "logs.txt"
COMMANDS_LIST = "debug.txt"
COMPRESSION = 4
MAX_FILES = 100_000
#: Maximum bytes: of one file; of a longer sparse file, whose holes the recipient may not be able to store; of all
#: files. Holes cost their author nothing, so files with a MiB of them or more are packed as sparse.
MAX_FILE = 1024 * 1024 * 1024
SPARSE = 64 * 1024 * 1024
MIB = 1024 * 1024
MAX_SIZE = 8 * MAX_FILE
MAX_COMMANDS = 256
BUFFER = 1024 * 1024
#: The end of the machine's journal, of which the service's user may be allowed to see its own part only.
JOURNAL = "journalctl --quiet --no-pager --output=short-iso --lines=20000"


class _Fixed(io.RawIOBase):
    """A file truncated or zero-padded to the size that it had when it was opened."""

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
    with _logged(job, "Generating compressed logs.tar.gz. Please wait..", "Generated logs successful", "log file"):
        temporary = job.workspace / LOGS
        _pack_logs(job, temporary)
        job.appliance.publish(temporary, LOGS)


def make_debug_bundle(job: Job) -> None:
    """Publish `debug-bundle.tar`: logs and the output of the commands in `debug.txt`, sealed to `updates.pub`."""
    begin = "Generating compressed debug-bundle.tar. Please wait.."
    with _logged(job, begin, "Generated debug bundle successful", "debug file"):
        _make_debug_bundle(job)


@contextmanager
def _logged(job: Job, begin: str, end: str, what: str) -> Iterator[None]:
    """Log the start and the end in the original's words."""
    job.log(begin)
    try:
        yield
    except (JobError, OSError) as error:
        failure = error if isinstance(error, JobError) else JobError(f"An operation failed: {error.strerror or error}")
        job.log(failure.message)
        job.log(f"Invalid or missing {what}")
        raise failure from error
    job.log(end)


def _make_debug_bundle(job: Job) -> None:
    try:
        public = job.appliance.read_text(job.appliance.etc / "updates.pub")
    except OSError as error:
        raise JobError(f"updates.pub cannot be read: {error.strerror or error}") from error
    if not public:
        raise JobError("There is no updates.pub to encrypt the debug bundle to")
    passphrase = base64.b64encode(secrets.token_bytes(32))
    try:
        sealed = openssl.seal(public.encode(), passphrase + b"\n")
    except ValueError as error:
        raise JobError("updates.pub is not an RSA public key in PEM") from error
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
            left = MAX_SIZE
            for number, found in enumerate(_log_files(job)):
                if number >= MAX_FILES:
                    job.log(f"More than {MAX_FILES} files: the rest is left out")
                    break
                left -= _add_file(archive, found, left, job)
                if number % 100 == 0:
                    job.progress(min(35, number // 100))


def _gzip(path: Path) -> Any:
    # zlib-ng compresses as well as gzip; ISA-L makes files a quarter longer.
    from zlib_ng import gzip_ng_threaded

    return gzip_ng_threaded.open(path, "wb", compresslevel=COMPRESSION, threads=1)  # type: ignore[no-untyped-call]  # it has no types


def _log_files(job: Job) -> Iterator[LogFile]:
    """Yield the files below `ADMIN/log` and those that `logs.txt` lists, with shell patterns; each once."""
    seen = set()
    for found in _all_log_files(job, Finder(job.log)):
        if found.path not in seen:
            seen.add(found.path)
            yield found


def _all_log_files(job: Job, finder: Finder) -> Iterator[LogFile]:
    yield from finder.below(str(job.appliance.log))
    for line in _lines(job, LOGS_LIST):
        for word in line.split():
            yield from finder.matching(str(job.appliance.root), word)


def _lines(job: Job, name: str) -> list[str]:
    """Return the lines of one of the vendor's lists, without empty lines, comments and a byte order mark."""
    try:
        text = paths.read_trusted(job.appliance.etc / name).decode("utf-8-sig", "replace")
    except FileNotFoundError:
        text = ""
    except OSError as error:
        job.log(f"{name} cannot be read: {error.strerror or error}")
        text = ""
    return [line for each in text.splitlines() if (line := each.strip()) and not line.startswith("#")]


def _add_file(archive: tarfile.TarFile, found: LogFile, left: int, job: Job) -> int:
    """Add a file, or the end of a very long one; return the number of bytes added."""
    size = found.status.st_size
    most = MAX_FILE if size <= MAX_FILE else max(SPARSE, 16 * 512 * found.status.st_blocks)
    length = min(size, MAX_FILE, most)
    info = tarfile.TarInfo(found.path.lstrip("/"))
    info.mtime, info.mode = found.status.st_mtime, 0o644
    content: io.RawIOBase | None = _without_holes(info, found, length, left)
    if content is None:
        info.size = length = min(length, left)
        found.file.seek(size - length)
        content = _Fixed(found.file, length)
    if length < size:
        job.log(f"{found.path} has {size} bytes: only the last {length} are packed")
    archive.addfile(info, content)
    return info.size


def _without_holes(info: tarfile.TarInfo, found: LogFile, length: int, left: int) -> sparse_files.Content | None:
    """Return the end of a file without its holes, and describe them in the member; None if that saves too little."""
    start = found.status.st_size - length
    parts = sparse_files.regions(found.file.fileno(), found.status, start)
    if parts is None:
        return None
    content = sparse_files.Content(found.file.fileno(), parts, start)
    if length - content.size < MIB or content.size > left:
        return None
    records = sparse_files.records(info.name, length)
    info.name, info.size = sparse_files.member_name(info.name), content.size
    # Of two names Python's tarfile uses the last one.
    info.pax_headers = {"path": info.name, **{keyword: os.fsdecode(value) for keyword, value in records.items()}}
    return content


def _pack_output(job: Job, path: Path) -> None:
    """Run each line of `debug.txt` with `sh` and pack its output, and the journal; failures are included."""
    wanted = {f"debug-{number}.log": line for number, line in enumerate(_lines(job, COMMANDS_LIST)[:MAX_COMMANDS], 1)}
    if str(job.appliance.root) == "/" and shutil.which("journalctl"):
        wanted["journal.log"] = JOURNAL
    with _gzip(path) as compressed:
        with tarfile.open(fileobj=compressed, mode="w|") as archive:
            for name, line in wanted.items():
                job.log(f"Creating debug/{name}")
                output = job.workspace / "output"
                problem = _run_to_file(job, line, output)
                _add_bytes(archive, name, f"Running: {line}\n".encode() + output.read_bytes() + problem.encode())
                output.unlink()


def _run_to_file(job: Job, line: str, output: Path) -> str:
    """Run a line, and return a line that describes its failure, or an empty string."""
    limit = job.host_config["limits"]["command"]
    output.touch()
    try:
        # The command is the vendor's own, from a file of root or of the service's user.
        status = job.command("sh", "-c", f'exec >"$0" 2>&1; ulimit -f 16384; {line}', output, timeout=limit)
    except JobError as error:
        return f"{error.message}\n"
    return f"Exit status: {status}\n" if status else ""


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
