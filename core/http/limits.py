"""The limits that the section `limits` of the configuration sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of what clients may use.

    :param upload: bytes of one uploaded file.
    :param free_space: bytes that must stay free on the spool's file system.
    :param idle: seconds without a byte of a body.
    :param rate: average bytes per second of a body, after its first 30 seconds.
    :param connections: concurrent connections in all.
    :param connections_per_address: concurrent connections of one client.
    :param pause: seconds between two failed authentications of one client.
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
        """Return the limits in a section of the configuration."""
        return cls(
            section["upload"],
            section["free-space"],
            section["idle-body"],
            section["minimum-upload-rate"],
            section["connections"],
            section["connections-per-address"],
            section["failed-authentication-pause"],
        )
