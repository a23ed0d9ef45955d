"""An example of a stream."""

from __future__ import annotations

from jidoteki.hookspecs import Described

STREAM = Described(
    "Events, until either side ends the connection",
    examples=(
        'id: 7f3c8e51d02b96a4-41\nevent: job\ndata: {"id":"000042-update","type":"update","status":"running",'
        '"percentage":40,"started":1432140922,"finished":null,"user":"admin","client":"192.168.1.7"}\n\n',
    ),
    media="text/event-stream",
)
