"""The destinations: syslog as in RFC 5424, and a webhook. What they raise means: try again."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import voluptuous as vol

TIMEOUT = 10.0
LOG_AUDIT = 13
WARNING, NOTICE = 4, 5


def web_address(value: object) -> str:
    """Return the URL of a webhook, or raise voluptuous.Invalid."""
    if isinstance(value, str) and _parses(value, ("http", "https")):
        return value
    raise vol.Invalid("must be a URL such as https://log.example/events")


def syslog_address(value: object) -> str:
    """Return the address of a syslog server, or raise voluptuous.Invalid."""
    if isinstance(value, str):
        url = urlsplit(value)
        if (url.scheme == "unix" and url.path) or (_parses(value, ("tcp", "udp")) and url.port):
            return value
    raise vol.Invalid("must be such as tcp://log.example:601, udp://log.example:514 or unix:/dev/log")


def _parses(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        url = urlsplit(value)
        return url.scheme in schemes and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without the event."""

    def redirect_request(self, *arguments: Any) -> None:
        """Follow none."""


def webhook(url: str, token: str | None) -> Callable[[bytes], None]:
    """Return a function that posts an entry, which is JSON; the hook has taken it when it answers 2xx.

    :param token: sent as `Authorization: Bearer`.
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    opener = urllib.request.build_opener(_NoRedirect)

    def deliver(entry: bytes) -> None:
        request = urllib.request.Request(url, entry, headers, method="POST")  # noqa: S310, web_address checked it
        with opener.open(request, timeout=TIMEOUT):
            pass

    return deliver


def syslog(address: str) -> Callable[[bytes], None]:
    """Return a function that sends an entry to a syslog server."""
    url = urlsplit(address)

    def deliver(entry: bytes) -> None:
        message = syslog_message(json.loads(entry))
        if url.scheme == "tcp":
            _send_stream((str(url.hostname), url.port or 0), message)
        elif url.scheme == "udp":
            _send_datagram(str(url.hostname), url.port or 0, message)
        else:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
                local.settimeout(TIMEOUT)
                local.connect(url.path)
                local.send(message)

    return deliver


def _send_stream(server: tuple[str, int], message: bytes) -> None:
    """Send with the octet count of RFC 6587, and wait until the server has read it all and closes."""
    with socket.create_connection(server, TIMEOUT) as connection:
        connection.sendall(str(len(message)).encode() + b" " + message)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError):  # a server that does not close may have it all the same
            connection.recv(1)


def _send_datagram(host: str, port: int, message: bytes) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as datagrams:
        datagrams.sendto(message, address)


def syslog_message(event: dict[str, str]) -> bytes:
    """Return an event as a message of RFC 5424, with the facility 13 (log audit)."""
    failed = event["action"] == "authentication.failure" or event["target"].endswith(" failed")
    priority = LOG_AUDIT * 8 + (WARNING if failed else NOTICE)
    text = " ".join(f"{key}={_plain(event[key])}" for key in ("client", "user", "id", "target", "event-id"))
    head = f"<{priority}>1 {event['time']} {_plain(event['host'])} jidoteki - {_plain(event['action'])[:32]} -"
    return f"{head} {text}".encode("ascii", "backslashreplace")


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:1024]) or "-"
