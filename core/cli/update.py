"""`jidoteki update`."""

from __future__ import annotations

import getpass
import time
from pathlib import Path

import click

from jidoteki.core import config, plugins
from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import Problem, root_option
from jidoteki.core.jobs.launch import Busy, Launcher


@click.command()
@root_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the end of the update.")
def command(root: Path, wait: bool) -> None:
    """Install the newest software_package-*.enc that was dropped into the uploads directory, for example by SFTP."""
    appliance = Appliance(root)
    appliance.prepare()
    settings = config.load(appliance.configuration)
    launcher = Launcher(appliance, settings, plugins.load_all(appliance, settings))
    try:
        record, process = launcher.start("update", {}, "local", getpass.getuser())
    except Busy as busy:
        raise Problem(f"{busy.kind.capitalize()} is already running") from busy
    click.echo(f"Started {record.id}")
    if not wait:
        return
    while process.poll() is None:
        time.sleep(0.2)
    launcher.settle("update")
    launcher.clear(record.id)
    ended = launcher.records.read(record.id)
    if ended is None or ended.status != "success":
        code, message = (ended.error_code, ended.error_message) if ended else ("E1000", "The job left no record")
        raise Problem(f"{code}: {message}")
    click.echo("The update was installed")
