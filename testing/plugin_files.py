"""Installing one-file plugins for a host, or for a service in the test's process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from jidoteki.core.appliance import Appliance

Plugin = ModuleType | Path | str

#: A plugin that runs another file, or exports the module in the process that imported it.
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
    """Return the plugin directory of an appliance, which is created if missing."""
    directory = appliance.system_etc / "plugins"
    directory.mkdir(mode=0o755, exist_ok=True)
    return directory


def copy(appliance: Appliance, plugins: Iterable[Plugin]) -> None:
    """Copy plugins there, for a host in a process of its own."""
    for path in map(_path, plugins):
        appliance.replace_file(directory_of(appliance) / path.name, path.read_bytes())


def link(appliance: Appliance, plugins: Iterable[Plugin]) -> None:
    """Create files there that load the original plugins, for a service in this process.

    So breakpoints work in the author's files, and patches of an imported module take effect.
    """
    for each in plugins:
        path = _path(each).absolute()
        name = each.__name__ if isinstance(each, ModuleType) else ""
        appliance.replace_file(directory_of(appliance) / path.name, LINK.format(name=name, path=str(path)))


def _path(plugin: Plugin) -> Path:
    return Path(str(plugin.__file__)) if isinstance(plugin, ModuleType) else Path(plugin)
