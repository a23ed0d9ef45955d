"""Who hung up waits no more, and keeps nobody else of its address waiting."""

from __future__ import annotations

import time

from faultkit import ask, connection

from jidoteki.hookspecs import PREFIX
from jidoteki.testing.fixtures import TOKEN, MakeHost


def test_guesses_that_were_hung_up_lock_nobody_out(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    for _ in range(17):
        client = connection(host, "127.0.0.66")
        client.sendall(f"GET {PREFIX}/version?token=wrong HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        time.sleep(0.02)
        client.close()

    time.sleep(0.5)
    began = time.monotonic()
    answer = ask(host, "GET", "/version", f"token={TOKEN}", source="127.0.0.66")

    assert answer.status == 200
    assert time.monotonic() - began < 10  # their turns, of 2 seconds each, would take 34
