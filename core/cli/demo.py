"""`jidoteki demo`."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import serve
from jidoteki.core.cli.init import make
from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.credentials import request_hash

TRIED = (
    ("GET", "/version", ""),
    ("GET", "/health", ""),
    ("GET", "/endpoints", ""),
    ("POST", "/backup", " -F action=START"),
    ("GET", "/backup", ""),
    ("GET", "/logs", " -o logs.tar.gz"),
)


@click.command()
@click.option("--port", type=serve.port_number, metavar="PORT", default="8443", show_default=True, help="HTTPS port.")
def command(port: int) -> None:
    """Make a demo appliance below your cache directory, kept between runs, and serve it on this machine."""
    root = _cache() / "demo"
    if not (root / "vendor").is_dir():
        shutil.rmtree(root, ignore_errors=True)
        appliance = make(root, token=secrets.token_urlsafe(12))
    else:
        appliance = Appliance(root, root / "opt/jidoteki/tinyadmin")
    token = (appliance.etc / "api.token").read_text().strip()

    def tell(listening: str) -> None:
        base = listening.removeprefix("Listening on ")
        click.echo(f"Dashboard: {base.removesuffix(PREFIX)}/\nToken: {token}\n")
        click.echo(f"A demo appliance, in {root}. Or try:\n")
        for method, path, more in TRIED:
            url = f"{base}{path}?hash={request_hash(method, PREFIX + path, token)}"
            click.echo(f"  curl -k -X {method} '{url}'{more}")
        click.echo(f"\n{listening}")

    serve.run(root, port=port, announce=tell)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jidoteki"
