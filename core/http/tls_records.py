"""The records of TLS: which are whole, and whether a handshake begins in a way that OpenSSL can be asked to read.

https://www.rfc-editor.org/rfc/rfc8446#section-5.1: kind, version, length; a record holds at most 2^14 + 2048 bytes.
"""

from __future__ import annotations

MAX_HELLO = 8 * 1024

HEADER = 5
MAX_RECORD = (1 << 14) + 2048
CHANGE_CIPHER_SPEC, HANDSHAKE, APPLICATION_DATA = 20, 22, 23
CLIENT_HELLO = 1


class HelloRefusedError(Exception):
    """A client begins TLS in a way that would cost too much."""


def has_hello(held: bytearray) -> bool:
    """Whether all of a ClientHello is there, or something that OpenSSL refuses at once.

    :raises HelloRefusedError: it is too long or in too small pieces.
    """
    position = payload = wanted = 0
    while len(held) >= position + HEADER:
        kind, length = held[position], int.from_bytes(held[position + 3 : position + HEADER], "big")
        if kind != HANDSHAKE or not length or length > MAX_RECORD:
            return True
        start = position + HEADER
        if not position:
            if length < 4:
                raise HelloRefusedError("its ClientHello comes in too small pieces")
            if len(held) < start + 4:
                return False
            if held[start] != CLIENT_HELLO:
                return True
            wanted = 4 + int.from_bytes(held[start + 1 : start + 4], "big")
            if wanted > MAX_HELLO:
                raise HelloRefusedError("its ClientHello is too long")
        position = start + length
        payload += length
        if payload >= wanted:
            return len(held) >= position
    return False


def check_second_hello(held: bytearray) -> None:
    """Check the ClientHello that a client sends again after having been asked to use another group.

    All other handshake messages are encrypted by then, and have another kind of record.

    :raises HelloRefusedError: it is too long or in too small pieces.
    """
    position = 0
    while len(held) >= position + HEADER:
        kind, length = held[position], int.from_bytes(held[position + 3 : position + HEADER], "big")
        start = position + HEADER
        if kind == HANDSHAKE and (length < 4 or int.from_bytes(held[start + 1 : start + 4], "big") > MAX_HELLO):
            raise HelloRefusedError("its second ClientHello is too long or in too small pieces")
        position = start + length


def whole_records(held: bytearray) -> int:
    """How many bytes at the beginning are whole records, or nothing that TLS knows, which OpenSSL refuses at once."""
    position = 0
    while len(held) >= position + HEADER:
        length = int.from_bytes(held[position + 3 : position + HEADER], "big")
        if not CHANGE_CIPHER_SPEC <= held[position] <= APPLICATION_DATA or length > MAX_RECORD:
            return len(held)
        if len(held) < position + HEADER + length:
            break
        position += HEADER + length
    return position
