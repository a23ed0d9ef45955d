"""What may be wrong with an appliance, and what to do about it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from jidoteki.core.appliance import Appliance
from jidoteki.core.checks import configured, credentials, lists, original, programs, tree
from jidoteki.core.config import loading
from jidoteki.core.service.generation import assemble
from jidoteki.hookspecs import Finding


def check(appliance: Appliance, path: Path | None = None) -> Iterator[Finding]:
    """Yield what is wrong.

    :param path: the configuration file; by default the appliance's own.
    """
    # What is found is told once, here, and not in the log of the service.
    logging.getLogger("jidoteki").addHandler(logging.NullHandler())
    settings = loading.load(path or appliance.configuration)
    assembly = assemble(appliance, settings)
    appliance = assembly.appliance
    yield from configured.check(assembly)
    yield from credentials.check(appliance)
    yield from tree.check(appliance, settings)
    yield from lists.check(appliance)
    yield from programs.check(appliance, settings)
    yield from configured.ask(assembly)
    for change in original.changes(appliance):
        yield Finding("note", "original", change.message, change.advice, str(change.file))
