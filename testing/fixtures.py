"""pytest fixtures: `jidoteki_appliance` makes temporary appliances, `jidoteki_host` runs a host on one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli.init import make
from jidoteki.testing.host import Host
from jidoteki.testing.reports import HOSTS, pytest_runtest_makereport, tail

__all__ = ["MakeAppliance", "MakeHost", "jidoteki_appliance", "jidoteki_host", "pytest_runtest_makereport"]

TOKEN = "correct-horse-battery"

MakeAppliance = Callable[..., Appliance]
MakeHost = Callable[..., Host]


@pytest.fixture(scope="session")
def _jidoteki_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "root"
    make(root)
    return root


@pytest.fixture
def jidoteki_appliance(_jidoteki_template: Path, tmp_path: Path) -> MakeAppliance:
    """Return a function that makes an appliance root; its argument is the token, None to leave it without one."""
    number = 0

    def make_one(token: str | None = TOKEN) -> Appliance:
        nonlocal number
        number += 1
        root = tmp_path / f"appliance-{number}"
        shutil.copytree(_jidoteki_template, root, symlinks=True)
        appliance = Appliance(root, root / "opt/jidoteki/tinyadmin")
        if token is not None:
            appliance.replace_file(appliance.etc / "api.token", token + "\n", mode=0o600)
        return appliance

    return make_one


@pytest.fixture
def jidoteki_host(jidoteki_appliance: MakeAppliance, request: pytest.FixtureRequest) -> Iterator[MakeHost]:
    """Return a function that makes and starts a host: `jidoteki_host(load=[module or file], …)`.

    `load` are one-file plugins to load; `enable` are endpoints to enable beside all the built-in ones: one that
    nothing serves is an AssertionError. Further keywords are sections of the configuration; `start=False` leaves it
    to the test to start it. A test that fails shows the logs of its hosts and of the jobs that failed.
    """
    hosts = request.node.stash.setdefault(HOSTS, [])

    def make_one(
        load: tuple[ModuleType | Path, ...] = (),
        enable: tuple[str, ...] = (),
        token: str | None = TOKEN,
        start: bool = True,
        **sections: object,
    ) -> Host:
        host = Host(jidoteki_appliance(token), token)
        hosts.append(host)
        directory = host.appliance.system_etc / "plugins"
        directory.mkdir(mode=0o755, exist_ok=True)
        for each in load:
            source = Path(str(each.__file__)) if isinstance(each, ModuleType) else each
            host.appliance.replace_file(directory / source.name, source.read_bytes())
        built_in = ["settings", "certs", "license", "storage", "backup"]
        defaults = {
            "endpoints": [*built_in, *enable],
            "parameters": None,
            "plugin_directory": "usr/local/etc/plugins",
        }
        host.configure(**{**defaults, **sections})
        if start:
            host.start()
            _assert_served(host, enable)
        return host

    yield make_one
    for host in hosts:
        host.end()


def _assert_served(host: Host, enabled: tuple[str, ...]) -> None:
    """Look in the log for what the host says of an endpoint that no plugin serves.

    :raises AssertionError: it says so of an enabled one.
    """
    log = tail(host.appliance.log / "jidoteki-admin-api.log")
    for name in enabled:
        if f"no plugin serves {name!r}" in log:
            raise AssertionError(f"enable={name!r}: no plugin serves it; the log of the service says why")
