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
from jidoteki.core.requests import own
from jidoteki.hookspecs import Appliance, Described, Endpoint, JobFailed, Request, Response, hookimpl

logger = logging.getLogger(__name__)

OWN = "jidoteki-admin-api"
FRESH = 3.0
TIME = 10.0
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
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")


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
                self._answer = await asyncio.to_thread(self._look, own(request).service.plugins)
                self._looked_at = loop.time()
        return {"services": self._answer}

    def _look(self, plugins: Any) -> list[dict[str, str]]:
        try:
            text = self._appliance.read_text(self._appliance.system_etc / "allservices.txt") or ""
        except OSError as error:
            logger.error("allservices.txt cannot be read: %s", error.strerror or error)
            text = ""
        names = list(dict.fromkeys(name for line in text.splitlines() if _NAME.fullmatch(name := line.strip())))
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
            return _asked(
                [str(script), "status"] if os.access(script, os.X_OK) else ["sh", str(script), "status"], self
            )
        if str(self._appliance.root) == "/" and Path("/run/systemd/system").is_dir():
            return _asked(["systemctl", "is-active", "--quiet", "--", name], self)
        return False

    @property
    def environment(self) -> dict[str, str]:
        """The variables for a status command."""
        return commands.environment(self._appliance.admin)


def _pairs(answer: Any) -> list[tuple[str, bool]]:
    """What a plugin said, as far as it makes sense."""
    said = answer if isinstance(answer, list) else []
    return [(str(each[0]), bool(each[1])) for each in said if isinstance(each, tuple | list) and len(each) == 2]


def _asked(argv: list[str], services: Services) -> bool:
    said = bytearray()
    try:
        status = commands.run(argv, timeout=TIME, output=said.extend, env=services.environment, max_output=65536)
    except JobFailed:
        return False
    return status == 0 or b"is running" in said or b"online" in said


@hookimpl
def jidoteki_endpoints(appliance: Appliance) -> list[Endpoint]:
    services = Services(appliance)
    return [Endpoint("GET", "/services", services.show, {}, {200: STATES}, "The state of system services")]
