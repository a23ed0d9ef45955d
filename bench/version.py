"""Authenticated `GET /version?hash=` on 16 keep-alive connections, beside a bare handler that returns the same bytes."""

from __future__ import annotations

from bench import load, servers
from bench.rows import Row, interleaved

BESIDE = "bare aiohttp"


def rows(quick: bool) -> list[Row]:
    """Requests a second and p99, over HTTP and TLS."""
    seconds, runs = (1.0, 3) if quick else (3.0, 7)
    found = []
    with servers.directory() as below:
        on = servers.appliance(below)
        with servers.service(on) as host, servers.bare(on, below, load.first_answer(host)) as bare:
            for tls in (False, True):
                name = f"GET /version, {'TLS' if tls else 'HTTP'}"
                where, request = bare.place.address(tls), servers.request(host)
                ours, reference = interleaved(
                    lambda tls=tls: load.rate(host, seconds, tls),  # type: ignore[misc]
                    lambda tls=tls, where=where: load.rate_at(where, request, seconds, tls),  # type: ignore[misc]
                    runs,
                )
                found.append(Row(name, "requests/s", ours["rate"], reference["rate"], BESIDE, 0.8, at_least=True))
                found.append(Row(f"{name}, p99", "ms", ours["p99"], reference["p99"], BESIDE, 1.4))
    return found
