"""`jidoteki provision`."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import CommandError, root_option
from jidoteki.hookspecs import paths
from jidoteki.hookspecs.mounts import mounts_below

SERVICE: Final = "jidoteki-admin-api"
#: Lines of tmpfiles.d(5), which systemd itself makes too where it runs.
DIRECTORIES: Final = f"{SERVICE}.tmpfiles.conf"
#: Where the Debian package has it.
JOB_UNIT: Final = "usr/lib/systemd/system/jidoteki-job@.service"
#: Debian's, without which nobody starts that unit.
SYSTEMD: Final = "usr/lib/systemd/systemd"
#: What root's jobs verify updates with, in the administration tree.
KEYS: Final = "keys"
UPDATE_KEYS: Final = ("updates.key", "updates.pub")
#: What belongs to a backup: where root makes it, root alone decides.
BACKUP_LIST: Final = "backup.txt"
LICENSE_KEYS: Final = ("license.key", "license.pub")
ENDPOINTS: Final = ("settings", "certs")
#: What others may not read.
SECRET: Final = ("updates.key", "license.key")
RELOAD_TIMEOUT: Final = 100
#: What systemctl ends with then ("program is not installed", systemctl(1)).
NO_SUCH_UNIT: Final = 5
#: What support asks first; a program that a machine lacks is told as such in the bundle.
ASKED_FOR_SUPPORT: Final = (
    "jidoteki --version",
    'jidoteki check --root "$JIDO_ROOT"',
    'jidoteki plugins --root "$JIDO_ROOT"',
    "date; uptime; uname -a; cat /etc/os-release",
    "df -h; df -i; free -m",
    "ip address; ip route; ip -6 route; cat /etc/resolv.conf",
    "ss -tln",
    "systemctl --no-pager --failed; systemctl --no-pager list-units --type service,mount",
    "timedatectl",
    "dpkg-query --show",
    "ps aux",
)


class Ids(NamedTuple):
    """A user and a group, by number."""

    user: int
    group: int


@click.command()
@root_option
@click.option(
    "--keys",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory with updates.key and updates.pub, and for licenses with license.key and license.pub.",
)
@click.option("--installed-version", default="1.0.0", show_default=True, help="The version that is installed.")
@click.option("--user", default="jidoteki", show_default=True, help="The service's user.")
def command(root: Path, keys: Path | None, installed_version: str, user: str) -> None:
    """Make what this machine lacks to be an appliance: directories, configuration, keys.

    What is there stays as it is, so that this may be repeated; other keys than those there end it with an error, once
    all else is made. At another root than / the user is one of its own /etc/passwd. Whoever is not root makes
    everything in his own name.
    """
    appliance = Appliance(root)
    found = _keys(appliance, keys)
    _check_version(installed_version)
    os.umask(0o022)
    in_units = _runs_units(appliance, user)
    provisioning = _Provisioning(_owner(appliance.root, user), {}, in_units)
    files = _files(appliance, installed_version, found, in_units)
    try:
        provisioning.make_directories(appliance)
        for path, content in files.items():
            provisioning.make_file(appliance, path, content)
        for path in _links(appliance) if in_units else ():
            provisioning.make_link(path, Path("..", KEYS, path.name))
    except OSError as error:
        raise CommandError(f"{error.filename or root} cannot be made: {error.strerror}") from error
    for path in provisioning.made:
        click.echo(f"Made {path}")
    if not provisioning.made:
        click.echo("Nothing was missing")
    elif str(appliance.root) == "/":
        _reload()
    if not (appliance.etc / "updates.key").exists():
        click.echo("There are no keys of updates yet: call this again with --keys DIR")
    others = [str(path) for path, content in files.items() if path.name in found and not _has(path, content)]
    if others:
        advice = "An update changes keys; where they are to be others from the beginning, remove them there first"
        raise CommandError(f"What is there stays, and differs from what was given: {', '.join(others)}. {advice}")


@dataclass(frozen=True, slots=True)
class _Provisioning:
    """What is made, and in whose name: below what is the service's, in that name, for so may links be."""

    owner: Ids | None
    """Who gets what is made; None for the caller."""
    made: dict[Path, None]
    in_units: bool
    """Whether root runs jobs here."""

    def make_directories(self, appliance: Appliance) -> None:
        """Make the directories of `DIRECTORIES`, above others first.

        What is mounted is there, and is not asked, for it may never answer.

        :raises OSError: one cannot be made, or something else is in its place.
        """
        mounted = {Path("/", each) for each in mounts_below(Path("/"))}
        for line in resources.files("jidoteki.etc").joinpath(DIRECTORIES).read_text().splitlines():
            if line.startswith("d "):
                _, name, mode, user, _ = line.replace(":", "").split()
                path = _place(appliance, name)
                if path not in mounted and (self.in_units or path.name != KEYS):
                    self._make_directory(path, int(mode, 8), self._owner_of(appliance, path, user))

    def _owner_of(self, appliance: Appliance, path: Path, user: str) -> Ids | None:
        """Return who owns a directory: what is root's where root runs jobs is the service's elsewhere."""
        own = path.is_relative_to(appliance.admin) or path in (appliance.system_etc, appliance.data)
        is_roots = user == "root" and (self.in_units or not own)
        return Ids(0, 0) if is_roots and self.owner else self.owner

    def _make_directory(self, path: Path, mode: int, owner: Ids | None) -> None:
        if path.is_dir():
            return
        if not path.parent.exists():
            self._make_directory(path.parent, 0o755, Ids(0, 0) if self.owner else None)
        with self._owning(path.parent) as is_service:
            os.mkdir(path, mode)
            if owner and not is_service:
                os.chown(path, *owner, follow_symlinks=False)
        self.made[path] = None

    def make_file(self, appliance: Appliance, path: Path, content: str | bytes) -> None:
        """Make a file where there is nothing.

        :raises OSError: it cannot be written.
        """
        if os.path.lexists(path):
            return
        with self._owning(path.parent) as is_service:
            appliance.replace_file(path, content, mode=0o600 if path.name in SECRET else 0o644)
            if self.owner and self.owner.user and not is_service and path.name in SECRET:
                os.chown(path, 0, self.owner.group)  # it is root's, and the service reads it
                path.chmod(0o640)
        self.made[path] = None

    def make_link(self, path: Path, target: Path) -> None:
        """Make a symlink where there is nothing.

        :raises OSError: it cannot be made.
        """
        if os.path.lexists(path):
            return
        with self._owning(path.parent):
            path.symlink_to(target)
        self.made[path] = None

    @contextlib.contextmanager
    def _owning(self, directory: Path) -> Iterator[bool]:
        """Act as the service's user below a directory of his; yield whether it is so."""
        places = (directory, *directory.parents)
        if self.owner is None or not self.owner.user or all(each.lstat().st_uid != self.owner.user for each in places):
            yield False
            return
        os.setegid(self.owner.group)
        os.seteuid(self.owner.user)
        try:
            yield True
        finally:
            os.seteuid(0)
            os.setegid(0)


def _place(appliance: Appliance, name: str) -> Path:
    """Return where a directory of `DIRECTORIES` is on this appliance, whose administration tree may be elsewhere."""
    with contextlib.suppress(ValueError):
        return appliance.admin / Path(name).relative_to("/opt/jidoteki/tinyadmin")
    return appliance.root / name.lstrip("/")


def _runs_units(appliance: Appliance, user: str) -> bool:
    """Return whether root runs jobs here, in units, for a service that is not root itself."""
    return user != "root" and all((appliance.root / each).exists() for each in (JOB_UNIT, SYSTEMD))


def _links(appliance: Appliance) -> list[Path]:
    """Return where the service looks for what root keeps for its jobs."""
    from jidoteki.core.endpoints.update import verifying_keys

    names = (*UPDATE_KEYS, verifying_keys.DIRECTORY, verifying_keys.REVOKED, BACKUP_LIST)
    there = [name for name in names if (appliance.admin / KEYS / name).exists()]
    return [appliance.etc / name for name in there]


def _files(appliance: Appliance, version: str, keys: Mapping[str, bytes], in_units: bool) -> dict[Path, str | bytes]:
    """Return the files that the service and its vendor expect."""
    from jidoteki.core.config import schema
    from jidoteki.core.plugin_manager import section_schemas

    of_backups = (appliance.admin / KEYS if in_units else appliance.etc) / BACKUP_LIST
    of_files = {"backup": of_backups, "license": appliance.etc / "license.key"}
    endpoints = [*ENDPOINTS, *(name for name, file in of_files.items() if file.exists() or file.name in keys)]
    configuration: dict[str, object] = {"$schema": "jidoteki-admin-api.schema.json", "endpoints": endpoints}
    of_updates = appliance.etc
    if in_units:
        of_updates = appliance.admin / KEYS
        configuration["jobs"] = {"run-as": "unit"}
    return {
        appliance.configuration: json.dumps(configuration, indent=2) + "\n",
        appliance.system_etc / "jidoteki-admin-api.schema.json": schema.as_text(
            schema.describe(section_schemas.built_in_sections())
        ),
        appliance.system_etc / "allservices.txt": f"{SERVICE}\n",
        appliance.etc / "version.txt": f"{version}\n",
        appliance.etc / "logs.txt": "/var/log\n",
        appliance.etc / "debug.txt": "".join(f"{line}\n" for line in ASKED_FOR_SUPPORT),
        **{(of_updates if name in UPDATE_KEYS else appliance.etc) / name: each for name, each in keys.items()},
    }


def _keys(appliance: Appliance, directory: Path | None) -> dict[str, bytes]:
    """Read the keys. Those of updates may be missing where the appliance has them.

    :raises CommandError: those of updates are not all there, or are others.
    """
    if directory is None:
        return {}
    from jidoteki.core.endpoints.update import key_files

    found = {}
    for name in (*UPDATE_KEYS, *LICENSE_KEYS):
        try:
            found[name] = (directory / name).read_bytes()
        except FileNotFoundError:
            if name in UPDATE_KEYS and not (appliance.etc / name).exists():
                raise CommandError(f"{directory / name} is missing") from None
        except OSError as error:
            raise CommandError(f"{directory / name} cannot be read: {error.strerror}") from error
    wrong = key_files.passphrase_problem(found["updates.key"]) if "updates.key" in found else None
    if wrong and wrong.fatal:
        raise CommandError(f"{directory / 'updates.key'}: {wrong.message}")
    if wrong:
        click.echo(f"Warning: {directory / 'updates.key'}: {wrong.message}", err=True)
    if key_files.holds_private_key(found.get("updates.pub", b"")):
        raise CommandError(f"{directory / 'updates.pub'} is a private key, which must not be on an appliance")
    signers = found.get("license.pub", b"")
    if key_files.holds_private_key(signers) or _begins_as_secret_key(signers):
        raise CommandError(f"{directory / 'license.pub'} is a secret key, and everybody may read this file")
    if b"-----BEGIN PGP PUBLIC KEY" in found.get("license.key", b""):
        raise CommandError(f"{directory / 'license.key'} is a public key: it has to be the secret one of the appliance")
    return found


def _begins_as_secret_key(content: bytes) -> bool:
    """Return whether a file begins as an OpenPGP secret key that is not in ASCII armor (RFC 9580, 4.2)."""
    first = content[0] if content else 0
    tag = (first & 0x3F) if first & 0x40 else (first & 0x3C) >> 2
    return bool(first & 0x80) and tag == 5


def _has(path: Path, content: str | bytes) -> bool:
    with contextlib.suppress(OSError):
        return paths.read_regular(path, follow=True) == content
    return False


def _check_version(version: str) -> None:
    from jidoteki.core.endpoints.update import versions

    try:
        versions.parse(version)
    except versions.VersionError as error:
        raise CommandError(f"--installed-version {version}: {error}") from error


def _owner(root: Path, user: str) -> Ids | None:
    """Return who gets what is made, or None where the caller can only give it to himself.

    :raises CommandError: there is no such user.
    """
    if os.geteuid() != 0:
        return None
    for fields in _database(root / "etc/passwd"):
        if fields[0] == user and len(fields) == 7:
            return Ids(int(fields[2]), _group(root, user, int(fields[3])))
    advice = f"useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin {shlex.quote(user)}"
    raise CommandError(f"There is no user {user}. Make it with: {advice}")


def _reload() -> None:
    """Let a service that runs read what was made; where systemd does not start it, say what to do."""
    if not _reloaded_by_systemd():
        click.echo("Start the service, or send it SIGHUP if it runs")


def _reloaded_by_systemd() -> bool:
    """Let systemd reload the service, and return False where that is nothing it knows of.

    :raises CommandError: the service runs, and could not be reloaded.
    """
    from jidoteki.core.jobs import units

    if not shutil.which("systemctl") or not units.is_booted():
        return False
    argv = ["systemctl", "try-reload-or-restart", f"{SERVICE}.service"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=RELOAD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise CommandError(f"{shlex.join(argv)} did not end within {RELOAD_TIMEOUT} seconds") from None
    if done.returncode not in (0, NO_SUCH_UNIT):
        raise CommandError(f"The service cannot read what was made: {done.stderr.strip()}")
    return not done.returncode


def _group(root: Path, user: str, first: int) -> int:
    """Return the group of the user's name, which his unit runs as; else his first, which others may be in as well."""
    path = root / "etc/group"
    named = (each[2] for each in (_database(path) if path.exists() else []) if each[0] == user and len(each) == 4)
    return int(next(named, first))


def _database(path: Path) -> list[list[str]]:
    """Read passwd(5) or group(5).

    :raises CommandError: it cannot be read.
    """
    try:
        return [line.split(":") for line in path.read_text().splitlines()]
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
