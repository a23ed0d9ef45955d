"""`GET /backup/download` of a large backup over HTTP and TLS, beside nginx that serves the same file.

Where nginx is not installed, bare aiohttp's own file response stands in, and the table says so.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench import content, servers
from bench.rows import Row, interleaved
from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until

MIB = 1024 * 1024
RECEIVED = 1024 * 1024
NGINX = """
daemon off;
worker_processes 1;
pid {below}/nginx.pid;
error_log {below}/nginx.log;
user root;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  client_body_temp_path {below}/body;
  proxy_temp_path {below}/proxy;
  fastcgi_temp_path {below}/fastcgi;
  uwsgi_temp_path {below}/uwsgi;
  scgi_temp_path {below}/scgi;
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {pem};
    ssl_certificate_key {pem};
    root {root};
  }}
}}
"""


def rows(quick: bool) -> list[Row]:
    """MB/s."""
    size, runs = (128 * MIB, 3) if quick else (1024 * MIB, 5)
    found = []
    with servers.directory() as below:
        on = servers.appliance(below)
        shutil.rmtree(on.data / "app")
        (on.data / "app").mkdir()
        content.write_one(on.data / "app/one", size)
        with servers.service(on) as host:
            host.post("/backup", "-F", "action=START")
            servers.wait_for_job(host, "backup", 300)
            with _reference(on, below) as (beside, place, path):
                for tls, target in ((False, 0.9), (True, 0.7)):
                    mine, its = interleaved(
                        partial(_get, servers.place(host), _ours(host), tls),
                        partial(_get, place, path, tls),
                        runs,
                    )
                    name = f"GET /backup/download, {size // MIB} MiB, {'TLS' if tls else 'HTTP'}"
                    found.append(Row(name, "MB/s", mine["rate"], its["rate"], beside, target, at_least=True))
    return found


def _ours(host: Host) -> str:
    return f"{PREFIX}/backup/download{host.query('GET', '/backup/download')}"


@contextmanager
def _reference(on: Appliance, below: Path) -> Iterator[tuple[str, servers.Place, str]]:
    if shutil.which("nginx"):
        with _nginx(on, below) as place:
            yield "nginx", place, "/backup.tar"
    else:
        with servers.bare(on, on.uploads) as bare:
            yield "aiohttp FileResponse", bare.place, "/files/backup.tar"


@contextmanager
def _nginx(on: Appliance, below: Path) -> Iterator[servers.Place]:
    place = servers.Place("127.0.0.1", _free_port(), _free_port())
    configuration = below / "nginx.conf"
    pem = on.system_etc / "pki/tls/enterprise.pem"
    configuration.write_text(
        NGINX.format(below=below, port=place.port, tls_port=place.tls_port, pem=pem, root=on.uploads)
    )
    process = subprocess.Popen([*servers.pinned(0), "nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(place))
        yield place
    finally:
        process.terminate()
        process.wait(20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _listens(place: servers.Place) -> bool:
    try:
        socket.create_connection((place.host, place.tls_port), 1).close()
    except OSError:
        return False
    return True


def _get(place: servers.Place, target: str, tls: bool) -> dict[str, float]:
    buffer = bytearray(RECEIVED)
    plain = socket.create_connection((place.host, place.tls_port if tls else place.port), 60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(plain) if tls else plain as connection:
        began = time.perf_counter()
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        first = b""
        while b"\r\n\r\n" not in first:
            first += connection.recv(RECEIVED)
        head, received = first[: first.index(b"\r\n\r\n")], len(first)
        if not head.startswith(b"HTTP/1.1 200"):
            raise AssertionError(head)
        while count := connection.recv_into(buffer):
            received += count
        taken = time.perf_counter() - began
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    if received != len(head) + 4 + length:
        raise AssertionError(f"{received} bytes came")
    return {"rate": received / taken / 1e6}
