"""The check of the active certificate by `jidoteki check`: whether TLS clients accept it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from jidoteki.hookspecs import Appliance, Finding, paths
from jidoteki.plugins.certs import bundle, handshake
from jidoteki.plugins.certs.jobs import TlsFiles
from jidoteki.plugins.certs.pem_texts import CertificateError


def check(appliance: Appliance) -> Iterator[Finding]:
    """Yield why clients refuse the connection; a certificate that cannot be loaded is the host's finding."""
    path = TlsFiles.of(appliance).served
    try:
        text = paths.read_regular(path, follow=True).decode("latin-1")
        served = bundle.load(text, text)
    except (OSError, CertificateError):
        return
    try:
        bundle.check_signatures(served)
        with tempfile.TemporaryDirectory() as workspace:
            handshake.check(served, Path(workspace))
    except CertificateError as error:
        yield Finding("error", "certificate", str(error), "Send another one with POST /certs.", str(path))
