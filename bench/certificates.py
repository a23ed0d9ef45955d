"""New certificates for the loopback address."""

from __future__ import annotations

import subprocess
from pathlib import Path


def new_certificate(below: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate with openssl and return the files of the key and of the certificate, in PEM."""
    private, public = below / "new.key", below / "new.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(private), "-out", str(public)],
        check=True, capture_output=True,
    )  # fmt: skip
    return private, public
