"""Authenticated `GET /version?hash=` on 16 keep-alive connections, beside a bare handler that returns the same."""

from __future__ import annotations

from collections.abc import Callable

from bench import load, servers
from bench.rows import Row, interleaved

BESIDE = "bare aiohttp"


def rows(quick: bool) -> list[Row]:
    """Requests a second and p99, over HTTP and TLS."""
    # Short turns: the speed of a machine that is shared changes from second to second.
    seconds, runs = (0.3, 5) if quick else (0.6, 21)
    found = []
    with servers.directory() as below:
        on = servers.appliance(below)
        with servers.service(on) as host, servers.bare(on, below, load.first_answer(host)) as bare:
            for tls in (False, True):
                request = servers.request(host)
                ours, reference = interleaved(
                    _loading(servers.place(host).address(tls), request, seconds, tls),
                    _loading(bare.place.address(tls), request, seconds, tls),
                    runs,
                )
                name = f"GET /version, {'TLS' if tls else 'HTTP'}"
                found.append(Row(name, "requests/s", ours["rate"], reference["rate"], BESIDE, 0.8, at_least=True))
                found.append(Row(f"{name}, p99", "ms", ours["p99"], reference["p99"], BESIDE, 1.4))
    return found


def _loading(address: str, request: bytes, seconds: float, tls: bool) -> Callable[[], dict[str, float]]:
    return lambda: load.rate_at(address, request, seconds, tls)
