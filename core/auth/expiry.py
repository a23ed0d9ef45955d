"""When a named token that has an end ceases to count, whatever is done to the clock meanwhile."""

from __future__ import annotations

import time

from jidoteki.core.auth.users import Holder

#: The time of day when this process began, and how long the machine ran then: that goes on, and is set by nobody.
_BEGAN = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
#: Seconds by which a clock may be behind that of the moment at which a token was made.
TOLERANCE = 300.0


def now() -> float:
    """The time of day, which does not go back while the service runs: a clock that is set back prolongs nothing."""
    return max(time.time(), _BEGAN[0] + time.clock_gettime(time.CLOCK_BOOTTIME) - _BEGAN[1])


def counts(holder: Holder) -> bool:
    """Whether a token counts now: one that has an end does not before it was made, for then the clock is wrong."""
    return holder.expires is None or holder.created - TOLERANCE <= now() < holder.expires
