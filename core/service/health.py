"""The figures of `/health`: measured by the service, unless the vendor's own collector writes them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jidoteki.core.service.service import Service
from jidoteki.hookspecs import paths

logger = logging.getLogger(__name__)

SIZE_UNITS = "KMGTPE"
#: See proc_meminfo(5). Some containers mount a file of their own here, with lines added or zero bytes at its end.
MEMINFO = Path("/proc/meminfo")
_AMOUNT = re.compile(rb"^(\w+):[ \t]+(\d{1,15}) kB[ \t]*$", re.MULTILINE)


class HealthMonitor:
    """A task that refreshes `ADMIN/etc/health.json` every `health.refresh` seconds; 0 disables it.

    A file that another program wrote since the last refresh is kept until it is older than three refreshes. A file of
    another user is never replaced, as that user could not write to the new one: once it is old, the API shows the
    service's figures in its place.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._path = service.appliance.etc / "health.json"
        self._task: asyncio.Task[None] | None = None
        self._own: tuple[int, int] | None = None

    def start(self) -> None:
        """Start refreshing."""
        self._task = asyncio.create_task(self._refresh())

    def stop(self) -> None:
        """Stop refreshing."""
        if self._task:
            self._task.cancel()

    async def _refresh(self) -> None:
        while True:
            interval = float(self._service.generation.config.values["health"]["refresh"])
            if interval:
                try:
                    await asyncio.to_thread(self._measure, interval)
                except Exception as error:  # it may succeed next time
                    logger.error("The health cannot be measured: %s", error)
            await asyncio.sleep(interval or 60.0)

    def _measure(self, interval: float) -> None:
        if self._is_foreign(interval):
            self._service.unwritten_health = None
            return
        figures = figures_of(self._service)
        for directory in {self._service.appliance.root, self._path.parent}:
            if _lacks_inodes(directory):
                logger.error("No inode is left on the file system of %s: no file can be made there", directory)
        if self._is_another_users():
            self._service.unwritten_health = figures
            return
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
        return 0 <= age < 3 * interval and (self._own is not None or self._is_another_users())

    def _is_another_users(self) -> bool:
        try:
            return not paths.is_own(self._path.lstat())
        except OSError:
            return False


def figures_of(service: Service) -> dict[str, Any]:
    """Measure the figures and add those of plugins; blocks, so call it in a thread."""
    figures = measure(str(service.appliance.root))
    for plugin, answer in service.generation.plugins.call("jidoteki_health", appliance=service.appliance):
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
    """Return disk, memory and CPU in the reference's format, without those that cannot be measured."""
    figures: dict[str, Any] = {}
    taken: dict[str, Callable[[], dict[str, Any]]] = {"disk": partial(_disk, root), "memory": _memory, "cpu": _cpu}
    for name, take in taken.items():
        try:
            figures[name] = take()
        except (OSError, ValueError) as error:
            logger.error("The %s cannot be measured: %s", name, error)
    return figures


def _disk(root: str) -> dict[str, Any]:
    disk = shutil.disk_usage(root)
    return {
        "used": size(disk.used),
        "total": size(disk.total),
        "percentage": round(disk.used * 100 / max(1, disk.used + disk.free)),  # without the space reserved for root
    }


def _lacks_inodes(directory: Path) -> bool:
    """Return whether the file system has no free inode, which the figures in bytes do not show."""
    with contextlib.suppress(OSError):
        status = os.statvfs(directory)
        return status.f_files > 0 and not status.f_favail  # some file systems have no fixed number
    return False


def _memory() -> dict[str, Any]:
    total, available = _amounts()
    used = total - min(available, total)
    return {"used": f"{used // 2**20}M", "total": f"{total // 2**20}M", "percentage": round(used * 100 / total)}


def _amounts() -> tuple[int, int]:
    """Return the total and the available memory in bytes.

    :raises OSError: the kernel does not report them.
    """
    try:
        said = {name: int(amount) * 1024 for name, amount in _AMOUNT.findall(MEMINFO.read_bytes())}
    except OSError:
        said = {}
    total = said.get(b"MemTotal", 0)
    if total:
        free = sum(said.get(name, 0) for name in (b"MemFree", b"Buffers", b"Cached"))
        return total, said.get(b"MemAvailable", free)
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    if total <= 0 or free < 0:
        raise OSError(f"{MEMINFO} does not say how much there is")
    return total, free


def _cpu() -> dict[str, Any]:
    import psutil

    load = psutil.getloadavg()
    return {
        "num": psutil.cpu_count() or 1,
        "load": ", ".join(f"{each:.2f}" for each in load),
        "cpu5min": int(round(load[1], 2)),  # of what is shown beside it
    }


def size(bytes: int) -> str:
    """Return a size in the style of `df -h`, such as `3.4G` or `234G`."""
    value, unit = bytes / 1024, 0
    while value >= 1024 and unit < len(SIZE_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f}{SIZE_UNITS[unit]}" if value < 10 else f"{value:.0f}{SIZE_UNITS[unit]}"
