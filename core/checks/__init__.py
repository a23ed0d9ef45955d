"""The checks of `jidoteki check`: what may be wrong with an appliance, and how to fix it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from jidoteki.core.appliance import Appliance
from jidoteki.core.checks import configured, credentials, lists, original, outcomes, programs, tree
from jidoteki.core.config import loading
from jidoteki.core.service.generation import assemble
from jidoteki.hookspecs import Finding


def check(appliance: Appliance, path: Path | None = None) -> Iterator[Finding]:
    """Check an appliance and yield the findings.

    :param path: the configuration file; by default the appliance's own.
    """
    # Findings are reported once, here, and not in the service's log.
    logging.getLogger("jidoteki").addHandler(logging.NullHandler())
    config = loading.load(path or appliance.configuration, None if path else appliance.last_good_configuration)
    assembly = assemble(appliance, config)
    appliance = assembly.appliance
    yield from configured.check(assembly)
    yield from credentials.check(appliance)
    yield from tree.check(appliance, config)
    yield from lists.check(appliance)
    yield from programs.check(appliance, config)
    yield from outcomes.check(assembly.launcher)
    yield from configured.ask(assembly)
    for change in original.changes(appliance):
        yield Finding("note", "original", change.message, change.advice, str(change.file))
