"""The reference server: bare aiohttp, no middleware, no authentication, no access log.

Run by `bench.servers` as `python -m bench.bare PEM ANSWER DIRECTORY`; prints its two ports when it is ready.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from multidict import CIMultiDict

Handler = Callable[[web.Request], Awaitable[web.Response]]

FIXED = ("content-length", "date", "connection")


async def main(pem: str, answer: str, below: str) -> None:
    """Serve until the process is ended."""
    app = web.Application(client_max_size=0)
    app.router.add_static("/files", below)
    app.router.add_get("/{tail:.*}", _answering(Path(answer).read_bytes()))
    app.router.add_post("/raw", _storing(Path(below, "raw")))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    for tls in (None, context):
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    print(*(address[1] for address in runner.addresses), flush=True)
    await asyncio.Event().wait()


def _answering(response: bytes) -> Handler:
    head, _, body = response.partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    headers = CIMultiDict((name, value) for name, _, value in lines if name.lower() not in FIXED)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return handler


def _storing(path: Path) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        with path.open("wb", buffering=0) as file:
            async for chunk in request.content.iter_any():
                file.write(chunk)
        return web.Response()

    return handler


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
