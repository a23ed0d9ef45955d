"""`jidoteki check`."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from jidoteki.core import config, plugins, tls
from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import json_option, root_option
from jidoteki.core.config import Config
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.routes import Routes

EXPIRES_SOON = datetime.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to see to: an error keeps a part of the appliance from working, a warning may."""

    level: str
    subject: str
    message: str


@click.command()
@root_option
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file.")
@json_option
@click.pass_context
def command(context: click.Context, root: Path, path: Path | None, as_json: bool) -> None:
    """Check an appliance; exits 1 when there is an error."""
    findings = list(check(Appliance(root), path))
    if as_json:
        click.echo(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        for each in findings:
            label = click.style(each.level, fg="red" if each.level == "error" else "yellow")
            click.echo(f"{label}: {each.subject}: {each.message}")
        if not findings:
            click.echo("Everything is in order")
    context.exit(1 if any(each.level == "error" for each in findings) else 0)


def check(appliance: Appliance, path: Path | None = None) -> Iterator[Finding]:
    """Yield what is wrong, each with what to do."""
    settings = config.load(path or appliance.configuration)
    yield from _configuration(appliance, settings)
    yield from _certificate(appliance)
    yield from _keys(appliance)
    yield from _permissions(appliance)
    yield from _space(appliance, settings)


def _configuration(appliance: Appliance, settings: Config) -> Iterator[Finding]:
    if settings.path and not settings.path.exists():
        yield Finding("warning", "configuration", f"{settings.path} is missing, so no optional endpoint is served")
    loaded = plugins.load_all(appliance, settings)
    Launcher(appliance, settings, loaded)
    routes = Routes(loaded, settings)
    for problem in (*settings.problems, *routes.problems):
        yield Finding("error", "configuration", problem)
    for plugin in loaded.all:
        if plugin.problem:
            yield Finding("error", "plugin", f"{plugin.name} is left out: {plugin.problem}")


def _certificate(appliance: Appliance) -> Iterator[Finding]:
    path = tls.bundle(appliance)
    if not path.exists():
        yield Finding("warning", "certificate", f"{path} is missing; a self-signed one is made at the next start")
        return
    x509: Any = import_module("cryptography.x509")
    try:
        tls.context_from(path)
        ends = x509.load_pem_x509_certificates(path.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError) as error:
        yield Finding("error", "certificate", f"{path} cannot be used ({error}): send a new one with POST /certs")
        return
    left = ends - datetime.datetime.now(datetime.UTC)
    if left < EXPIRES_SOON:
        level = "error" if left.total_seconds() < 0 else "warning"
        yield Finding(level, "certificate", f"it ends on {ends:%Y-%m-%d}: send a new one with POST /certs")


def _keys(appliance: Appliance) -> Iterator[Finding]:
    for name, use in (("updates.key", "decrypts"), ("updates.pub", "verifies")):
        if not (appliance.read_text(appliance.etc / name) or "").strip():
            yield Finding("error", "updates", f"{appliance.etc / name}, which {use} update packages, is missing")


def _permissions(appliance: Appliance) -> Iterator[Finding]:
    for path in (appliance.etc / "api.token", appliance.etc / "updates.key", appliance.etc / "license.key"):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            yield Finding("error", "permissions", f"{path} is readable by others: chmod 600 {path}")
    for directory in (appliance.etc, appliance.log, appliance.uploads, appliance.system_etc, appliance.tmp):
        if directory.exists() and not os.access(directory, os.W_OK):
            yield Finding("error", "permissions", f"{directory} cannot be written by this user")


def _space(appliance: Appliance, settings: Config) -> Iterator[Finding]:
    wanted = settings.settings["limits"]["free-space"]
    for directory in (appliance.uploads, appliance.etc):
        if directory.exists() and shutil.disk_usage(directory).free < wanted:
            yield Finding("error", "disk", f"less than {wanted} bytes are free where {directory} lies: make room")
