"""Refused requests cost no more than others, their bodies least of all, and their clients get the answer.

Before anybody is authenticated nothing is done but parsing a small header: nothing is unpacked, nothing of a body read.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
from faultkit import LONG, Tally, client_of, connection, read_reply

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost

MIB = 1024 * 1024
FORM = "application/x-www-form-urlencoded"
BODY = b"newtoken=" + b"a" * (3 * MIB)
NUMBER = 180 if LONG else 90
#: In how many turns these are sent, to compare one kind with another.
ROUNDS = 9


class Addresses:
    """One address after the other, none of which has been refused before."""

    def __init__(self) -> None:
        self._number = 0

    def next(self) -> str:
        self._number += 1
        return f"127.4.{self._number // 200}.{5 + self._number % 200}"


def cpu_seconds(host: Host) -> float:
    """What the threads of the service have used, as exactly as the scheduler knows it."""
    assert host.process
    tasks = Path(f"/proc/{host.process.pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9


@pytest.mark.parametrize("plain", [False, True], ids=["TLS", "HTTP"])
@pytest.mark.parametrize("path", ["/setup?token=wrong", "/update", "/nothing"])
def test_a_client_that_sends_all_of_its_body_first_gets_the_answer(
    jidoteki_host: MakeHost, tally: Tally, plain: bool, path: str
) -> None:
    host = jidoteki_host(start=False)
    host.start(*(("--http-port", "0") if plain else ()))
    addresses = Addresses()

    for _ in range(5):
        with contextlib.closing(client_of(host, addresses.next())) as client:
            client.request("POST", f"{PREFIX}{path}", BODY, {"Content-Type": FORM})
            answer = client.getresponse()
            tally.case(answer.status == (404 if path == "/nothing" else 403), answer.status)
            tally.case(b'"Status"' in answer.read(), "it has no body")

    assert tally.failed == []


@pytest.mark.parametrize(
    "how",
    [
        ("-H", "Expect:", "--data-binary", "@{}"),
        ("-H", "Expect:", "--limit-rate", "2M", "--data-binary", "@{}"),
        ("-H", "Transfer-Encoding: chunked", "--data-binary", "@{}"),
        ("-F", "update=@{}"),
    ],
    ids=["at once", "slowly", "in chunks", "after 100 Continue"],
)
def test_curl_gets_the_answer_to_an_upload_that_is_refused(
    jidoteki_host: MakeHost, tmp_path: Path, how: tuple[str, ...]
) -> None:
    host = jidoteki_host(token="another-token-entirely")  # noqa: S106  # of a test
    (tmp_path / "content").write_bytes(bytes(30 * MIB))

    done = subprocess.run(
        ["curl", "-sSk", "-w", " %{http_code}", f"{host.url}{PREFIX}/update?token={TOKEN}",
         *(each.format(tmp_path / "content") for each in how)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.endswith("403"), done


def kernel_buffers() -> int:
    """Return how many bytes the kernel takes at most for both ends of a connection that nobody reads."""
    limits = (Path("/proc/sys/net/ipv4", name).read_text().split() for name in ("tcp_rmem", "tcp_wmem"))
    return sum(int(largest) for _, _, largest in limits)


def test_a_body_behind_a_refusal_is_not_read_for_long(jidoteki_host: MakeHost, tally: Tally) -> None:
    host = jidoteki_host()
    before = cpu_seconds(host)

    started = time.monotonic()
    sent = 0
    with connection(host) as client:
        client.sendall(f"POST {PREFIX}/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            while time.monotonic() - started < 20:
                client.sendall(bytes(65536))
                sent += 65536

    tally.case(time.monotonic() - started < 8, f"it was read for {time.monotonic() - started:.1f} s")
    tally.case(sent <= 16 * MIB + kernel_buffers(), f"{sent // MIB} MiB were taken")
    tally.case(cpu_seconds(host) - before <= 0.2, f"{cpu_seconds(host) - before:.2f} s of CPU")
    assert tally.failed == []


def test_a_compressed_form_is_refused_and_not_unpacked(jidoteki_host: MakeHost, tally: Tally) -> None:
    host = jidoteki_host()
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(bytes(256 * MIB)) + packer.flush()

    for credential, status in (("", 403), (f"?token={TOKEN}", 415)):
        before = cpu_seconds(host)
        with contextlib.closing(client_of(host)) as client:
            headers = {"Content-Type": FORM, "Content-Encoding": "gzip"}
            client.request("POST", f"{PREFIX}/setup{credential}", bomb, headers)
            answer = client.getresponse()
            answer.read()
        time.sleep(0.3)
        tally.case(answer.status == status, answer.status)
        tally.case(cpu_seconds(host) - before <= 0.1, f"{status}: {cpu_seconds(host) - before:.2f} s of CPU")
    assert tally.failed == []


def get(query: str = "", headers: str = "") -> bytes:
    return f"GET {PREFIX}/version{query} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()


SIGNATURE = (
    f'Signature-Input: s=("@method" "@authority" "@path" "@query");created={{now}};keyid="x";nonce="{"n" * 22}"\r\n'
    f"Signature: s=:{'QUJD' * 11}:\r\n"
)
REFUSED: dict[str, Callable[[], bytes]] = {
    "a wrong token": lambda: get("?token=wrong-token-entirely"),
    "no credential": get,
    "a signature of nobody": lambda: get(headers=SIGNATURE.format(now=int(time.time()))),
    "many signatures of nobody": lambda: get(
        headers="".join(SIGNATURE.format(now=int(time.time())).replace("s=", f"s{n}=") for n in range(14))
    ),
    "a signature of much": lambda: get(
        headers=SIGNATURE.format(now=int(time.time())).replace('"@query"', " ".join(['"@query"', *['"x"'] * 400]))
    ),
    "a header that is none": lambda: get(headers="nonsense\r\n"),
    "a header that is too long": lambda: get(headers=f"X: {'x' * 9000}\r\n"),
    "a compressed body": lambda: (
        (
            f"POST {PREFIX}/setup?token=wrong HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
            f"Content-Type: {FORM}\r\nContent-Length: 1600\r\n\r\n"
        ).encode()
        + zlib.compress(bytes(MIB), wbits=31)
    ),
}


@pytest.mark.timeout(300)
def test_a_refusal_costs_at_most_twice_what_a_missing_page_costs(jidoteki_host: MakeHost, tally: Tally) -> None:
    host = jidoteki_host(authentication={"signatures": True})
    addresses = Addresses()

    def cost(content: Callable[[], bytes]) -> float:
        before = cpu_seconds(host)
        for _ in range(NUMBER // ROUNDS):
            with connection(host, addresses.next()) as client, contextlib.suppress(OSError):
                client.sendall(content())
                read_reply(client)
        time.sleep(0.1)
        return cpu_seconds(host) - before

    def missing() -> bytes:
        return f"GET {PREFIX}/nothing HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def factor_of(content: Callable[[], bytes]) -> float:
        # In turn, and the median of both: a machine that is shared is not equally fast from moment to moment, and what
        # the service does beside the requests, or a neighbour that empties the caches, hits single rounds.
        rounds = [(cost(content), cost(missing)) for _ in range(ROUNDS)]
        return median(refused for refused, _ in rounds) / median(found for _, found in rounds)

    cost(missing)
    for kind, content in REFUSED.items():
        factor = factor_of(content)
        if factor > 2:  # a busy neighbour makes all rounds of a kind dearer; what costs too much does so each time
            factor = min(factor, *(factor_of(content) for _ in range(2)))
        tally.figure(f"CPU of a refusal: {kind}", f"{factor:.1f} times that of 404")
        tally.case(factor <= 2, f"{kind}: {factor:.1f} times")
    assert tally.failed == []
