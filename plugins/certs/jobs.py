"""The job that installs a new TLS key and certificate, all of its files or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import voluptuous as vol
from cryptography import x509

from jidoteki.hookspecs import Appliance, Job, JobError, JobType, StatusFiles, differences, paths
from jidoteki.hookspecs.former_files import recovery, replaced
from jidoteki.hookspecs.job_logs import failure_logged
from jidoteki.hookspecs.tried_files import put_back
from jidoteki.plugins.certs import bundle, handshake, warnings
from jidoteki.plugins.certs.bundle import Bundle
from jidoteki.plugins.certs.pem_texts import CertificateError

BEGIN: Final = "Validating and adding TLS certificates"
SUCCESS: Final = "Add TLS certificates successful"
FAILURE: Final = "Invalid or missing TLS certificate files"
CANNOT_STORE: Final = "The certificates cannot be stored"
PUT_BACK: Final = "The former certificates are back in their files"

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

    @property
    def all(self) -> tuple[Path, ...]:
        """All of them."""
        return self.key, self.certificate, self.authorities, self.served, self.trusted

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
    told = warnings.of(new)
    for warning in told:
        job.log(f"Warning: {warning}")
    _preview(job, new, told)
    try:
        handshake.check(new, job.workspace)
    except CertificateError as error:
        raise JobError(str(error)) from error
    except OSError as error:
        raise JobError(f"The certificates cannot be checked: {error.strerror or error}") from error


def _preview(job: Job, new: Bundle, told: Sequence[str]) -> None:
    if job.dry_run:
        from jidoteki.plugins.certs.certificate_facts import facts, served

        shown = facts(new.certificate)
        changes = differences.between(served(job.appliance), shown, "certificate")
        job.preview({**shown, **({"warnings": list(told)} if told else {}), "changes": changes})


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
    public = (files.certificate, files.authorities, files.trusted)  # programs of other users read these
    modes = dict.fromkeys(public, 0o644)
    try:
        private = 0o700 if job.appliance.group is None else 0o755
        paths.make_directories(files.key.parent, private)
        contents = _contents(files, new)
    except OSError as error:
        raise JobError(f"{CANNOT_STORE}: {error.strerror or error}") from error
    with replaced(job, contents, 0o640, modes=modes, cannot_write=CANNOT_STORE, put_back=PUT_BACK):
        job.progress(70)
        _put_into_force(job, files)
        _await_confirmation(job, new)


def _put_into_force(job: Job, files: TlsFiles) -> None:
    if not job.apply("certs", files.document()):
        job.vendor_command("certs.sh")


def _await_confirmation(job: Job, new: Bundle) -> None:
    if job.confirm:
        from jidoteki.plugins.certs.certificate_facts import facts

        job.await_confirmation({"certificate": facts(new.certificate)})


def revert(job: Job) -> None:
    """Put the former files back and into force.

    :raises JobError: that is impossible, or the vendor's command failed.
    """
    files = TlsFiles.of(job.appliance)
    if put_back(job, files.all, PUT_BACK):
        _put_into_force(job, files)


def _read(job: Job) -> Bundle:
    """Read the input; if it has no authority, add the present ones if they are the new certificate's."""
    try:
        new = bundle.read(job.input["public"], job.input["private"], job.input.get("ca") or "")
    except CertificateError as error:
        raise JobError(str(error)) from error
    if new.chain or new.self_signed:
        return new
    return _with_kept_authorities(job) or new


def _with_kept_authorities(job: Job) -> Bundle | None:
    try:
        there = paths.read_regular(TlsFiles.of(job.appliance).authorities, follow=True).decode("latin-1")
        found = bundle.read(job.input["public"], job.input["private"], there)
    except (OSError, CertificateError):
        return None
    return found if found.chain else None


def _contents(files: TlsFiles, new: Bundle) -> dict[Path, bytes | None]:
    """Return the contents of the files that change; None for one that is removed."""
    contents = {
        files.key: new.key.encode("ascii"),
        files.certificate: bundle.pem([new.certificate]).encode("ascii"),
        files.served: new.pem().encode("ascii"),
        files.authorities: bundle.pem(new.authorities).encode("ascii") if new.chain else None,
    }
    trusted = _trusted(files, new.authorities)
    return contents if trusted is None else {**contents, files.trusted: trusted}


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


CERTS: Final = JobType(
    "certs",
    run=run,
    check=check,
    exclusive_with=("restore",),
    log="update_certs.log",
    status_files=StatusFiles(status="status_certs.txt"),
    timeout=300,
    recover=recovery("certs", lambda appliance: TlsFiles.of(appliance).all, PUT_BACK),
    persist=True,
    privileged=True,
    input=vol.Schema(
        {vol.Required("public"): str, vol.Required("private"): str, vol.Optional("ca"): vol.Any(str, None)}
    ),
    revert=revert,
)
