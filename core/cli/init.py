"""`jidoteki init`."""

from __future__ import annotations

import json
import secrets
import time
from importlib import resources
from pathlib import Path

import click
import voluptuous as vol

from jidoteki.core.appliance import Appliance
from jidoteki.core.auth.authentication import FIRST_SETUP, Authenticator
from jidoteki.core.cli import CommandError
from jidoteki.core.config import loading
from jidoteki.core.config import schema as config_schema
from jidoteki.core.http import tls
from jidoteki.core.plugin_manager import manager, section_schemas

VERSION = "1.0.0"


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--token", help="The API token; without one, the first POST /setup sets it.")
@click.option("--first-run", is_flag=True, help="Generate a passphrase that the first POST /setup needs.")
def command(directory: Path, token: str | None, first_run: bool) -> None:
    """Make a complete appliance root in DIRECTORY, which must be empty or new."""
    appliance = make(directory, token, first_run)
    click.echo(f"Made an appliance in {appliance.root}")
    if first_run:
        click.echo(f"Its setup passphrase is in {appliance.etc / 'api.token.setup'}")
    click.echo(f"The vendor's keys are in {appliance.root / 'vendor'}")


def make(directory: Path, token: str | None = None, first_run: bool = False) -> Appliance:
    """Make an appliance root.

    :raises CommandError: the directory is not empty, or the token is not valid.
    """
    if token is not None:
        _check_token(token)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise CommandError(f"{directory} is not empty")
        directory.chmod(0o755)
    except OSError as error:
        raise CommandError(f"{directory} cannot be used: {error.strerror}") from error
    appliance = Appliance(directory, directory.absolute() / "opt/jidoteki/tinyadmin")
    appliance.prepare()
    vendor = directory / "vendor"
    vendor.mkdir(mode=0o700)
    _write_configuration(appliance, first_run)
    _write_information(appliance)
    _write_update_keys(appliance, vendor)
    _write_token(appliance, token, first_run)
    tls.make_self_signed(appliance)
    config = loading.load(appliance.configuration)
    schema = config_schema.as_text(config_schema.describe(section_schemas.sections_of(appliance, config)))
    appliance.replace_file(appliance.system_etc / "jidoteki-admin-api.schema.json", schema)
    loaded = manager.load_all(appliance, config)
    loaded.call("jidoteki_init", seconds=120, appliance=appliance, vendor=vendor)
    return appliance


def _write_configuration(appliance: Appliance, first_run: bool) -> None:
    example = json.loads(resources.files("jidoteki.etc").joinpath("jidoteki-admin-api.json").read_text())
    example["first-run"]["enabled"] = first_run
    appliance.replace_file(appliance.configuration, json.dumps(example, indent=2) + "\n")


def _write_information(appliance: Appliance) -> None:
    (appliance.bin).mkdir(parents=True, exist_ok=True)
    (appliance.system_etc / "init.d").mkdir(exist_ok=True)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    for path, content in {
        appliance.etc / "version.txt": f"{VERSION}\n",
        appliance.etc / "changelog.txt": f"# Changelog\n\n## {VERSION} ({today})\n\n* First version\n",
        appliance.etc / "logs.txt": "/var/log\n",
        appliance.etc / "debug.txt": "uname -a\ndf -h\nps aux\n",
        appliance.system_etc / "build.json": json.dumps({"builddate": str(int(time.time()))}) + "\n",
        appliance.system_etc / "allservices.txt": "openssh\njidoteki-admin-api\n",
    }.items():
        appliance.replace_file(path, content)
    script = appliance.system_etc / "init.d/openssh"
    appliance.replace_file(script, '#!/bin/sh\n[ "$1" = status ] && echo "openssh is running"\n', mode=0o755)


def _write_update_keys(appliance: Appliance, vendor: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    passphrase = secrets.token_hex(32) + "\n"
    appliance.replace_file(vendor / "private.pem", private, mode=0o600)
    appliance.replace_file(vendor / "updates.key", passphrase, mode=0o600)
    appliance.replace_file(appliance.etc / "updates.key", passphrase, mode=0o600)
    appliance.replace_file(appliance.etc / "updates.pub", public)


def _check_token(token: str) -> None:
    from jidoteki.core.endpoints.setup import new_token

    try:
        new_token(token)
    except vol.Invalid as error:
        raise CommandError(f"--token {error}") from error


def _write_token(appliance: Appliance, token: str | None, first_run: bool) -> None:
    authenticator = Authenticator(appliance, first_run and token is None, words=4)
    if token is not None:
        authenticator.set_token(token, FIRST_SETUP)
    else:
        authenticator.prepare()
