"""Content to pack and unpack that is like what appliances hold: programs, what is compressed already, logs."""

from __future__ import annotations

import os
import random
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

MIB = 1024 * 1024
FILE = 16 * MIB
SAMPLE = 48 * MIB


def programs() -> bytes:
    """Some 48 MiB of programs: this Python's own libraries and modules."""
    found = bytearray()
    for name in ("stdlib", "platlib"):
        for path in sorted(Path(sysconfig.get_path(name)).rglob("*")):
            if path.suffix in (".so", ".py", ".pyc") and path.is_file():
                found += path.read_bytes()
                if len(found) >= SAMPLE:
                    return bytes(found[:SAMPLE])
    return bytes(found)


def write_image(directory: Path, size: int) -> None:
    """Write files of 16 MiB, as many as `size` bytes need: half programs, half what cannot be compressed."""
    sample = programs()
    for number in range(max(1, size // FILE)):
        start = number * FILE // 2 % (len(sample) - FILE // 2)
        content = sample[start : start + FILE // 2] + os.urandom(FILE // 2)
        (directory / f"image-{number:03}.bin").write_bytes(content)


def write_one(path: Path, size: int) -> None:
    """Write one file that cannot be compressed."""
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))


def write_many(directory: Path, number: int, size: int = 1024, in_each: int = 1000) -> None:
    """Write many small files, `in_each` to a directory."""
    for first in range(0, number, in_each):
        inner = directory / f"{first:06}"
        inner.mkdir(parents=True)
        for each in range(first, min(first + in_each, number)):
            (inner / f"{each:06}.dat").write_bytes(os.urandom(size))


def write_logs(directory: Path, size: int) -> None:
    """Write `size` bytes of text as services log it, in files of 16 MiB."""
    lines = _log_lines(random.Random(1))  # noqa: S311  # content, not a secret
    for number in range(max(1, size // FILE)):
        written = 0
        with (directory / f"service-{number:03}.log").open("wb") as file:
            while written < FILE:
                written += file.write(next(lines))


def _log_lines(chance: random.Random) -> Iterator[bytes]:
    """Endless pieces of a log, 1,000 lines each."""
    words = ["request", "accepted", "closed", "timeout", "user", "session", "disk", "queue", "worker", "retry", "ok"]
    clients = [f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}" for _ in range(300)]
    now = 1_700_000_000.0
    while True:
        lines = []
        for _ in range(1000):
            now += chance.expovariate(20)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
            text = " ".join(chance.choices(words, k=5))
            lines.append(
                f"{stamp}.{int(now % 1 * 1000):03} INFO worker-{chance.randrange(16)} {chance.choice(clients)} {text} "
                f"{chance.randrange(5000)} ms\n"
            )
        yield "".join(lines).encode()
