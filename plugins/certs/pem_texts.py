"""PEM as it comes from authorities, mails and other systems (RFC 7468; OpenSSL 3.0, `PEM_read_bio`)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

BYTE_ORDER_MARK: Final = "\xef\xbb\xbf"
_UTF_16: Final = ("-\0-\0", "\0-\0-")
_CERTIFICATE: Final = re.compile(
    r"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----\n((?:[^-]|-(?!----))*)-----END \1?CERTIFICATE-----"
)
_AT_LINE_END: Final = re.compile(r"[ \t\v\f\0]+$", re.MULTILINE)
_PKCS12: Final = re.compile(r"\A0.{1,5}\x02\x01\x03", re.DOTALL)


class Refused(Exception):
    """Why a key or certificate is not accepted, in one sentence."""


def plain(parameter: str, content: str) -> str:
    """Return a text with bare line ends, as OpenSSL reads it.

    :param content: one character for each byte.
    :raises Refused: it is no PEM, but something else that is known.
    """
    if any(dashes in content for dashes in _UTF_16):
        raise Refused(f"{parameter} is a text in UTF-16: save it as UTF-8 or ASCII")
    if _PKCS12.match(content):
        raise Refused(f"{parameter} is PKCS#12: convert it to PEM with 'openssl pkcs12 -nodes'")
    if content.startswith("0\x82") or content.startswith("0\x81"):
        raise Refused(f"{parameter} is DER: convert it to PEM, certificates with 'openssl x509 -inform der'")
    text = content.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n").replace("\r", "\n")
    return _AT_LINE_END.sub("", text)


def certificates(parameter: str, content: str) -> list[str]:
    """Return the certificates in a text, each as a plain PEM block.

    :raises Refused: there is none.
    """
    text = plain(parameter, content)
    found = [_block(kind, body) for kind, body in _CERTIFICATE.findall(text)]
    if found:
        return found
    if re.search(r"-----BEGIN (PKCS7|CMS)-----", text):
        raise Refused(f"{parameter} is PKCS#7: convert it to PEM with 'openssl pkcs7 -print_certs'")
    raise Refused(f"{parameter} holds no PEM certificate (-----BEGIN CERTIFICATE-----)")


def _block(kind: str, body: str) -> str:
    if kind == "TRUSTED ":  # what the certificate is trusted for comes behind it
        try:
            der = base64.b64decode(body)
            body = base64.encodebytes(der[: _length(der)]).decode("ascii")
        except (binascii.Error, IndexError):
            pass  # told as damaged by whoever parses it
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----"


def _length(der: bytes) -> int:
    """How long the first value is (X.690, 8.1.3)."""
    if der[1] < 0x80:
        return 2 + der[1]
    octets = der[1] & 0x7F
    return 2 + octets + int.from_bytes(der[2 : 2 + octets], "big")
