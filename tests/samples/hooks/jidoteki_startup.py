"""Notes when the service was started."""

import asyncio
import time

from jidoteki.hookspecs import Appliance, hookimpl


@hookimpl
async def jidoteki_startup(appliance: Appliance) -> None:
    await asyncio.to_thread(appliance.replace_file, appliance.etc / "started.txt", f"{time.time():.0f}\n")
