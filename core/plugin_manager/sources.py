"""The sources of plugins: the host itself, installed distributions, files in the appliance's plugin directory."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jidoteki.core.config.loading import Config
from jidoteki.hookspecs import PROJECT

Kind = Literal["mandatory", "built-in", "installed", "file"]

MANDATORY = "jidoteki.core.endpoints"
BUILT_IN = "jidoteki.plugins"
MAX_SIZE = 16 * 1024 * 1024


class PluginError(Exception):
    """A failure of a plugin; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a plugin, by which another process can load it, too."""

    name: str
    kind: Kind
    target: str
    distribution: str = ""
    version: str = ""
    always: bool = False
    """Whether a built-in plugin is active without being enabled."""
    gives_way: bool = False
    """Whether it leaves its paths to another plugin that has them."""

    @property
    def needs_enabling(self) -> bool:
        """Whether its endpoints are served only when the configuration names them."""
        return self.kind != "mandatory" and not self.always

    @property
    def trusted(self) -> bool:
        """Whether it belongs to the host."""
        return self.kind in ("mandatory", "built-in")

    def load(self) -> object:
        """Import the plugin.

        :raises Exception: any that its import raises.
        """
        if self.kind == "installed":
            from importlib import metadata

            return metadata.EntryPoint(self.name, self.target, PROJECT).load()
        if self.kind == "file":
            return _load_file(self.name, Path(self.target))
        return importlib.import_module(self.target)


def _load_file(name: str, path: Path) -> object:
    """Import a one-file plugin, if only root and this user can write it.

    :raises PluginError: somebody else can, or it is not a Python file.
    """
    for each in (path, path.parent):
        status = each.lstat()
        if stat.S_ISLNK(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise PluginError(f"{each} must belong to root or the service's user and be writable by nobody else")
    if not path.is_file() or path.stat().st_size > MAX_SIZE:
        raise PluginError(f"{path} is not a regular file of at most {MAX_SIZE} bytes")
    module_name = f"jidoteki_file_plugins.{name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def files(config: Config, root: Path) -> list[Path]:
    """Return the plugin directory, and the one-file plugins in it."""
    directory = config.values["plugin-directory"]
    place = root / str(directory or "").lstrip("/")
    return [place, *sorted(place.glob("*.py"))] if directory and os.path.exists(place) else []


def built_in() -> list[str]:
    """Return the names of the built-in plugins."""
    return sorted(each.name for each in pkgutil.iter_modules(importlib.import_module(BUILT_IN).__path__))


def sources(config: Config, root: Path) -> Iterator[Source]:
    """Yield all plugins of this installation; of the built-in ones those that are enabled or need not be.

    Those that give way to others come last, unless one of the others has their name.
    """
    names = set()
    last = []
    for source in _sources(config, root):
        if source.gives_way:
            last.append(source)
        else:
            names.add(source.name)
            yield source
    yield from (each for each in last if each.name not in names)


def _always(config: Config) -> set[str]:
    """Return the built-in plugins that are in service without being enabled."""
    built_in = importlib.import_module(BUILT_IN)
    sections = config.values["plugins"]
    on = {name for name in built_in.ALWAYS_SERVED if _is_on(sections.get(name))}
    return on.union(*(built_in.BRINGS_ALONG.get(name, ()) for name in on))


def _is_on(section: object) -> bool:
    return not isinstance(section, dict) or section.get("enabled") is not False


def _sources(config: Config, root: Path) -> Iterator[Source]:
    # Imported late: it is slow, and a job's process does not need it.
    from importlib import metadata

    enabled = config.endpoints
    packages: dict[Kind, str] = {"mandatory": MANDATORY, "built-in": BUILT_IN}
    gives_way, always = importlib.import_module(BUILT_IN).GIVES_WAY, _always(config)
    for kind, package in packages.items():
        for module in sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__)):
            own = kind == "built-in"
            source = Source(
                module,
                kind,
                f"{package}.{module}",
                always=own and module in always,
                gives_way=own and module in gives_way,
            )
            if module in enabled or not source.needs_enabling:
                yield source
    for entry in metadata.entry_points(group=PROJECT):
        distribution = entry.dist
        yield Source(
            entry.name,
            "installed",
            entry.value,
            distribution.name if distribution else "",
            distribution.version if distribution else "",
        )
    for path in files(config, root)[1:]:
        yield Source(path.stem, "file", str(path))
