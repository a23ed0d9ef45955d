"""`jidoteki update`."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import CommandError, root_option, service_user
from jidoteki.core.config import loading
from jidoteki.core.endpoints.update import inbox
from jidoteki.core.jobs.launch import BusyError
from jidoteki.core.jobs.manager import JobManager
from jidoteki.core.logs.audit import AuditLog, AuditUnavailableError
from jidoteki.core.plugin_manager.live import Live
from jidoteki.core.service.generation import Assembly, assemble
from jidoteki.hookspecs import JobOutcome, audit_log

#: In place of the client's address in the audit log.
CLIENT = "local"
TARGET = "jidoteki update"


@click.command()
@root_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the end of the update.")
@click.option("--if-any", is_flag=True, help="Start no job that fails where there is none: for timers.")
def command(root: Path, wait: bool, if_any: bool) -> None:
    """Install the newest software_package-*.enc that was dropped into the uploads directory, for example by SFTP.

    Root acts as the user whom the service runs as.
    """
    appliance = Appliance(root)
    service_user.become_or_refuse(appliance)
    user = service_user.caller()
    if if_any and not _is_any(appliance):
        return
    appliance.prepare()
    asyncio.run(_update(assemble(appliance, loading.load(appliance.configuration)), user, wait))


def _is_any(appliance: Appliance) -> bool:
    """Return whether there is a package that the job could read.

    :raises CommandError: there are only such as it could not.
    """
    passed_over: list[str] = []
    found = inbox.newest(appliance.uploads, passed_over.append)
    if found is None and passed_over:
        raise CommandError("; ".join(passed_over))
    if found:
        found.file.close()
    return found is not None


async def _update(assembly: Assembly, user: str, wait: bool) -> None:
    appliance = assembly.appliance
    audit = AuditLog(appliance.log / audit_log.FILE, group=lambda: appliance.group)
    jobs = JobManager(lambda: assembly.launcher, None, Live())
    try:
        async with audit.change(secrets.token_hex(8), CLIENT, user, TARGET) as outcome:
            outcome.append("refused")
            job = await jobs.start("update", {}, CLIENT, user)
            outcome[:] = ["started", job.record.id]
    except AuditUnavailableError as error:
        raise CommandError(f"The audit log cannot be written, so nothing may be changed: {error}") from error
    except BusyError as busy:
        raise CommandError(f"{busy.job_type.capitalize()} is already running") from busy
    except OSError as error:
        raise CommandError(f"The update cannot be started: {error.strerror or error}") from error
    click.echo(f"Started {job.record.id}")
    if wait:
        _tell((await asyncio.shield(job.ended)).outcome(), appliance)


def _tell(outcome: JobOutcome, appliance: Appliance) -> None:
    if outcome.status == "cancelled":
        raise CommandError("The update was cancelled")
    if outcome.status != "success":
        if outcome.error_code == "E1003":
            click.echo(f"Looked for {inbox.PACKAGES} in {appliance.uploads}")
        raise CommandError(f"{outcome.error_message} ({outcome.error_code})")
    click.echo("The update was installed")
