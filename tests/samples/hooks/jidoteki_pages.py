"""A page for browsers at `/hello`, and its style sheet, which browsers may keep."""

from __future__ import annotations

from jidoteki.hookspecs import Appliance, Page, Visit, hookimpl

STYLE = b"body { font-family: sans-serif }\n"


def hello(visit: Visit) -> bytes:
    waiting = "" if visit.setup == "done" else "<p>This appliance was not set up yet."
    return f'<!doctype html><link rel="stylesheet" href="/hello/1/style.css"><h1>Hello</h1>{waiting}'.encode()


@hookimpl
def jidoteki_pages(appliance: Appliance) -> list[Page]:
    return [
        Page("/hello", hello, "text/html; charset=utf-8"),
        Page("/hello/1/style.css", STYLE, "text/css; charset=utf-8", immutable=True),
    ]
