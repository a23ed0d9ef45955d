"""Calling a job type's `recover`, in the service or in a process with the rights of the run that died."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jidoteki.hookspecs import Appliance, privileges

if TYPE_CHECKING:
    from jidoteki.core.jobs.runner import Run

logger = logging.getLogger(__name__)


def call_of(
    recover: Callable[..., object], appliance: Appliance, section: Mapping[str, Any]
) -> tuple[Callable[..., object], tuple[Any, ...]]:
    """Return a job type's `recover` and the arguments that it takes.

    :param section: of its plugin.
    """
    return recover, (appliance, section) if _takes_config(recover) else (appliance,)


def recover(run: Run) -> dict[str, Any]:
    """Put right what an earlier process of a run left half done.

    :return: `{"said"?}`, what its plugin says of that, or `{"failed"}`, the reason.
    """
    appliance = run.context.appliance
    try:
        with privileges.raised():
            appliance.finish()
        if run.job.recover is None:
            return {}
        function, given = call_of(run.job.recover, appliance, run.context.config)
        said = function(*given)
    except BaseException as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}
    return {"said": said} if isinstance(said, str) else {}


def _takes_config(recover: Callable[..., Any]) -> bool:
    """Return whether a recovery takes the configuration: as a required second parameter, or one named `config`."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(recover).parameters.values()
    except (TypeError, ValueError):  # of what is not written in Python
        return False
    second = [each for each in parameters if each.kind in kinds][1:2]
    return any(each.default is each.empty or each.name == "config" for each in second)
