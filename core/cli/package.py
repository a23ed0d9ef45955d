"""`jidoteki package`: update packages, for vendors."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import CommandError, Commands, json_option, root_option, service_user, with_option
from jidoteki.core.config import loading

if TYPE_CHECKING:
    from jidoteki.core.endpoints.update.lint import Remark

readable = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Commands)
def command() -> None:
    """Build update packages, and find out whether an appliance would accept one."""


@command.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--version", required=True, help="The version that the appliance has afterwards.")
@click.option("--key", type=readable, required=True, help="updates.key, the passphrase file of the appliances.")
@click.option(
    "--sign-key", "sign_keys", type=readable, required=True, multiple=True,
    help="The private key (RSA, Ed25519) in PEM that updates.pub verifies; more of them sign as well.",
)  # fmt: skip
@click.option("--name", help="What the package is called, in its package.json.")
@click.option("--product", help="The product that it is for: others refuse it.")
@click.option("--minimum-version", help="The oldest version that it can be installed over.")
@click.option("--free-space", type=int, help="Bytes of disk that must be free.")
@click.option("--reboot/--no-reboot", default=None, help="Restart the appliance to verify the update once more.")
@click.option(
    "--rollback-reboot/--no-rollback-reboot",
    default=None,
    help="Restart it again after a way back, as it does by default where --reboot did.",
)
@click.option("--notes", help="What a dry run shows of it.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it.  [default: software_package-VERSION.enc]",
)  # fmt: skip
def build(
    source: Path, version: str, key: Path, sign_keys: tuple[Path, ...], output: Path | None,
    **described: str | int | bool | None,
) -> None:  # fmt: skip
    """Pack the directory SOURCE, with its update.sh and changelog.txt, as a signed and encrypted update package.

    What is told of it goes to its package.json, in place of the keys of one in SOURCE. Refuses private keys and the
    vendor's key files in SOURCE, and tells on standard error what may fail later.
    Exits 1 where one of that is an error, though the package is there.
    """
    from jidoteki.core.endpoints.update import lint
    from jidoteki.core.endpoints.update.build import build_package
    from jidoteki.core.endpoints.update.package import PackageError
    from jidoteki.core.endpoints.update.versions import VersionError

    target = output or Path(f"software_package-{version}.enc")
    if target.absolute().resolve().is_relative_to(source.absolute().resolve()):
        raise click.UsageError(f"--output {target} lies in {source}, and would become a part of the next package")
    said = {name.replace("_", "-"): value for name, value in described.items()}
    try:
        build_package(source, version, key, sign_keys[0], target, *sign_keys[1:], described=said)
        remarks = [*lint.remarks(source, version), *lint.replaced_version(source, version), *lint.odd_key(key)]
    except VersionError as error:
        raise CommandError(f"--version: {error}") from error
    except PackageError as error:
        signing = next((each for each in sign_keys if str(error).startswith(f"{each.name} ")), sign_keys[0])
        raise CommandError(with_option(str(error), {"--key": key, "--sign-key": signing})) from error
    except OSError as error:
        # The package is written to a temporary file beside it.
        is_target = not error.filename or Path(error.filename).parent == target.parent
        named = f"--output {target}" if is_target else error.filename
        raise CommandError(f"{named} cannot be used: {error.strerror or error}") from error
    for remark in remarks:
        _report(remark)
    click.echo(f"Built {target}, {target.stat().st_size} bytes")
    _require_no_errors(remarks)


def _report(remark: Remark) -> None:
    colour = "red" if remark.level == "error" else "yellow"
    shown = "".join(c if c.isprintable() else "?" for c in remark.message)
    click.echo(f"{click.style(remark.level, fg=colour)}: {shown}", err=True)


@command.command()
@click.argument("file", type=readable)
@root_option
@click.option("--lint", "linted", is_flag=True, help="Tell also what 'package build' would: keys in it, what may fail.")
@json_option
def verify(file: Path, root: Path, linted: bool, as_json: bool) -> None:
    """Say whether the appliance at --root would accept the package FILE; nothing of it is applied.

    Its preflight.sh is not run: a dry run of the appliance does that. Needs to read that appliance's updates.key.
    Exits 1 with the reason and its code when it would not, and where --lint finds an error.
    """
    from jidoteki.core.endpoints.update import lint
    from jidoteki.core.endpoints.update.recorded_versions import CHANGELOG, VERSION
    from jidoteki.hookspecs import JobError

    appliance = Appliance(root)
    service_user.become(appliance)
    with tempfile.TemporaryDirectory(prefix="jidoteki-verify-") as work:
        try:
            restarts = _check_package(appliance, file, Path(work)).get("package", {}).get("reboot", False)
        except JobError as failure:
            if as_json:
                click.echo(json.dumps({"accepted": False, "code": failure.code, "reason": failure.message}, indent=2))
                raise click.exceptions.Exit(1) from failure
            raise CommandError(f"{failure.message} ({failure.code})") from failure
        unpacked = Path(work, "package")
        version = (unpacked / VERSION).read_text("ascii", "replace").strip() if (unpacked / VERSION).exists() else None
        has_changelog = (unpacked / CHANGELOG).exists()
        remarks = list(lint.remarks(unpacked, version)) if linted else []
    if as_json:
        told: dict[str, Any] = {"accepted": True, "version": version, "changelog": has_changelog}
        told |= {"reboot": True} if restarts else {}
        if linted:
            told["remarks"] = [dataclasses.asdict(each) for each in remarks]
        click.echo(json.dumps(told, indent=2))
    else:
        for remark in remarks:
            _report(remark)
        named = f"version {version}" if version else "without a version"
        changelog = "" if has_changelog else ", without a changelog"
        click.echo(f"{file} would be accepted: {named}{changelog}{', with a restart to try it' if restarts else ''}")
    _require_no_errors(remarks)


def _require_no_errors(remarks: list[Remark]) -> None:
    if any(each.level == "error" for each in remarks):
        raise click.exceptions.Exit(1)


def _check_package(appliance: Appliance, file: Path, work: Path) -> dict[str, Any]:
    """Run the check of the update job, and return what a dry run shows.

    :raises JobError: the package is refused.
    """
    from jidoteki.core.endpoints.update import jobs
    from jidoteki.core.jobs.context import Context
    from jidoteki.core.jobs.records import Record
    from jidoteki.core.plugin_manager.manager import Plugins
    from jidoteki.hookspecs import JobType

    config = loading.load(appliance.configuration)
    appliance = appliance.configured(config.values)
    job_type = JobType("update", run=jobs.run, check=jobs.check)
    context = Context(
        appliance, Record("verify", job_type.name), job_type, Plugins(appliance, config),
        config={}, host_config=config.values, workspace=work, log=None,
        input={"package": str(file.resolve()), "preflight": False},
    )  # fmt: skip
    jobs.check(context)
    return context.previewed
