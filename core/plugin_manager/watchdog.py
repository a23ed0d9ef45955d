"""A watchdog that detects a blocked event loop, and logs the plugin that blocks it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from jidoteki.core.plugin_manager.manager import Plugin

logger = logging.getLogger(__name__)

BEAT = 0.25
LIMIT = 1.0


class Watchdog:
    """A thread that checks whether the event loop is running.

    :param plugins: returns the plugins to suspect.
    :param turned: called in each turn of the event loop that is looked for, four times a second.
    """

    def __init__(self, plugins: Callable[[], list[Plugin]], turned: Callable[[], None]) -> None:
        self._plugins = plugins
        self._turned = turned
        self._beat = time.monotonic()
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the watchdog; call it in the event loop's thread."""
        self._loop_thread = threading.get_ident()
        self._task = asyncio.create_task(self._turn())
        self._thread.start()

    def stop(self) -> None:
        """Stop the watchdog."""
        self._ended.set()
        if self._task:
            self._task.cancel()

    async def _turn(self) -> None:
        while True:
            self._beat = time.monotonic()
            self._turned()
            await asyncio.sleep(BEAT)

    def _watch(self) -> None:
        told = 0.0
        while not self._ended.wait(BEAT):
            beat = self._beat
            if beat != told and time.monotonic() - beat > BEAT + LIMIT:
                told = beat
                frame = sys._current_frames().get(self._loop_thread)
                logger.error("%s blocked the event loop for more than %g second", self._culprit(frame), LIMIT)

    def _culprit(self, frame: FrameType | None) -> str:
        """Describe the innermost frame that belongs to a plugin."""
        homes = {file: plugin.name for plugin in self._plugins() if (file := _home(plugin))}
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            for home, name in homes.items():
                if path == home or home in path.parents:
                    return f"In {path}, line {frame.f_lineno}, the plugin {name}"
            frame = frame.f_back
        return "Something"


def _home(plugin: Plugin) -> Path | None:
    """Return the path of a plugin's code: its file, or its package's directory."""
    file = getattr(plugin.module, "__file__", None)
    if not file:
        return None
    return Path(file).parent if Path(file).name == "__init__.py" else Path(file)
