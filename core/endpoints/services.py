"""`GET /services`: which of the appliance's services run."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jidoteki.core.jobs import commands
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
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
#: What a status script says of a service that runs, as whole words.
_RUNNING = re.compile(rb"(?<!\w)(?:is running|(?<!not )(?<!n't )online)(?!\w)")


class Services:
    """Asks for the state of services; concurrent requests share one look, which stays fresh for three seconds."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self._answer: list[dict[str, str]] = []

    async def show(self, request: Request) -> Response:
        """The names and states."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() - self._looked_at > FRESH:
                self._answer = await asyncio.to_thread(self._look, own(request).service.generation.plugins)
                self._looked_at = loop.time()
        return {"services": self._answer}

    def _look(self, plugins: Any) -> list[dict[str, str]]:
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
            # Only what it says on its standard output counts, whatever its exit status.
            _, said = self._ask("sh", "-c", 'exec "$@" 2>/dev/null', "sh", *own, "status")
            return _RUNNING.search(said) is not None
        if str(self._appliance.root) == "/" and Path("/run/systemd/system").is_dir():
            return self._ask("systemctl", "is-active", "--quiet", "--", name)[0] == 0
        return False

    def _ask(self, *argv: str) -> tuple[int | None, bytes]:
        """The exit status and the output of a command; None if it did not end."""
        said = bytearray()
        environment = commands.environment(self._appliance)
        try:
            status = commands.run(argv, timeout=STATUS_TIMEOUT, output=said.extend, env=environment, max_output=65536)
        except JobError:
            return None, b""
        return status, bytes(said)


def _pairs(answer: Any) -> list[tuple[str, bool]]:
    """What a plugin said, as far as it makes sense."""
    said = answer if isinstance(answer, list) else []
    return [(str(each[0]), bool(each[1])) for each in said if isinstance(each, tuple | list) and len(each) == 2]


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    services = Services(appliance)
    return [
        Endpoint("GET", "/services", services.show, responses={200: STATES}, summary="The state of system services")
    ]
