"""What may be wrong with an appliance, and what to do about it."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import logging
import os
import pkgutil
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from jidoteki.core import config, original, ownership, plugins, tls
from jidoteki.core.appliance import Appliance
from jidoteki.core.config import Config, Mistake
from jidoteki.core.jobs.launch import Launcher
from jidoteki.core.json_positions import Keys, Positions
from jidoteki.core.plugin_sources import BUILT_IN
from jidoteki.core.routes import Routes
from jidoteki.hookspecs import named_tokens, paths

EXPIRES_SOON = datetime.timedelta(days=30)
MAX_SCRIPTS = 100
NEW_CERTIFICATE = "Send a new certificate with POST /certs."


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to see to: an error keeps a part of the appliance from working, a warning may, a note does not."""

    level: Literal["error", "warning", "note"]
    subject: str
    """certificate, configuration, disk, original, permissions, plugin, token or updates."""
    message: str
    advice: str
    """What to do."""
    file: str | None = None
    line: int | None = None
    """Counted from 1."""
    column: int | None = None

    @property
    def place(self) -> str:
        """File, line and column as editors and compilers write them, and a colon."""
        if self.file is None:
            return f"{self.subject}: "
        return f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "


def check(appliance: Appliance, path: Path | None = None) -> Iterator[Finding]:
    """Yield what is wrong.

    :param path: the configuration file; by default the appliance's own.
    """
    # What is found is told once, here, and not in the log of the service.
    logging.getLogger("jidoteki").addHandler(logging.NullHandler())
    settings = config.load(path or appliance.configuration)
    appliance.files_group = settings.settings["files"]["group"]
    yield from _configuration(settings)
    yield from _plugins(appliance, settings)
    yield from _token(appliance)
    yield from _certificate(appliance)
    yield from _update_keys(appliance)
    yield from _versions(appliance)
    yield from _permissions(appliance)
    yield from _owners(appliance)
    yield from _scripts(appliance)
    yield from _space(appliance, settings)
    for change in original.changes(appliance):
        yield Finding("note", "original", change.message, change.advice, str(change.file))


def _configuration(settings: Config) -> Iterator[Finding]:
    path = str(settings.path)
    if settings.path and not settings.path.exists():
        message = "there is no configuration: the last one that could be read counts, or no optional endpoint is served"
        yield Finding("warning", "configuration", message, 'Make it, with {"endpoints": []} at least.', path)
    for each in settings.mistakes:
        yield Finding(
            "error", "configuration", each.message, _advice(each), path, each.line or None, each.column or None
        )


def _advice(mistake: Mistake) -> str:
    if not mistake.keys:
        return "Correct the file; until then the last one that could be read counts, or first run is enabled."
    if "comes twice" in mistake.message:
        return "Remove one of them; until then the last one counts."
    if config.UNKNOWN in mistake.message:
        return "Correct or remove it; it has no effect."
    if mistake.keys[0] == "first-run":
        return "Correct it; until then the safe side counts: the first setup needs the generated passphrase."
    return "Correct it; until then its default counts."


def _plugins(appliance: Appliance, settings: Config) -> Iterator[Finding]:
    loaded = plugins.load_all(appliance, settings)
    Launcher(appliance, settings, loaded)
    routes = Routes(loaded, settings)
    for problem in routes.problems:
        index = _index(settings, problem)
        place = _place(settings, ("endpoints", index))
        if "did you mean" not in problem:
            problem += config.nearest(settings.settings["endpoints"][index], _built_in())
        advice = "Correct or remove the name, or install the plugin that serves it."
        yield Finding("error", "configuration", problem, advice, *place)
    for plugin in loaded.all:
        if plugin.problem:
            of_section = f"plugins.{plugin.name}" in plugin.problem
            place = _place(settings, ("plugins", plugin.name)) if of_section else (None, None, None)
            yield Finding("error", "plugin", f"{plugin.name} is left out: {plugin.problem}", _cure(plugin), *place)


def _built_in() -> list[str]:
    """The plugins that come with the service; those that are not enabled are not loaded."""
    return [each.name for each in pkgutil.iter_modules(import_module(BUILT_IN).__path__)]


def _index(settings: Config, problem: str) -> int:
    """Which of the enabled endpoints a problem is about."""
    names = settings.settings["endpoints"]
    return next((index for index, name in enumerate(names) if repr(name) in problem), 0)


def _place(settings: Config, keys: Keys) -> tuple[str | None, int | None, int | None]:
    if settings.path is None:
        return None, None, None
    try:
        return str(settings.path), *Positions(config.read(settings.path)).of(keys)
    except (OSError, ValueError):
        return str(settings.path), None, None


def _cure(plugin: plugins.Plugin) -> str:
    if plugin.problem and f"plugins.{plugin.name}" in plugin.problem:
        return "Correct its section; 'jidoteki config-schema' says what may stand there."
    if plugin.source.kind == "file":
        return f"Correct {plugin.source.target}, or move it elsewhere."
    if plugin.source.kind == "installed":
        return f"Update or uninstall {plugin.source.distribution or plugin.name}; its author may know more."
    return "Install the service anew; if that does not help, report it with this message."


def _token(appliance: Appliance) -> Iterator[Finding]:
    path = appliance.etc / "api.token"
    if not path.exists() and not (appliance.etc / "api.token.setup").exists():
        advice = "Set one with POST /setup before others can reach the appliance."
        yield Finding("warning", "token", "there is no token: anybody may make the first setup", advice, str(path))
    elif path.exists() and not (_text(path) or "").strip():
        advice = "Remove the file to allow a new first setup."
        yield Finding("error", "token", "it holds no token, so nobody can use the API", advice, str(path))


def _certificate(appliance: Appliance) -> Iterator[Finding]:
    path = tls.bundle(appliance)
    if not path.exists():
        message = "there is no certificate; a self-signed one is made at the next start"
        yield Finding("warning", "certificate", message, NEW_CERTIFICATE, str(path))
        return
    x509: Any = import_module("cryptography.x509")
    try:
        tls.context_from(path)
        certificate = x509.load_pem_x509_certificates(paths.read_regular(path, follow=True))[0]
        unfit = tls.unfit_keys(path)
    except (OSError, ValueError) as error:
        message = f"the certificate cannot be used: {getattr(error, 'strerror', None) or error}"
        yield Finding("error", "certificate", message, NEW_CERTIFICATE, str(path))
        return
    for told in unfit:
        yield Finding("warning", "certificate", told, NEW_CERTIFICATE, str(path))
    now, ends = datetime.datetime.now(datetime.UTC), certificate.not_valid_after_utc
    if ends < now:
        yield Finding("error", "certificate", f"it ended on {ends:%Y-%m-%d}", NEW_CERTIFICATE, str(path))
    elif ends < now + EXPIRES_SOON:
        yield Finding("warning", "certificate", f"it ends on {ends:%Y-%m-%d}", NEW_CERTIFICATE, str(path))
    if certificate.not_valid_before_utc > now:
        message = f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
        yield Finding(
            "error", "certificate", message, "Set the clock, or send another one with POST /certs.", str(path)
        )


def _update_keys(appliance: Appliance) -> Iterator[Finding]:
    # Imported late, as what else only one finding needs.
    from jidoteki.core.updates import package

    try:
        package.load_keys(appliance.etc)
    except package.PackageError as error:
        message = str(error)
        name = next((each for each in ("updates.key", "updates.pub") if each in message), "updates.key")
        advice = f"Put the vendor's {name} there; without it the appliance takes no updates."
        yield Finding("error", "updates", message, advice, str(appliance.etc / name))


def _versions(appliance: Appliance) -> Iterator[Finding]:
    from jidoteki.core.updates import highest, versions

    path = highest.path(appliance)
    try:
        mark = highest.read(appliance)
    except (versions.VersionError, OSError) as error:
        advice = f"Remove {path}: the next update begins the record anew with version.txt."
        yield Finding("warning", "updates", f"the highest version that was installed is not known: {error}", advice)
        return
    lines = (_text(appliance.etc / "version.txt") or "").strip().splitlines()
    with contextlib.suppress(versions.VersionError):
        installed = versions.parse(lines[0] if lines else "")
        if mark and not versions.is_newer(installed, mark) and not versions.is_equal(installed, mark):
            message = f"it says {installed}, but {mark} was installed: a package must be newer than that"
            advice = f"If another version was put there on purpose, remove {path}."
            yield Finding("warning", "updates", message, advice, str(appliance.etc / "version.txt"))


def _permissions(appliance: Appliance) -> Iterator[Finding]:
    for name in ("api.token", "api.token.setup", named_tokens.FILE, "updates.key", "license.key"):
        path = appliance.etc / name
        try:
            status = path.stat()
        except OSError:
            continue
        mode = stat.S_IMODE(status.st_mode)
        if name == "api.token.setup" and not status.st_size:
            continue  # the original empties it
        shared = status.st_gid in (appliance.group, ownership.group_of(None, appliance.etc))
        if mode & (0o007 if shared else 0o077):
            message = f"other users of this machine may read or change it (mode {mode:04o})"
            advice = f"Run: chmod {mode & (0o660 if shared else 0o600):o} {path}"
            yield Finding("error", "permissions", message, advice, str(path))
    for directory in (appliance.etc, appliance.log, appliance.spool, appliance.system_etc, appliance.tmp):
        if directory.exists() and not os.access(directory, os.W_OK):
            advice = "Run the service, and this, as the user that the directory belongs to."
            yield Finding("error", "permissions", "this user cannot write there", advice, str(directory))


def _owners(appliance: Appliance) -> Iterator[Finding]:
    """What counts only if nobody else can have made it."""
    for name in ("api.token.setup", named_tokens.FILE, "debug.txt", "logs.txt", "updates.pub"):
        path = appliance.etc / name
        try:
            os.close(paths.open_trusted(path))
        except paths.NotTrusted:
            waits = name == "api.token.setup" and _text(path) == _text(appliance.etc / "api.token")
            if path.stat().st_size and not waits:  # a first run that waits, as the original leaves it
                message = "it does not count, for it belongs to somebody else than root and the service's user"
                yield Finding("warning", "permissions", message, f"Run: chown root {path}", str(path))
        except OSError:
            continue


def _scripts(appliance: Appliance) -> Iterator[Finding]:
    for path in (appliance.bin, *itertools.islice(sorted(appliance.bin.glob("*.sh")), MAX_SCRIPTS)):
        with contextlib.suppress(OSError):  # one that cannot be looked at fails with its reason when it is run
            if paths.is_private(path.stat()):
                continue
            message = "somebody else than root and the service owns it or may write to it: it runs as the service does"
            advice = f"Run: chown root {path} && chmod go-w {path}"
            yield Finding("warning", "permissions", message, advice, str(path))


def _space(appliance: Appliance, settings: Config) -> Iterator[Finding]:
    wanted = settings.settings["limits"]["free-space"]
    for directory in (appliance.spool, appliance.etc):
        if directory.exists() and (free := shutil.disk_usage(directory).free) < wanted:
            message = f"{free} bytes are free, less than the {wanted} of limits.free-space"
            yield Finding("error", "disk", message, "Make room, or uploads and backups are refused.", str(directory))


def _text(path: Path) -> str | None:
    try:
        return paths.read_regular(path, follow=True).decode("utf-8", "replace")
    except OSError:
        return None
