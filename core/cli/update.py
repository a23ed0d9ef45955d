"""`jidoteki update`."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import CommandError, root_option, service_user
from jidoteki.core.config import loading
from jidoteki.core.endpoints.update import inbox
from jidoteki.core.jobs.launch import BusyError, Launcher
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.core.jobs.records import Record
from jidoteki.core.logs.audit import AuditLog, AuditUnavailableError
from jidoteki.core.service.generation import assemble

#: What the audit log says in place of a client's address.
CLIENT = "local"
TARGET = "jidoteki update"


@click.command()
@root_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the end of the update.")
def command(root: Path, wait: bool) -> None:
    """Install the newest software_package-*.enc that was dropped into the uploads directory, for example by SFTP.

    Root acts as the user whom the service runs as.
    """
    appliance = Appliance(root)
    service_user.become_or_refuse(appliance)
    id, user = secrets.token_hex(8), service_user.caller()
    appliance.prepare()
    assembly = assemble(appliance, loading.load(appliance.configuration))
    appliance, launcher = assembly.appliance, assembly.launcher
    audit = AuditLog(appliance.log / "jidoteki-audit.log", group=lambda: appliance.group)
    try:
        audit.write(id, CLIENT, user, "request.begun", TARGET, durable=True)
        record, process = launcher.start("update", {}, CLIENT, user)
    except AuditUnavailableError as error:
        raise CommandError(f"The audit log cannot be written, so nothing may be changed: {error}") from error
    except BusyError as busy:
        with contextlib.suppress(AuditUnavailableError):
            audit.write(id, CLIENT, user, "request.done", f"{TARGET} refused")
        raise CommandError(f"{busy.job_type.capitalize()} is already running") from busy
    with contextlib.suppress(AuditUnavailableError):
        audit.write(id, CLIENT, user, "request.done", f"{TARGET} started {record.id}")
    click.echo(f"Started {record.id}")
    if wait:
        _wait(launcher, record, process)


def _wait(launcher: Launcher, record: Record, process: JobProcess) -> None:
    while process.poll() is None:
        time.sleep(0.2)
    launcher.settle("update")
    launcher.clear(record.id)
    ended = launcher.records.read(record.id)
    if ended is None or ended.status != "success":
        code, message = (ended.error_code, ended.error_message) if ended else ("E1000", "The job left no record")
        if code == "E1003":
            click.echo(f"Looked for {inbox.PACKAGES} in {launcher.appliance.uploads}")
        raise CommandError(f"{code}: {message}")
    click.echo("The update was installed")
