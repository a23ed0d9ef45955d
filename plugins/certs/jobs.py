"""The job that puts a new TLS key and certificate into force, all of its files or none."""

from __future__ import annotations

import dataclasses
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
    """Where the TLS files of an appliance lie."""

    directory: Path

    @classmethod
    def of(cls, appliance: Appliance) -> TlsFiles:
        """The TLS files of this appliance."""
        return cls(appliance.system_etc / "pki/tls")

    @property
    def served(self) -> Path:
        """Key, certificate and chain in one file: what the service itself serves."""
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
        """The certificates above it."""
        return self.directory / "cacerts/enterprise-ca.crt"

    @property
    def trusted(self) -> Path:
        """What programs of the appliance trust: the system's authorities and those above the certificate."""
        return self.directory / "ca-bundle.crt"

    def document(self) -> dict[str, str]:
        """The paths, for whoever puts the certificate into force elsewhere."""
        return {
            "pem": str(self.served),
            "key": str(self.key),
            "certificate": str(self.certificate),
            "ca": str(self.authorities),
            "bundle": str(self.trusted),
        }


def check(job: Job) -> None:
    """Judge the key and certificates."""
    job.log(BEGIN)
    with failure_logged(job, FAILURE):
        _check(job)


def _check(job: Job) -> None:
    judged = _read(job)
    for warning in warnings.of(judged):
        job.log(warning)
    _preview(job, judged)
    try:
        handshake.check(judged, job.workspace)
    except Refused as error:
        raise JobFailed(str(error)) from error
    except OSError as error:
        raise JobFailed(f"The certificates cannot be checked: {error.strerror or error}") from error


def _preview(job: Job, judged: Bundle) -> None:
    if job.dry_run:
        from jidoteki.plugins.certs.facts import facts

        job.preview(facts(judged.certificate))


def run(job: Job) -> None:
    """Install the files together and tell the rest of the appliance; a failure puts the old ones back."""
    with failure_logged(job, FAILURE):
        _replace(job)
    job.progress(100)
    job.log("The new TLS certificates are in use")
    job.log(SUCCESS)


def _replace(job: Job) -> None:
    judged = _read(job)
    files = TlsFiles.of(job.appliance)
    job.progress(30)
    previous = _current(files)
    try:
        _install(job.appliance, files, _contents(files, judged), _trusted(files, judged.chain))
        if not judged.chain:
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
    """What came; without an authority, with those that are there, if they are above the new certificate."""
    try:
        judged = bundle.read(job.input["public"], job.input["private"], job.input.get("ca") or "")
    except Refused as error:
        raise JobFailed(str(error)) from error
    if judged.chain or judged.self_signed:
        return judged
    return dataclasses.replace(judged, chain=_kept_authorities(job))


def _kept_authorities(job: Job) -> Authorities:
    try:
        there = paths.read_regular(TlsFiles.of(job.appliance).authorities, follow=True).decode("latin-1")
        return bundle.read(job.input["public"], job.input["private"], there).chain
    except (OSError, Refused):
        return ()


def _contents(files: TlsFiles, judged: Bundle) -> dict[Path, bytes]:
    contents = {
        files.key: judged.key.encode("ascii"),
        files.certificate: bundle.pem([judged.certificate]).encode("ascii"),
        files.served: judged.pem().encode("ascii"),
    }
    if judged.chain:
        contents[files.authorities] = bundle.pem(judged.chain).encode("ascii")
    return contents


def _trusted(files: TlsFiles, authorities: Authorities) -> bytes | None:
    """What is trusted now, with the authorities of an earlier certificate replaced; None when nothing changes."""
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
    """Make the files that differ what they were: those that could not be replaced cannot be put back, either."""
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
