"""The job that installs a new TLS key and certificate, all of its files or none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from jidoteki.hookspecs import Appliance, Job, JobFailed, JobType, StatusFiles, paths
from jidoteki.hookspecs.job_logs import failure_logged
from jidoteki.plugins.certs import bundle, handshake, warnings
from jidoteki.plugins.certs.bundle import Bundle
from jidoteki.plugins.certs.pem_texts import Refused

BEGIN: Final = "Validating and adding TLS certificates"
SUCCESS: Final = "Add TLS certificates successful"
FAILURE: Final = "Invalid or missing TLS certificate files"

BLOCK_BEGIN: Final = b"# BEGIN authorities of the enterprise certificate\n"
BLOCK_END: Final = b"# END authorities of the enterprise certificate\n"

Authorities = tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The paths of an appliance's TLS files."""

    directory: Path

    @classmethod
    def of(cls, appliance: Appliance) -> TlsFiles:
        """Return the paths for an appliance."""
        return cls(appliance.system_etc / "pki/tls")

    @property
    def served(self) -> Path:
        """Key, certificate and chain in one file, which the service itself serves."""
        return self.directory / "enterprise.pem"

    @property
    def key(self) -> Path:
        """The private key."""
        return self.directory / "private/enterprise.key"

    @property
    def certificate(self) -> Path:
        """The certificate alone."""
        return self.directory / "certs/enterprise.crt"

    @property
    def authorities(self) -> Path:
        """The certificates of its authorities."""
        return self.directory / "cacerts/enterprise-ca.crt"

    @property
    def trusted(self) -> Path:
        """The certificates that the appliance's programs trust: the system's and those of the chain."""
        return self.directory / "ca-bundle.crt"

    def document(self) -> dict[str, str]:
        """Return the paths, for plugins that apply the certificate elsewhere."""
        return {
            "pem": str(self.served),
            "key": str(self.key),
            "certificate": str(self.certificate),
            "ca": str(self.authorities),
            "bundle": str(self.trusted),
        }


def check(job: Job) -> None:
    """Check the key and certificates."""
    job.log(BEGIN)
    with failure_logged(job, FAILURE):
        _check(job)


def _check(job: Job) -> None:
    new = _read(job)
    for warning in warnings.of(new):
        job.log(warning)
    try:
        handshake.check(new, job.workspace)
    except Refused as error:
        raise JobFailed(str(error)) from error
    except OSError as error:
        raise JobFailed(f"The certificates cannot be checked: {error.strerror or error}") from error


def run(job: Job) -> None:
    """Install the files together and apply them; a failure restores the old ones."""
    with failure_logged(job, FAILURE):
        _replace(job)
    job.progress(100)
    job.log("The new TLS certificates are in use")
    job.log(SUCCESS)


def _replace(job: Job) -> None:
    new = _read(job)
    files = TlsFiles.of(job.appliance)
    job.progress(30)
    previous = _current(files)
    try:
        _install(job.appliance, files, _contents(files, new), _trusted(files, new.authorities))
        if not new.chain:
            files.authorities.unlink(missing_ok=True)
        job.progress(70)
        _announce(job, files)
    except (JobFailed, OSError) as error:
        failure = error if isinstance(error, JobFailed) else _not_stored(error)
        try:
            _put_back(job, files, previous)
        except OSError as lost:
            reason = lost.strerror or lost
            raise JobFailed(f"{failure.message}; the former ones could not be put back: {reason}") from error
        raise failure from error


def _not_stored(error: OSError) -> JobFailed:
    return JobFailed(f"The certificates cannot be stored: {error.strerror or error}")


def _read(job: Job) -> Bundle:
    """Read the input; if it has no authority, add the present ones if they are the new certificate's."""
    try:
        new = bundle.read(job.input["public"], job.input["private"], job.input.get("ca") or "")
    except Refused as error:
        raise JobFailed(str(error)) from error
    if new.chain or new.self_signed:
        return new
    return _with_kept_authorities(job) or new


def _with_kept_authorities(job: Job) -> Bundle | None:
    try:
        there = paths.read_regular(TlsFiles.of(job.appliance).authorities, follow=True).decode("latin-1")
        found = bundle.read(job.input["public"], job.input["private"], there)
    except (OSError, Refused):
        return None
    return found if found.chain else None


def _contents(files: TlsFiles, new: Bundle) -> dict[Path, bytes]:
    contents = {
        files.key: new.key.encode("ascii"),
        files.certificate: bundle.pem([new.certificate]).encode("ascii"),
        files.served: new.pem().encode("ascii"),
    }
    if new.chain:
        contents[files.authorities] = bundle.pem(new.authorities).encode("ascii")
    return contents


def _trusted(files: TlsFiles, authorities: Authorities) -> bytes | None:
    """Return the trusted certificates with the former chain's replaced; None when nothing changes."""
    now = paths.read_regular(files.trusted, follow=True) if files.trusted.is_file() else b""
    before, begin, rest = now.partition(BLOCK_BEGIN)
    _, _, after = rest.partition(BLOCK_END) if begin else (b"", b"", b"")
    kept = before + after
    if kept and not kept.endswith(b"\n"):
        kept += b"\n"
    block = BLOCK_BEGIN + bundle.pem(authorities).encode("ascii") + BLOCK_END if authorities else b""
    return None if kept + block == now else kept + block


def _current(files: TlsFiles) -> dict[Path, bytes]:
    every = (files.key, files.certificate, files.authorities, files.served, files.trusted)
    try:
        return {path: paths.read_regular(path, follow=True) for path in every if path.is_file()}
    except OSError as error:
        raise _not_stored(error) from error


def _put_back(job: Job, files: TlsFiles, previous: dict[Path, bytes]) -> None:
    """Restore only the files that differ: those that could not be replaced cannot be restored, either."""
    now = _current(files)
    changed = {path: content for path, content in previous.items() if now.get(path) != content}
    new = [path for path in now if path not in previous]
    if changed or new:
        job.log("Putting the previous certificates back")
    if changed:
        _install(job.appliance, files, changed, changed.pop(files.trusted, None))
    for path in new:
        path.unlink(missing_ok=True)


def _install(appliance: Appliance, files: TlsFiles, contents: dict[Path, bytes], trusted: bytes | None) -> None:
    files.key.parent.mkdir(mode=0o700 if appliance.group is None else 0o755, parents=True, exist_ok=True)
    everything = contents if trusted is None else {**contents, files.trusted: trusted}
    public = (files.certificate, files.authorities, files.trusted)  # programs of other users read these
    appliance.replace_files(dict(everything), 0o640, dict.fromkeys(public, 0o644))


def _announce(job: Job, files: TlsFiles) -> None:
    if not job.apply("certs", files.document()):
        job.vendor_command("certs.sh")


CERTS: Final = JobType(
    "certs",
    run=run,
    check=check,
    exclusive_with=("restore",),
    log="update_certs.log",
    status_files=StatusFiles(status="status_certs.txt"),
    timeout=300,
    persist=True,
)
