"""One-file plugins, put where a host or a client in the test's process loads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from jidoteki.core.appliance import Appliance

Plugin = ModuleType | Path

#: A plugin that is another file; or a module, in the process that imported it.
LINK = """\
import sys

module = sys.modules.get({name!r})
if module is not None:
    globals().update({{name: value for name, value in vars(module).items() if not name.startswith("__")}})
else:
    with open({path!r}, "rb") as file:
        exec(compile(file.read(), {path!r}, "exec", dont_inherit=True))
"""


def directory_of(appliance: Appliance) -> Path:
    """Return the plugin directory of an appliance, made if need be."""
    directory = appliance.system_etc / "plugins"
    directory.mkdir(mode=0o755, exist_ok=True)
    return directory


def copy(appliance: Appliance, plugins: Iterable[Plugin]) -> None:
    """Put copies of plugins there, for a process of its own."""
    for path in map(_path, plugins):
        appliance.replace_file(directory_of(appliance) / path.name, path.read_bytes())


def link(appliance: Appliance, plugins: Iterable[Plugin]) -> None:
    """Put files there that lead to the plugins themselves, for this process.

    A breakpoint in the file that the author wrote works then, and what a test puts into a module that it imported
    counts.
    """
    for each in plugins:
        path = _path(each).absolute()
        name = each.__name__ if isinstance(each, ModuleType) else ""
        appliance.replace_file(directory_of(appliance) / path.name, LINK.format(name=name, path=str(path)))


def _path(plugin: Plugin) -> Path:
    return Path(str(plugin.__file__)) if isinstance(plugin, ModuleType) else plugin
