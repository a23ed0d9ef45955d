"""Parsing PEM from authorities, mails and other systems (RFC 7468; OpenSSL 3.0, `PEM_read_bio`)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from jidoteki.hookspecs import file_names

BYTE_ORDER_MARK: Final = "\xef\xbb\xbf"
_CERTIFICATE: Final = re.compile(
    r"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----\n((?:[^-]|-(?!----))*)-----END \1?CERTIFICATE-----"
)
_KEY: Final = re.compile(
    r"-----BEGIN (?!OPENSSH )(?:[A-Z0-9]+ )?PRIVATE KEY-----\n"
    r"(?:[^-]|-(?!----))*-----END (?:[A-Z0-9]+ )?PRIVATE KEY-----"
)
_CERTIFICATE_LINE: Final = re.compile(r"-----(?P<word>BEGIN|END) (?P<kind>(?:TRUSTED |X509 )?CERTIFICATE)-----")
_KEY_LINE: Final = re.compile(r"-----(?P<word>BEGIN|END) (?P<kind>(?!OPENSSH )(?:[A-Z0-9]+ )?PRIVATE KEY)-----")
#: What OpenSSL strips at the end of a line: control characters and all but ASCII, such as non-breaking spaces.
_AT_LINE_END: Final = "".join(map(chr, [*range(0x21), *range(0x80, 0x100)]))
_SPACES: Final = " \t"
#: A line copied between systems may end with more than one carriage return.
_LINE_END: Final = re.compile(r"\r+\n|\r")
#: OpenSSL needs `-----` at the beginning of a line, so characters before a block's first and last line disable it.
_SWITCHED_OFF: Final = re.compile(r"^(?:#|;|//|!|>)+[ \t]*-----(?:BEGIN|END) .*$", re.MULTILINE)
_PKCS12_TO_PEM: Final = "PKCS#12: convert it to PEM with 'openssl pkcs12 -nodes'"
_PKCS7_TO_PEM: Final = "PKCS#7: convert it to PEM with 'openssl pkcs7 -print_certs'"
_CMS_TO_PEM: Final = "PKCS#7: convert it to PEM with 'sed s/CMS/PKCS7/ FILE | openssl pkcs7 -print_certs'"
_DER_TO_PEM: Final = (
    "DER: convert it to PEM, certificates with 'openssl x509 -inform der', keys with 'openssl pkey -inform der'"
)
#: Signatures of binary files: X.690 of PKCS#12 (RFC 7292), PKCS#7 (RFC 2315) and others; Java's key stores.
_BINARIES: Final = (
    (re.compile(r"0.{1,5}\x02\x01\x03", re.DOTALL), _PKCS12_TO_PEM),
    (
        re.compile(r"0.{1,5}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07", re.DOTALL),
        "PKCS#7: convert it to PEM with 'openssl pkcs7 -inform der -print_certs'",
    ),
    (re.compile(r"0(?:[\x81-\x84].{1,4}[\x02\x30]|[\x20-\x7f]\x02\x01)", re.DOTALL), _DER_TO_PEM),
    (re.compile(r"\xfe\xed\xfe\xed|\xce\xce\xce\xce"), "a key store of Java: export it with 'keytool -importkeystore'"),
    (re.compile(r"\x1f\x8b|PK\x03\x04"), "an archive: unpack it"),
    (re.compile(r"PuTTY-User-Key-File"), "a key for SSH, of PuTTY: send the key that the certificate was made with"),
)
_PKCS7: Final = re.compile(r"-----BEGIN (?:PKCS7|PKCS #7 SIGNED DATA)-----")
_CMS: Final = re.compile(r"-----BEGIN CMS-----")
#: Blocks that are sent in place of the wanted one, the most specific ones first.
_BLOCKS: Final = (
    (re.compile(r"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----"), "a request: send what the authority made of it"),
    (re.compile(r"-----BEGIN OPENSSH PRIVATE KEY-----"), "a key for SSH: convert it with 'ssh-keygen -p -m PEM'"),
    (re.compile(r"-----BEGIN (?:[A-Z0-9]+ )?PRIVATE KEY-----"), "a private key"),
    (re.compile(r"-----BEGIN (?:RSA )?PUBLIC KEY-----"), "a public key"),
    (re.compile(r"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----\n"), "a certificate"),
)


class CertificateError(Exception):
    """A key or certificate that is not accepted; the message is a full sentence."""


def plain(parameter: str, content: str) -> str:
    """Return a text with LF line ends and without spaces around its lines.

    :param content: one character for each byte.
    :raises CertificateError: it is not PEM, but another known format.
    """
    for width in (4, 2):
        dashes = "-" + "\0" * (width - 1) + "-"
        if dashes in content:
            raise CertificateError(f"{parameter} is a text in UTF-{width * 8}: save it as UTF-8 or ASCII")
    if "-----BEGIN " not in content:
        for pattern, kind in _BINARIES:
            if pattern.match(content):
                raise CertificateError(f"{parameter} is {kind}")
    text = _LINE_END.sub("\n", content.removeprefix(BYTE_ORDER_MARK))
    text = "\n".join(line.rstrip(_AT_LINE_END).lstrip(_SPACES) for line in text.split("\n"))
    return _SWITCHED_OFF.sub("", text)


def certificates(parameter: str, content: str) -> list[str]:
    """Return the certificates in a text, each as a plain PEM block.

    :raises CertificateError: there is none.
    """
    text = plain(parameter, content)
    found = [_block(kind, body) for kind, body in _CERTIFICATE.findall(text)]
    _check_whole(parameter, _CERTIFICATE.sub("", text), _CERTIFICATE_LINE, bool(found))
    return found or _refuse(parameter, text, "certificate (-----BEGIN CERTIFICATE-----)")


def key(content: str) -> str:
    """Return the private key in `private`, as a plain PEM block.

    :raises CertificateError: there is none, or more than one.
    """
    text = plain("private", content)
    found: list[str] = _KEY.findall(text)
    _check_whole("private", _KEY.sub("", text), _KEY_LINE, bool(found))
    found = found or _refuse("private", text, "private key (-----BEGIN PRIVATE KEY-----)")
    if len(found) > 1:
        raise CertificateError(f"private holds {len(found)} private keys: exactly one is allowed")
    return found[0] + "\n"


def _check_whole(parameter: str, rest: str, line: re.Pattern[str], found: bool) -> None:
    """Refuse a text of which the first or the last line of a block is left.

    :param rest: the text without its complete blocks.
    :param line: the first or last line of a block.
    :param found: whether there were complete blocks; then only what OpenSSL takes for the first line counts.
    """
    lines = set(rest.split("\n"))
    counts = (each for each in line.finditer(rest) if not found or (each["word"] == "BEGIN" and each[0] in lines))
    alone = next(counts, None)
    if alone is None:
        return
    begins, ends = (f"-----{word} {alone['kind']}-----" for word in ("BEGIN", "END"))
    if begins in rest and ends in rest:
        problem = f"can be read: its line ends are lost, {begins} and {ends} must be lines of their own"
    else:
        problem = f"is whole: it is cut off, the line {begins if alone['word'] == 'END' else ends} is missing"
    raise CertificateError(
        f"{parameter} holds no PEM that {problem}; send the file as it was made, with curl as -F {parameter}=@FILE"
    )


def _refuse(parameter: str, text: str, wanted: str) -> list[str]:
    """Raise the error that names what was sent instead."""
    if _PKCS7.search(text):
        raise CertificateError(f"{parameter} is {_PKCS7_TO_PEM}")
    if _CMS.search(text):
        raise CertificateError(f"{parameter} is {_CMS_TO_PEM}")
    there = next((f", but {kind}" for pattern, kind in _BLOCKS if pattern.search(text)), "")
    sent = text.encode("latin-1")
    hint = f"; {file_names.hint(parameter)}" if not there and file_names.looks_like_one(sent) else ""
    raise CertificateError(f"{parameter} holds no PEM {wanted}{there}{hint}")


def _block(kind: str, body: str) -> str:
    if kind == "TRUSTED ":  # the certificate is followed by its trust settings
        try:
            der = base64.b64decode(body)
            body = base64.encodebytes(der[: _length(der)]).decode("ascii")
        except (binascii.Error, IndexError):
            pass  # parsing it reports the damage
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----"


def _length(der: bytes) -> int:
    """Return the length of the first value in bytes (X.690, 8.1.3)."""
    if der[1] < 0x80:
        return 2 + der[1]
    octets = der[1] & 0x7F
    return 2 + octets + int.from_bytes(der[2 : 2 + octets], "big")
