"""A test of whether TLS clients accept a certificate: a handshake of OpenSSL with itself, in memory."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from jidoteki.hookspecs import tls_handshakes
from jidoteki.plugins.certs.bundle import Bundle, pem
from jidoteki.plugins.certs.pem_texts import CertificateError

NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which Python does not define: a certificate that is not valid now is only a warning."""


def check(bundle: Bundle, workspace: Path) -> None:
    """Check that a client that trusts the last certificate of the bundle accepts it, with each version of TLS.

    :param workspace: an empty directory, closed to other users.
    :raises CertificateError: OpenSSL cannot load it, or one of the two sides refuses it.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(server, bundle, workspace)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # the name by which clients address the appliance is unknown
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME
    client.load_verify_locations(cadata=pem([(bundle.certificate, *bundle.chain)[-1]]))
    for version in tls_handshakes.VERSIONS:
        client.minimum_version = client.maximum_version = version
        try:
            tls_handshakes.shake_hands(server, client)
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(f"TLS clients refuse this certificate: {error.verify_message}") from error
        except ssl.SSLError as error:
            named = version.name.replace("v", " ").replace("_", ".")
            raise CertificateError(
                f"No client can connect with {named} and this certificate: {error.reason or error}"
            ) from error


def _load(server: ssl.SSLContext, bundle: Bundle, workspace: Path) -> None:
    path = workspace / "bundle.pem"
    path.touch(mode=0o600)
    try:
        path.write_text(bundle.pem(), encoding="ascii")
        server.load_cert_chain(path, password="")
    except ssl.SSLError as error:
        raise CertificateError(f"OpenSSL cannot serve this key and certificate: {error.reason or error}") from error
    finally:
        path.unlink()
