"""The forms that a public key of RSA may have in DER, which are different bytes of the same key."""

from __future__ import annotations

from typing import Final

_CONSTRUCTED: Final = 0x20
_SEQUENCE: Final = 0x30
_OID: Final = 0x06
_NULL: Final = bytes.fromhex("0500")
#: Object identifiers after which openssl writes NULL where there are no parameters: rsaEncryption and the hashes.
_WITH_NULL: Final = tuple(
    bytes.fromhex(each)
    for each in (
        "06092a864886f70d010101",
        "06052b0e03021a",
        "0609608648016503040201",
        "0609608648016503040202",
        "0609608648016503040203",
        "0609608648016503040204",
    )
)
_PLAIN: Final = bytes.fromhex("300d06092a864886f70d0101010500")
"""The algorithm rsaEncryption."""
_FOR_PSS: Final = bytes.fromhex("300b06092a864886f70d01010a")
"""The algorithm id-RSASSA-PSS of RFC 8017, without parameters."""


def canonical(der: bytes) -> bytes:
    """Return a key as openssl writes it: algorithms have NULL where they have no parameters.

    :raises ValueError: it is no DER.
    """
    try:
        return _canonical(der)
    except (IndexError, RecursionError) as error:
        raise ValueError("no DER") from error


def _canonical(der: bytes) -> bytes:
    written, position = bytearray(), 0
    while position < len(der):
        tag, content, position = _element(der, position)
        if tag & _CONSTRUCTED:
            content = _canonical(content)
            if tag == _SEQUENCE and content[:1] == bytes([_OID]) and len(content) == 2 + content[1]:
                content += _NULL if content.startswith(_WITH_NULL) else b""
        written += _encoded(tag, content)
    return bytes(written)


def for_pss(plain: bytes) -> bytes:
    """Return the form of an RSA key for signatures of RSA-PSS alone, without further restrictions.

    :param plain: its form for all signatures.
    """
    tag, content, _ = _element(plain, 0)
    return _encoded(tag, content.replace(_PLAIN, _FOR_PSS, 1))


def _element(der: bytes, position: int) -> tuple[int, bytes, int]:
    """Return tag and content of an element, and where the next one begins."""
    tag, length = der[position], der[position + 1]
    position += 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(der[position : position + size], "big")
        position += size
    return tag, der[position : position + length], position + length


def _encoded(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content
