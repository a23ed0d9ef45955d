"""pytest fixtures: temporary appliances, served by a process of their own or by that of the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli.init import make
from jidoteki.testing import plugin_files
from jidoteki.testing.calls import configure
from jidoteki.testing.host import Host
from jidoteki.testing.reports import HOSTS, IN_PROCESS, pytest_runtest_makereport, tail

if TYPE_CHECKING:
    from jidoteki.testing.in_process import InProcessClient
    from jidoteki.testing.job_threads import JobThread

__all__ = [
    "MakeAppliance",
    "MakeClient",
    "MakeHost",
    "jidoteki_appliance",
    "jidoteki_client",
    "jidoteki_host",
    "pytest_runtest_makereport",
]

TOKEN = "correct-horse-battery"
BUILT_IN = ("settings", "certs", "license", "storage", "backup")


class MakeAppliance(Protocol):
    """The type of the fixture `jidoteki_appliance`."""

    def __call__(self, token: str | None = TOKEN) -> Appliance:
        """Make the root of an appliance.

        :param token: the API token; None to leave it without one.
        """


class MakeHost(Protocol):
    """The type of the fixture `jidoteki_host`."""

    def __call__(
        self,
        load: Iterable[ModuleType | Path | str] = (),
        enable: Iterable[str] = (),
        token: str | None = TOKEN,
        start: bool = True,
        **sections: object,
    ) -> Host:
        """Make a host.

        :param load: one-file plugins.
        :param enable: endpoints beside those of the built-in plugins.
        :param token: the API token; None to leave it without one.
        :param start: whether to start it, too.
        :param sections: sections of the configuration; `_` in a name stands for `-`.
        :raises AssertionError: nothing serves what is to be enabled.
        """


class MakeClient(Protocol):
    """The type of the fixture `jidoteki_client`."""

    async def __call__(
        self,
        load: Iterable[ModuleType | Path | str] = (),
        enable: Iterable[str] = (),
        token: str | None = TOKEN,
        raise_server_exceptions: bool = True,
        appliance: Appliance | None = None,
        **sections: object,
    ) -> InProcessClient:
        """Serve an appliance in this event loop, and return a client of it.

        :param load: one-file plugins, which are loaded in place: patches of a module take effect.
        :param enable: endpoints beside those of the built-in plugins.
        :param token: the API token; None to leave it without one.
        :param raise_server_exceptions: whether the client raises exceptions of handlers and jobs.
        :param appliance: one that `jidoteki_appliance` made; by default a new one.
        :param sections: sections of the configuration; `_` in a name stands for `-`.
        :raises AssertionError: nothing serves what is to be enabled.
        """


@pytest.fixture(scope="session")
def _jidoteki_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "root"
    make(root)
    return root


@pytest.fixture
def jidoteki_appliance(_jidoteki_template: Path, tmp_path: Path) -> MakeAppliance:
    """Return a function that makes an appliance root; its argument is the token, None for no token."""
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

    `load` are one-file plugins; `enable` are endpoints to enable beside all the built-in ones: one that nothing
    serves is an AssertionError. Further keywords are sections of the configuration; `start=False` leaves the start
    to the test. The report of a failed test has the logs of its hosts and of failed jobs.
    """
    hosts = request.node.stash.setdefault(HOSTS, [])

    def make_one(
        load: Iterable[ModuleType | Path | str] = (),
        enable: Iterable[str] = (),
        token: str | None = TOKEN,
        start: bool = True,
        **sections: object,
    ) -> Host:
        enable = tuple(enable)
        host = Host(jidoteki_appliance(token), token)
        hosts.append(host)
        plugin_files.copy(host.appliance, load)
        _configure(host.appliance, enable, sections)
        if start:
            host.start()
            log = tail(host.appliance.log / "jidoteki-admin-api.log")
            _assert_served(enable, log, None)
        return host

    yield make_one
    for host in hosts:
        host.end()


@pytest.fixture
def _jobs_in_threads() -> Iterator[list[JobThread]]:
    """Run jobs in threads, with the umask of a service; both must outlive the server of `jidoteki_client`."""
    from jidoteki.testing.job_threads import jobs_in_threads

    umask = os.umask(0o077)
    with jobs_in_threads() as jobs:
        yield jobs
    os.umask(umask)


@pytest.fixture
def jidoteki_client(
    jidoteki_appliance: MakeAppliance,
    _jobs_in_threads: list[JobThread],
    aiohttp_client: Callable[..., Awaitable[Any]],
    request: pytest.FixtureRequest,
) -> MakeClient:
    """Return a coroutine function that serves an appliance in this process: `await jidoteki_client(load=[…], …)`.

    It has the parameters of `jidoteki_host`. Handlers run in the test's event loop and jobs in threads: breakpoints
    and patches work in both, and the client raises their exceptions. It needs pytest-aiohttp.
    """
    appliances = request.node.stash.setdefault(IN_PROCESS, [])

    async def make_one(
        load: Iterable[ModuleType | Path | str] = (),
        enable: Iterable[str] = (),
        token: str | None = TOKEN,
        raise_server_exceptions: bool = True,
        appliance: Appliance | None = None,
        **sections: object,
    ) -> InProcessClient:
        from jidoteki.testing.in_process import SESSION, InProcessClient, ServiceServer

        enable = tuple(enable)
        appliance = appliance or jidoteki_appliance(token)
        appliances.append(appliance)
        plugin_files.link(appliance, load)
        _configure(appliance, enable, sections)
        server = ServiceServer(appliance, _jobs_in_threads)
        client = await aiohttp_client(server, **SESSION)
        log = "\n".join(server.log.messages)
        _assert_served(enable, log, server.log.first)
        for name in enable:
            if f"The plugin {name} is left out" in log:
                raise AssertionError(f"enable={name!r}: the plugin is left out") from server.log.first
        return InProcessClient(appliance, token, client, server, _jobs_in_threads, raise_server_exceptions)

    return make_one


def _configure(appliance: Appliance, enable: tuple[str, ...], sections: Mapping[str, object]) -> None:
    defaults = {
        "endpoints": [*BUILT_IN, *enable],
        "parameters": None,
        "plugin_directory": "usr/local/etc/plugins",
    }
    configure(appliance, {**defaults, **sections})


def _assert_served(enabled: tuple[str, ...], log: str, cause: BaseException | None) -> None:
    """Check, by the log, that plugins serve all enabled endpoints.

    :param cause: a possible reason.
    :raises AssertionError: no plugin serves one.
    """
    for name in enabled:
        if f"no plugin serves {name!r}" in log:
            raise AssertionError(f"enable={name!r}: no plugin serves it; the log of the service says why") from cause
