"""The running service: listeners, signals, graceful shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from jidoteki.core.http.listener import Connections, Listener, more_sockets, sockets
from jidoteki.core.http.protocol import make_request
from jidoteki.core.http.reaper import Reaper
from jidoteki.core.http.tls import Certificate
from jidoteki.core.jobs import priority
from jidoteki.core.plugin_manager.watchdog import Watchdog
from jidoteki.core.service.handed_sockets import HandedSockets
from jidoteki.core.service.health import HealthMonitor
from jidoteki.core.service.pipeline import Pipeline
from jidoteki.core.service.service import Service
from jidoteki.core.service.service_manager import ServiceManager
from jidoteki.hookspecs import PREFIX

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 0.2
RENEW_EACH = 5.0
#: Seconds between two attempts to listen on an address that the machine did not have, or that another program had.
LISTEN_EACH = 5.0
DESCRIPTORS = 65536
PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class Binding:
    """The addresses to listen on; no listener for a port that is None.

    :param hosts: addresses, the most important one first.
    :param http_port: for plain HTTP behind a proxy.
    """

    hosts: Sequence[str]
    port: int | None
    http_host: str = "127.0.0.1"
    http_port: int | None = None
    handed: HandedSockets = field(default_factory=HandedSockets)
    """They are served as well, whatever the addresses are."""

    @property
    def is_encrypted(self) -> bool:
        """Whether HTTPS is served."""
        return self.port is not None or bool(self.handed.https)


async def serve(service: Service, binding: Binding, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    :param announce: called with the address of each listener once it accepts connections.
    :raises OSError: an address cannot be listened on.
    """
    _prepare_process()
    manager = ServiceManager()
    ending = _ending(manager)
    watchdog = Watchdog(lambda: service.generation.plugins.loaded, manager.turned)
    watchdog.start()
    server = web.Server(Pipeline(service), request_factory=make_request)
    certificate = await asyncio.to_thread(Certificate, service.appliance) if binding.is_encrypted else None
    reaper = Reaper(lambda: service.generation.limits)
    listeners: list[Listener] = []
    try:
        listen_again = _listen(service, binding, certificate, server, reaper, listeners)
        await service.start()
        health = HealthMonitor(service)
        health.start()
        reaper.start()
        _reload_on_hangup(service, certificate, manager)  # before the service is announced
        renewing = asyncio.create_task(_renew(certificate)) if certificate else None
        for listener in listeners:
            listener.start()
            announce(f"Listening on {listener.url}{PREFIX}")
        listening = asyncio.create_task(_go_on_listening(listen_again, announce))
        gc.freeze()  # exempts existing objects from all further collections
        manager.ready()
        await ending.wait()
        manager.stopping()
        listening.cancel()
        await service.streams.end()
    finally:
        for listener in listeners:
            await listener.stop()
    logger.info("Ending: requests in flight have %g seconds", SHUTDOWN_TIMEOUT)
    if renewing:
        renewing.cancel()
    health.stop()
    watchdog.stop()
    await reaper.end(SHUTDOWN_TIMEOUT)
    await server.shutdown(CLOSE_TIMEOUT)
    await service.stop()


def _prepare_process() -> None:
    if not PROC.exists():
        logger.error("/proc is not mounted: files cannot be sent, and what killed jobs started is not found")
    _allow_descriptors()
    priority.take_place()


def _listen(
    service: Service,
    binding: Binding,
    certificate: Certificate | None,
    server: web.Server,
    reaper: Reaper,
    listeners: list[Listener],
) -> Callable[[], Awaitable[list[Listener]]]:
    """Add a listener for each address.

    :return: adds those for the addresses of HTTPS that cannot be listened on yet, and returns them.
    :raises OSError: one cannot be listened on.
    """
    connections = Connections(
        lambda: service.generation.limits, lambda address: service.generation.proxies.trusted(address)
    )
    secure: list[Listener] = []

    def add(opened: Sequence[socket.socket]) -> list[Listener]:
        assert certificate
        added = [Listener(server, each, connections, reaper, certificate.context) for each in opened]
        secure.extend(added)
        listeners.extend(added)
        return added

    async def again() -> list[Listener]:
        if binding.port is None:
            return []
        there = [each.socket for each in secure]
        port = binding.port or there[-1].getsockname()[1]
        # In a thread, as it looks up names, which takes long where no server answers.
        return add(await asyncio.to_thread(more_sockets, binding.hosts, port, there))

    if certificate:
        add(sockets(binding.hosts, binding.port, binding.handed.https))
    for each in sockets((binding.http_host,), binding.http_port, binding.handed.http):
        listeners.append(Listener(server, each, connections, reaper, None))
    return again


async def _go_on_listening(
    listen_again: Callable[[], Awaitable[list[Listener]]], announce: Callable[[str], None]
) -> None:
    """Listen on an address that comes later, as with DHCP, or that another program lets go."""
    while True:
        await asyncio.sleep(LISTEN_EACH)
        for listener in await listen_again():
            listener.start()
            announce(f"Listening on {listener.url}{PREFIX}")


async def _renew(certificate: Certificate) -> None:
    """Check periodically whether a self-signed certificate must be renewed."""
    while True:
        await asyncio.sleep(RENEW_EACH)
        await asyncio.to_thread(certificate.renew)


def _ending(manager: ServiceManager) -> asyncio.Event:
    ending = asyncio.Event()

    def end() -> None:
        manager.asked_to_end()
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return ending


def _reload_on_hangup(service: Service, certificate: Certificate | None, manager: ServiceManager) -> None:
    lock = asyncio.Lock()
    tasks: set[asyncio.Task[None]] = set()
    started = _place(service)

    async def reload() -> None:
        async with lock:
            manager.reloading()
            try:
                await service.reload()
                if certificate:
                    await asyncio.to_thread(certificate.reload)
            finally:
                manager.ready()
            if _place(service) != started:
                logger.warning("listen.host and listen.port were changed: they count from the next start on")

    def begin() -> None:
        if len(tasks) < 2:  # one that runs and one that will read the newest files are enough
            task = asyncio.create_task(reload())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, begin)


def _place(service: Service) -> tuple[Any, Any]:
    """Return the configured host and port."""
    listen = service.generation.config.values["listen"]
    return listen["host"], listen["port"]


def _allow_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
