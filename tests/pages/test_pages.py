"""Public pages of plugins: addresses, policy, compression and caching."""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

LONG = "jidoteki " * 1000

PLUGIN = """
import time

from jidoteki.hookspecs import Page, hookimpl

def made(visit):
    return f"{visit.setup} {time.time_ns()}".encode()

@hookimpl
def jidoteki_pages(appliance):
    return [
        Page("/shop", made, "text/plain"),
        Page("/shop/long", b"jidoteki " * 1000, "text/plain", immutable=True),
        Page("/shelf", b"the shelf", "text/plain", below=True),
    ]
"""


def fetch(host: Host, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Request a path as it is written, without decoding the answer."""
    context = ssl.create_default_context(cafile=host.certificate)
    where = urlsplit(host.url)
    connection = http.client.HTTPSConnection(str(where.hostname), where.port, timeout=20, context=context)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.fixture
def make(jidoteki_host: MakeHost, tmp_path: Path) -> Callable[[str], Host]:
    """Make a host with the text of a plugin."""

    def with_plugin(text: str) -> Host:
        (tmp_path / "shop.py").write_text(text)
        return jidoteki_host(load=(tmp_path / "shop.py",))

    return with_plugin


@pytest.fixture
def host(make: Callable[[str], Host]) -> Host:
    return make(PLUGIN)


def test_page_is_public_and_under_a_strict_policy(host: Host) -> None:
    status, headers, body = fetch(host, "/shop")

    assert (status, body) == (200, body)
    assert body.startswith(b"done ")
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy and "require-trusted-types-for" in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_content_is_made_once_until_the_configuration_is_read_again(host: Host) -> None:
    first = {fetch(host, "/shop")[2] for _ in range(3)}
    assert len(first) == 1
    host.reload()
    assert fetch(host, "/shop")[2] not in first


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "*", "GZIP"])
def test_page_is_compressed_for_those_who_take_it(host: Host, accepted: str) -> None:
    _, headers, body = fetch(host, "/shop/long", Accept_Encoding=accepted)

    assert headers["Content-Encoding"] == "gzip" and headers["Vary"] == "Accept-Encoding"
    assert len(body) < 1000
    assert gzip.decompress(body).decode() == LONG
    assert "immutable" in headers["Cache-Control"]


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "gzip; q=0.000", "*;q=0", "br"])
def test_page_is_sent_plain_to_all_others(host: Host, accepted: str) -> None:
    _, headers, body = fetch(host, "/shop/long", Accept_Encoding=accepted)

    assert "Content-Encoding" not in headers
    assert body.decode() == LONG


def test_page_below_which_everything_is_served_leaves_longer_paths_to_their_pages(host: Host) -> None:
    assert fetch(host, "/shelf/a/b")[2] == b"the shelf"
    assert fetch(host, "/shelf/")[2] == b"the shelf"
    assert fetch(host, "/shelves")[0] == 404
    assert fetch(host, "/shop/other")[0] == 404


def test_pages_are_read_only_and_head_has_no_body(host: Host) -> None:
    status, headers, body = fetch(host, "/shop/long", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(LONG)))

    status, headers, body = fetch(host, "/shop", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/api/v1/admin/version", "/docs", "/docs/page.js", "shop", "/shop/../etc", "/ä"])
def test_plugin_with_a_path_of_the_host_is_left_out_and_the_rest_is_served(
    make: Callable[[str], Host], path: str
) -> None:
    host = make(PLUGIN.replace('"/shop"', json.dumps(path)))

    wait_until(lambda: "The plugin shop is left out" in (host.appliance.log / "jidoteki-admin-api.log").read_text())
    assert fetch(host, "/shelf")[0] == 404
    assert fetch(host, "/")[0] == 200
    assert host.get("/version").status == 200


def test_plugin_may_have_the_first_page_and_leaves_the_dashboard_its_others(make: Callable[[str], Host]) -> None:
    host = make(PLUGIN.replace('"/shop"', '"/"'))

    assert fetch(host, "/")[2].startswith(b"done ")
    assert b"<title>" in fetch(host, "/dashboard")[2]


def test_page_that_fails_is_an_error_and_not_the_end_of_others(make: Callable[[str], Host]) -> None:
    host = make(PLUGIN.replace("return f", "raise ValueError; f"))

    assert fetch(host, "/shop")[0] == 500
    assert fetch(host, "/shelf")[0] == 200


def test_client_that_asks_for_204_gets_it_where_there_is_nothing_to_show(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("settings",))

    assert host.get("/settings").status == 404
    answer = host.get("/settings", "-H", "Prefer: nothing=204")
    assert (answer.status, answer.headers["Preference-Applied"], answer.body) == (204, "nothing=204", b"")
    assert host.get("/update/log", "-H", "Prefer: nothing=204").status == 204  # a file that is not there
    assert host.get("/nowhere", "-H", "Prefer: nothing=204").status == 404


def test_page_that_is_slow_to_make_keeps_nobody_from_the_others(make: Callable[[str], Host]) -> None:
    host = make(PLUGIN.replace("return f", "time.sleep(8); return f"))
    asking = threading.Thread(target=fetch, args=(host, "/shop"))
    asking.start()
    time.sleep(0.5)
    began = time.monotonic()

    assert fetch(host, "/shelf")[0] == 200
    assert fetch(host, "/")[0] == 200
    assert time.monotonic() - began < 5
    asking.join()
