"""The figures of `/health`: taken by the service itself, unless the vendor's own collector writes them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from importlib import import_module
from typing import Any

from jidoteki.core.service import Service

logger = logging.getLogger(__name__)

SIZE_UNITS = "KMGTPE"


class HealthMonitor:
    """Refreshes `ADMIN/etc/health.json` every `health.refresh` seconds; 0 leaves the file to somebody else.

    A file that somebody else wrote since the last refresh is left alone until it is older than three refreshes.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._path = service.appliance.etc / "health.json"
        self._task: asyncio.Task[None] | None = None
        self._own: tuple[int, int] | None = None

    def start(self) -> None:
        """Begin to refresh."""
        self._task = asyncio.create_task(self._refresh())

    def stop(self) -> None:
        """End it."""
        if self._task:
            self._task.cancel()

    async def _refresh(self) -> None:
        while True:
            interval = float(self._service.config.settings["health"]["refresh"])
            if interval:
                try:
                    await asyncio.to_thread(self._measure, interval)
                except OSError as error:
                    logger.error("The health cannot be measured: %s", error)
            await asyncio.sleep(interval or 60.0)

    def _measure(self, interval: float) -> None:
        if self._is_foreign(interval):
            self._service.unwritten_health = None
            return
        figures = figures_of(self._service)
        try:
            self._service.appliance.replace_file(self._path, json.dumps(figures) + "\n")
        except OSError as error:
            self._service.unwritten_health = figures
            logger.error("%s cannot be written: %s", self._path, error)
        else:
            self._service.unwritten_health = None
            self._own = self._look()

    def _look(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_mtime_ns, status.st_ino

    def _is_foreign(self, interval: float) -> bool:
        present = self._look()
        if present is None or present == self._own:
            return False
        age = time.time() - present[0] / 1e9
        return 0 <= age < 3 * interval and self._own is not None


def figures_of(service: Service) -> dict[str, Any]:
    """Measure, and let the plugins add what they know; blocks, and belongs in a thread."""
    figures = measure(str(service.appliance.root))
    for plugin, answer in service.plugins.call("jidoteki_health", appliance=service.appliance):
        if isinstance(answer, dict) and plugin.name not in figures and _is_json(plugin.name, answer):
            figures[plugin.name] = answer
    return figures


def _is_json(plugin: str, answer: dict[str, Any]) -> bool:
    try:
        json.dumps(answer, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        logger.error("The plugin %s returned no JSON in jidoteki_health: %s", plugin, error)
        return False
    return True


def measure(root: str) -> dict[str, Any]:
    """Return disk, memory and CPU in the form of the reference."""
    psutil: Any = import_module("psutil")
    disk, memory = psutil.disk_usage(root), psutil.virtual_memory()
    load, processors = psutil.getloadavg(), psutil.cpu_count() or 1
    return {
        "disk": {"used": size(disk.used), "total": size(disk.total), "percentage": round(disk.percent)},
        "memory": {
            "used": f"{memory.used // 2**20}M",
            "total": f"{memory.total // 2**20}M",
            "percentage": round(memory.used * 100 / memory.total),
        },
        "cpu": {
            "num": processors,
            "load": ", ".join(f"{each:.2f}" for each in load),
            "cpu5min": int(load[1]),
        },
    }


def size(bytes: int) -> str:
    """A size in the style of `df -h`, such as `3.4G` or `234G`."""
    value, unit = bytes / 1024, 0
    while value >= 1024 and unit < len(SIZE_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}{SIZE_UNITS[unit]}" if value < 10 else f"{value:.0f}{SIZE_UNITS[unit]}"
