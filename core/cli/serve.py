"""`jidoteki serve`."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import CommandError, root_option

if TYPE_CHECKING:
    from jidoteki.core.service.server import Binding
    from jidoteki.core.service.service import Service

PORT = 8443


def port_number(value: str) -> int:
    """Return the TCP port in a text, -1 for `none`.

    :raises click.BadParameter: it is neither.
    """
    if value == "none":
        return -1
    if value.isascii() and value.isdecimal() and int(value) <= 65535:
        return int(value)
    raise click.BadParameter("must be 0 to 65535, or none")


@click.command()
@root_option
@click.option("--host", help="Address to listen on.  [default: all at the root /, else 127.0.0.1]")
@click.option(
    "--port", type=port_number, metavar="PORT", help="HTTPS port; 0 for a free one, none for no HTTPS.  [default: 8443]"
)
@click.option("--http-port", type=port_number, metavar="PORT", help="Serve plain HTTP too, for use behind a proxy.")
@click.option("--http-host", default="127.0.0.1", show_default=True, help="Address for plain HTTP.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file.")
@click.option("--debug", is_flag=True, help="Log more, to standard error.")
def command(
    root: Path,
    host: str | None,
    port: int | None,
    http_port: int | None,
    http_host: str,
    config: Path | None,
    debug: bool,
) -> None:
    """Serve the API of an appliance until SIGTERM; SIGHUP reads configuration and certificates again."""
    run(root, host, port, http_port, http_host, config, debug)


def run(
    root: Path,
    host: str | None = None,
    port: int | None = None,
    http_port: int | None = None,
    http_host: str = "127.0.0.1",
    config: Path | None = None,
    debug: bool = False,
    announce: Callable[[str], None] = click.echo,
) -> None:
    """Serve until SIGTERM or SIGINT.

    :param announce: called with the address of each listener once it accepts connections.
    :raises CommandError: the service cannot start.
    """
    from jidoteki.core.files import torn_logs
    from jidoteki.core.logs import service as service_log
    from jidoteki.core.service import first_process
    from jidoteki.core.service.server import serve
    from jidoteki.core.service.service import Service

    first_process.step_aside()
    os.umask(0o077)
    appliance = Appliance(root)
    try:
        appliance.prepare()
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be made: {error.strerror}") from error
    for directory in (appliance.log, appliance.jobs):
        torn_logs.mend(directory)
    log = service_log.start(appliance.log / "jidoteki-admin-api.log", debug)
    try:
        service = Service(appliance, config or appliance.configuration)
        asyncio.run(serve(service, _binding(service, host, port, http_port, http_host), announce))
    except OSError as error:
        asked = _given_options({"--host": host, "--port": port, "--http-port": http_port})
        other = "; choose another port with --port" if error.errno == errno.EADDRINUSE else ""
        raise CommandError(f"The service cannot start{asked}: {error.strerror or error}{other}") from error
    finally:
        log.stop()


def _given_options(options: Mapping[str, object]) -> str:
    """Return the given options, which may be the cause of an error."""
    given = [f"{name} {value}" for name, value in options.items() if value is not None]
    return f" with {' '.join(given)}" if given else ""


def _binding(service: Service, host: str | None, port: int | None, http_port: int | None, http_host: str) -> Binding:
    """Return the addresses to listen on from options, configuration and environment."""
    from jidoteki.core.http.listener import EVERYWHERE
    from jidoteki.core.service import handed_sockets
    from jidoteki.core.service.server import Binding

    listen = service.generation.config.values["listen"]
    default = EVERYWHERE if str(service.appliance.root) == "/" else ("127.0.0.1",)
    handed = handed_sockets.take()
    # Sockets that were handed over take the place of the default addresses, and stand beside chosen ones.
    unchosen = -1 if handed.https and not (host or listen["host"]) else PORT
    chosen = next(each for each in (port, listen["port"], unchosen) if each is not None)
    plain = http_port if http_port is not None else _port_of_environment()
    return Binding(_hosts(host or listen["host"], default), _served(chosen), http_host, _served(plain), handed)


def _hosts(chosen: str | list[str] | None, default: Sequence[str]) -> Sequence[str]:
    if not chosen:
        return default
    return (chosen,) if isinstance(chosen, str) else chosen


def _served(port: int | None) -> int | None:
    return None if port is None or port < 0 else port


def _port_of_environment() -> int | None:
    value = os.environ.get("JIDO_API_PORT")
    if not value:
        return None
    try:
        return port_number(value)
    except click.BadParameter as error:
        raise CommandError("JIDO_API_PORT must be a port from 0 to 65535") from error
