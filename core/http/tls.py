"""TLS: the certificate in use, a self-signed default, and its replacement without a restart."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import logging
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jidoteki.core import files
from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import paths, tls_handshakes

logger = logging.getLogger(__name__)

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
MAX_BUNDLE = 1024 * 1024
VALID = datetime.timedelta(days=3650)
#: A certificate of the service's own is renewed this long before it expires.
RENEWED_BEFORE = datetime.timedelta(days=365)
#: A clock that shows an earlier time is not set.
EARLIEST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def bundle(appliance: Appliance) -> Path:
    """Return the path of the PEM file with the key, the certificate and the CA chain in use."""
    return appliance.system_etc / "pki/tls/enterprise.pem"


def context_from(pem: Path) -> ssl.SSLContext:
    """Return a TLS context for a server: TLS 1.2 and 1.3, forward secrecy, no renegotiation, no compression.

    :raises OSError: the file cannot be read or is not a usable bundle (ssl.SSLError is an OSError).
    """
    return _context_of(paths.read_regular(pem, MAX_BUNDLE, follow=True))


def _context_of(content: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    # OpenSSL only reads files, and would block on a pipe.
    with _file_with(content) as file:
        context.load_cert_chain(file, password=lambda: b"")
    return context


@contextlib.contextmanager
def _file_with(content: bytes) -> Iterator[str]:
    """Yield the path of a temporary file with a secret: in memory, or on disk if the kernel does not support that."""
    with contextlib.ExitStack() as stack:
        try:
            number = os.memfd_create("bundle", os.MFD_CLOEXEC)
            stack.callback(os.close, number)
            name = f"/proc/self/fd/{number}"
            os.stat(name)
        except OSError:
            number, name = tempfile.mkstemp(prefix="jidoteki-")
            stack.callback(os.close, number)
            stack.callback(os.unlink, name)
        files.write_all(number, content)
        yield name


def unsupported_keys(pem: Path) -> list[str]:
    """Return a sentence for each key of a bundle that is weak, or too costly at each handshake.

    :raises OSError: the file cannot be read.
    :raises ValueError: it does not contain a readable certificate.
    """
    from cryptography import x509

    from jidoteki.hookspecs import tls_keys

    told = []
    for number, certificate in enumerate(
        x509.load_pem_x509_certificates(paths.read_regular(pem, MAX_BUNDLE, follow=True))
    ):
        kind = tls_keys.unsupported_key_of(certificate, authority=number > 0)
        if kind:
            owner = f"certificate {number + 1} of the chain" if number else "the certificate"
            told.append(f"The key of {owner} is {kind}: {tls_keys.ALLOWED}")
    return told


def _tried(pem: Path) -> ssl.SSLContext:
    """Return a TLS context that clients can connect to.

    :raises OSError: as `context_from`, or a handshake with it fails.
    """
    context = context_from(pem)
    tls_handshakes.check(context)
    return context


class Certificate:
    """The TLS context for the next connection, replaced when the bundle changes; an invalid bundle changes nothing."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._looked: tuple[bool, int] | None = None
        self.path = bundle(appliance)
        try:
            if not self.path.exists() or _is_due(appliance):
                make_self_signed(appliance)
            self._digest = _digest(self.path)
            self._context = _tried(self.path)
        except Exception as error:  # a way to a certificate that fails must not take the other endpoints with it
            logger.error("%s cannot be used, a temporary self-signed certificate is: %s", self.path, error)
            self._digest = b""
            self._context = _context_of(b"".join(_self_signed()))
        else:
            self._warn()
        self._identity = self._look()

    def context(self) -> ssl.SSLContext:
        """Return the current context."""
        identity = self._look()
        if identity != self._identity:
            self._identity = identity
            self.reload()
        return self._context

    def reload(self) -> None:
        """Read the bundle again; another one takes over once a handshake with it has succeeded.

        With the one that is in use, connections go on: they would end with the context that they were made with.
        """
        try:
            digest = _digest(self.path)
            if digest == self._digest:
                return
            self._context = _tried(self.path)
            self._digest = digest
            logger.info("The certificate in %s is used from now on", self.path)
        except OSError as error:
            logger.error("%s cannot be used, the certificate stays as it was: %s", self.path, error)
        else:
            self._warn()

    def renew(self) -> None:
        """Renew the service's own certificate once the clock is set, or before it expires; blocks."""
        day = _now().toordinal()
        clock_is_set = _is_set(_now())
        if (clock_is_set, day) == self._looked:
            return
        self._looked = clock_is_set, day
        try:
            if _is_due(self._appliance):
                make_self_signed(self._appliance)
                logger.warning("The certificate that this service made for itself is made anew: its time was wrong")
        except Exception as error:  # it is tried again tomorrow
            logger.error("%s cannot be made anew: %s", self.path, error)

    def _warn(self) -> None:
        """Log unfit keys, which are served nevertheless, so that the appliance stays reachable."""
        with contextlib.suppress(Exception):  # a library may raise anything for certificates that OpenSSL accepts
            for told in unsupported_keys(self.path):
                logger.warning("%s: %s", self.path, told)

    def _look(self) -> tuple[int, int, int] | None:
        with contextlib.suppress(OSError):
            status = os.stat(self.path)
            return status.st_mtime_ns, status.st_size, status.st_ino
        return None


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _is_set(now: datetime.datetime) -> bool:
    """Return whether the clock may be right: machines without a battery start in the past."""
    return now >= EARLIEST


def _record(appliance: Appliance) -> Path:
    """Return the path of the checksum of the last bundle that the service made; others are never renewed."""
    return appliance.jobs / "self-signed.sha256"


def _is_due(appliance: Appliance) -> bool:
    """Return whether the certificate in use is the service's own, and its validity period is wrong or about to end."""
    from cryptography import x509

    try:
        content = paths.read_regular(bundle(appliance), MAX_BUNDLE, follow=True)
        if paths.read_own(_record(appliance)).decode() != hashlib.sha256(content).hexdigest():
            return False
        certificate = x509.load_pem_x509_certificates(content)[0]
    except (OSError, ValueError, IndexError):
        return False
    now = _now()
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    made_too_early = _is_set(now) and begins < EARLIEST - datetime.timedelta(days=2)
    return bool(made_too_early or now < begins or now > ends - RENEWED_BEFORE)


def _digest(pem: Path) -> bytes:
    """Return what tells a bundle from others, for the key in it need not be kept.

    :raises OSError: it cannot be read.
    """
    return hashlib.sha256(paths.read_regular(pem, MAX_BUNDLE, follow=True)).digest()


def make_self_signed(appliance: Appliance) -> None:
    """Create a key and a self-signed certificate for the names and addresses of this machine."""
    key, certificate = _self_signed()
    tls = bundle(appliance).parent
    paths.make_directories(tls / "private", 0o700 if appliance.group is None else 0o755)
    for directory in ("certs", "cacerts"):
        paths.make_directories(tls / directory)
    appliance.replace_files(
        {
            bundle(appliance): key + certificate,
            tls / "private/enterprise.key": key,
            tls / "certs/enterprise.crt": certificate,
            _record(appliance): hashlib.sha256(key + certificate).hexdigest(),
        },
        mode=0o640,
    )


def _self_signed() -> tuple[bytes, bytes]:
    """Return a new P-256 key and its certificate, both in PEM."""
    # Imported late: a service that has its certificate starts without these.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, socket.gethostname()[:64] or "appliance")])
    now = _now()
    names = [x509.DNSName(each) for each in _host_names()] + [x509.IPAddress(each) for each in _addresses()]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(max(now, EARLIEST) + VALID)  # for clients whose clocks are set
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def _host_names() -> list[str]:
    return sorted({each for each in (socket.gethostname(), "localhost") if each and each.isascii()})


def _addresses() -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the addresses of this machine, as far as it tells: a sandbox may hide its network interfaces."""
    import psutil

    found = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    try:
        interfaces = psutil.net_if_addrs()
    except Exception as error:  # OSError, or what psutil makes of it
        logger.error("The addresses of this machine are not known, so its certificate does not name them: %s", error)
        return sorted(found, key=str)
    for addresses in interfaces.values():
        for each in addresses:
            if each.family in (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(ValueError):
                    found.add(ipaddress.ip_address(each.address.partition("%")[0]))
    return sorted(found, key=str)
