"""A compact set of an archive's names, of which there may be millions."""

from __future__ import annotations

from array import array
from hashlib import blake2b


class Names:
    """A set of names that takes 16 to 32 bytes for each."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._used = 0

    def add(self, name: str) -> bool:
        """Add a name; return False when it, or another name with its 64-bit digest, was added before."""
        # 0 marks a free slot.
        digest = int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little") or 1
        if self._used * 2 >= len(self._slots):
            self._grow()
        slot = self._find(self._slots, digest)
        if self._slots[slot]:
            return False
        self._slots[slot] = digest
        self._used += 1
        return True

    @staticmethod
    def _find(slots: array[int], digest: int) -> int:
        mask = len(slots) - 1
        slot = digest & mask
        while slots[slot] not in (0, digest):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        larger = array("Q", bytes(16 * len(self._slots)))
        for digest in self._slots:
            if digest:
                larger[self._find(larger, digest)] = digest
        self._slots = larger
