"""What the service takes on: the section `limits` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may cost.

    :param upload: bytes of one uploaded file.
    :param free_space: bytes that stay free on the file system of the spool.
    :param idle: seconds without a byte of a body.
    :param rate: bytes a second that must come on average, once the first 30 seconds are over.
    :param connections: at once, in all.
    :param connections_per_address: at once, of one client.
    :param pause: seconds between two failed guesses of one client.
    """

    upload: int
    free_space: int
    idle: float
    rate: int
    connections: int
    connections_per_address: int
    pause: float

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Self:
        """The limits that a section of the configuration sets."""
        return cls(
            section["upload"],
            section["free-space"],
            section["idle-body"],
            section["minimum-upload-rate"],
            section["connections"],
            section["connections-per-address"],
            section["failed-authentication-pause"],
        )
