"""Following events with the real curl, on a host with a plugin that publishes some."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from places import SAMPLES

from jidoteki.testing import Host, MakeHost, wait_until

PREFIX = "/api/v1/admin"


@dataclass(frozen=True)
class Told:
    """One event as it came."""

    id: str
    name: str
    data: Any


class Curl:
    """`curl -N`, and what it has printed so far."""

    def __init__(
        self, host: Host, *arguments: str, token: str | None = None, path: str = "/events", query: str = ""
    ) -> None:
        shown = host.query("GET", path) if token is None else f"?token={token}"
        url = f"{host.url}{PREFIX}{path}{shown}&{query}"
        argv = ["curl", "-sSN", "--cacert", str(host.certificate), "--max-time", "60", "-i", url, *arguments]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.output = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        while piece := os.read(self.process.stdout.fileno(), 65536):
            self.output += piece

    @property
    def head(self) -> str:
        return self.output.partition(b"\r\n\r\n")[0].decode()

    def events(self) -> list[Told]:
        """Those that are complete."""
        blocks = self.output.partition(b"\r\n\r\n")[2].decode().split("\n\n")[:-1]
        found = []
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "event" in fields:
                found.append(Told(fields.get("id", ""), fields["event"], json.loads(fields["data"])))
        return found

    def named(self, name: str) -> list[Told]:
        return [each for each in self.events() if each.name == name]

    def wait_for(self, name: str, condition: Callable[[Any], bool] = lambda data: True, seconds: float = 20.0) -> Told:
        def found() -> Told | None:
            return next((each for each in self.named(name) if condition(each.data)), None)

        try:
            told: Told = wait_until(found, seconds)
        except AssertionError:
            raise AssertionError(f"There is no such {name} in {self.output.decode()}") from None
        return told

    def last_id(self) -> str:
        return [each.id for each in self.events() if each.id][-1]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)


@contextmanager
def following(
    host: Host, *arguments: str, token: str | None = None, path: str = "/events", query: str = ""
) -> Iterator[Curl]:
    curl = Curl(host, *arguments, token=token, path=path, query=query)
    try:
        yield curl
    finally:
        curl.end()


def publishing(jidoteki_host: MakeHost, **sections: Any) -> Host:
    """A host whose plugin publishes events, and that has named tokens."""
    return jidoteki_host(
        load=(SAMPLES / "publisher.py",), enable=("events", "publisher", "tokens"),
        parameters=None, authentication={"named-tokens": True}, **sections,
    )  # fmt: skip
