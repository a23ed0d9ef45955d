"""`confirm=N` in the query: how long a change waits for its confirmation before it is put back."""

from __future__ import annotations

import re
from typing import Final

from multidict import MultiMapping

from jidoteki.core.http.dry_run import is_near
from jidoteki.core.http.forms import Form
from jidoteki.hookspecs import ApiError, Endpoint
from jidoteki.hookspecs.trials import MAX_SECONDS, MIN_SECONDS

NAME: Final = "confirm"
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


def seconds(query: MultiMapping[str], endpoint: Endpoint, form: Form) -> int:
    """Return how many seconds a change waits for its confirmation; 0 if it is final at once.

    Whoever asks for it relies on it, so it is refused where it has no effect, as is any name that resembles it.

    :raises ApiError: 400, it is misspelt, given twice, no number in the range, or not for this endpoint.
    """
    if endpoint.confirm is None:
        if NAME in query and NAME not in form.kinds:
            raise ApiError(400, f"{NAME} is not for {endpoint.method} {endpoint.path}. Nothing was done")
        return 0
    for name in set(query):
        if name != NAME and name not in form.kinds and is_near(name, NAME):
            raise ApiError(400, f"{name} is unknown; did you mean {NAME}? Nothing was done")
    values = query.getall(NAME, [str(endpoint.confirm)])
    if len(values) > 1:
        raise ApiError(400, f"{NAME} is given twice")
    number = int(values[0]) if _NUMBER.fullmatch(values[0]) else -1
    if NAME in query and not MIN_SECONDS <= number <= MAX_SECONDS:
        raise ApiError(400, f"{NAME} must be a number of seconds from {MIN_SECONDS} to {MAX_SECONDS}")
    return number
