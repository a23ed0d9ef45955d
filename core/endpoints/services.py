"""`GET /services`: the states of the appliance's services."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jidoteki.core.jobs import commands, units
from jidoteki.core.service.requests import own
from jidoteki.hookspecs import Appliance, Described, Endpoint, JobError, Request, Response, hookimpl

logger = logging.getLogger(__name__)

OWN = "jidoteki-admin-api"
FRESH = 3.0
STATUS_TIMEOUT = 10.0
MAX_SERVICES = 256
STATES = Described(
    "Names and states",
    {
        "type": "object",
        "required": ["services"],
        "properties": {
            "services": {
                "type": "array",
                "items": {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": {"enum": ["running", "not running"]},
                },
            }
        },
    },
    ({"services": [{"openssh": "running"}, {"jidoteki-admin-api": "running"}]},),
)
PARALLEL = 8
#: Exit statuses of a shell that cannot run a script, and of a `systemctl` that reaches no systemd.
CANNOT_RUN = frozenset((126, 127))
NO_SYSTEMD = frozenset((1, 2, 126, 127))
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
#: The output of a status script for a running service, as whole words.
_RUNNING = re.compile(rb"(?<!\w)(?:is running|(?<!not )(?<!n't )online)(?!\w)")


class Services:
    """The states of services; concurrent requests share one query, which is cached for three seconds."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self._answer: list[dict[str, str]] = []
        #: What is wrong with whom, which is logged once as long as it stays so.
        self._wrong: dict[str, str] = {}

    async def show(self, request: Request) -> Response:
        """Return the names and states."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() - self._looked_at > FRESH:
                self._answer = await asyncio.to_thread(self._query, own(request).service.generation.plugins)
                self._looked_at = loop.time()
        return {"services": self._answer}

    def _query(self, plugins: Any) -> list[dict[str, str]]:
        try:
            text = self._appliance.read_text(self._appliance.system_etc / "allservices.txt") or ""
        except OSError as error:
            logger.error("allservices.txt cannot be read: %s", error.strerror or error)
            text = ""
        lines = (line for line in text.removeprefix("\ufeff").splitlines() if not line.lstrip().startswith("#"))
        names = list(dict.fromkeys(name for line in lines for name in line.split() if NAME.fullmatch(name)))
        names = names[:MAX_SERVICES]
        with ThreadPoolExecutor(PARALLEL) as pool:
            states = dict(zip(names, pool.map(self._is_running, names), strict=True))
        for _, answer in plugins.call("jidoteki_services", appliance=self._appliance):
            states.update(dict(_pairs(answer)))
        states[OWN] = True
        return [{name: "running" if running else "not running"} for name, running in states.items()]

    def _is_running(self, name: str) -> bool:
        if name == OWN:
            return True
        script = self._appliance.system_etc / "init.d" / name
        if script.is_file():
            own = [str(script)] if os.access(script, os.X_OK) else ["sh", str(script)]
            # Only the standard output counts, whatever the exit status is.
            _, said = self._ask(name, CANNOT_RUN, "sh", "-c", 'exec "$@" 2>/dev/null', "sh", *own, "status")
            return _RUNNING.search(said) is not None
        if str(self._appliance.root) == "/" and units.is_booted():
            return self._ask(name, NO_SYSTEMD, "systemctl", "is-active", "--", name)[0] == 0
        return False

    def _ask(self, name: str, faults: frozenset[int], *argv: str) -> tuple[int | None, bytes]:
        """Return the exit status and the output of a command that tells of a service; None if it did not end.

        :param faults: the exit statuses that say that the command itself failed.
        """
        said = bytearray()
        environment = commands.environment(self._appliance)
        try:
            status = commands.run(argv, timeout=STATUS_TIMEOUT, output=said.extend, env=environment, max_output=65536)
        except JobError as error:
            self._note(name, error.message)
            return None, b""
        text = said.decode("utf-8", "replace").strip()
        self._note(name, text or f"exit status {status}" if status in faults else "")
        return status, bytes(said)

    def _note(self, name: str, problem: str) -> None:
        """Log why nobody knows the state of a service, which counts as not running."""
        if problem and self._wrong.get(name) != problem:
            logger.error("Whether %s runs cannot be found out, so it is not running: %s", name, problem)
        self._wrong[name] = problem


def _pairs(answer: Any) -> list[tuple[str, bool]]:
    """Return the valid part of a plugin's result."""
    said = answer if isinstance(answer, list) else []
    return [(str(each[0]), bool(each[1])) for each in said if isinstance(each, tuple | list) and len(each) == 2]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    services = Services(appliance)
    return [
        Endpoint("GET", "/services", services.show, responses={200: STATES}, summary="The state of system services")
    ]
