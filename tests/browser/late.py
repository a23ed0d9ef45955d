"""`jidoteki` as on a slow machine: of what a browser asks, each is taken up or answered late, by chance.

late.py SEED serve …
"""

from __future__ import annotations

import asyncio
import random
import sys

from aiohttp import web

from jidoteki.core.cli import main
from jidoteki.core.service.pipeline import Pipeline

#: How late. What curl asks, as a test does, is answered at once.
SECONDS = (0, 0.3, 0.7)
answer = Pipeline.__call__
chance = random.Random(sys.argv.pop(1))


async def late(pipeline: Pipeline, request: web.BaseRequest) -> web.StreamResponse:
    seconds = chance.choice(SECONDS) if "Chrome/" in request.headers.get("User-Agent", "") else 0
    begins_late = chance.random() < 0.5
    await asyncio.sleep(seconds * begins_late)
    response = await answer(pipeline, request)
    await asyncio.sleep(seconds * (not begins_late))
    return response


Pipeline.__call__ = late  # type: ignore[assignment, method-assign]  # but for this it is as it is
main()
