"""The process of a job that root runs: `python -m jidoteki.core.jobs.helper ID USER`, in `jidoteki-job@ID.service`.

It acts as the service's user, who starts it, and takes from him the order of the job, of which it believes nothing: the
type must be one that `$JIDOTEKI_JOB_TYPES` lists, which only root sets; configuration and plugins are read anew, from
files of root's; the input must be as the job type says.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import voluptuous as vol

from jidoteki.core.appliance import Appliance
from jidoteki.core.config import loading
from jidoteki.core.config.loading import Config
from jidoteki.core.files import leftovers, locks
from jidoteki.core.jobs import handover, runner, units
from jidoteki.core.jobs.handover import Received, RefusedError
from jidoteki.core.jobs.order import Order
from jidoteki.core.jobs.records import Record, parse
from jidoteki.core.plugin_manager import manager, sources
from jidoteki.core.plugin_manager.sources import Source
from jidoteki.hookspecs import JobType, privileges, rooted, strict_json
from jidoteki.hookspecs.explanations import explain
from jidoteki.hookspecs.free_space import FULL

#: Root's: work spaces, and what decides about updates.
STATE: Final = Path("/var/lib/jidoteki-job")
LAST_GOOD: Final = STATE / "last-good-configuration.json"
_RUN: Final = re.compile(r"[0-9]{6,9}-([a-z][a-z0-9-]{0,63})")
_DRY_RUN: Final = re.compile(r"dry-run-[0-9a-f]{16}")
_GIVEN: Final = vol.Schema(
    {
        vol.Required("record"): dict,
        vol.Required("input"): {str: object},
        vol.Required("dry_run"): bool,
        vol.Required("reverting"): vol.Any(None, vol.All(str, vol.Length(max=64 * 1024))),
        vol.Required("recovering"): bool,
    },
    extra=vol.REMOVE_EXTRA,
)


def main(id: str, user: str) -> None:
    """Run the job of this id, if it may be run, and exit."""
    if id.startswith(units.TRY):
        return  # nothing is to be done but to have begun
    if not (_RUN.fullmatch(id) or _DRY_RUN.fullmatch(id)):
        raise SystemExit(f"{id!r} is no id of a job")
    os.umask(0o077)
    appliance = Appliance(Path("/"))
    privileges.act_as(user)
    received = handover.receive(appliance.admin / "tmp" / id)
    try:
        order, job = _order(appliance, id, received.order)
        _check_descriptors(received)
        with _room_spared_by(job):
            _lock(order)
            _make_workspace(order)
    except (OSError, ValueError) as error:
        received.refuse(str(error))
        raise SystemExit(f"{id} is refused: {error}") from error
    except BaseException:
        received.refuse("An internal error ended its process; the journal has the details")
        raise
    for number, descriptor in enumerate(received.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    received.begin()
    runner.perform(order)


def _order(appliance: Appliance, id: str, given: bytes) -> tuple[Order, JobType]:
    """Return the order of a run, of what was given only what may be believed, and its job type.

    :raises RefusedError: the job may not be run.
    :raises OSError: root is not the only one who decides about something that it reads.
    :raises ValueError: it makes no sense.
    """
    try:
        fields = _GIVEN(strict_json.loads(given))
        record = parse(fields["record"])
    except (vol.Invalid, ValueError, RecursionError) as error:
        raise RefusedError("The order of the job makes no sense") from error
    _check_type(id, record)
    config = _configuration(appliance)
    wanted, job = _plugins(appliance, config, record.type)
    sections = config.values["plugins"]
    order = Order(
        appliance.root,
        appliance.admin,
        record,
        wanted,
        {each.name: sections[each.name] for each in wanted if each.name in sections},
        {key: value for key, value in config.values.items() if key != "plugins"},
        fields["input"],
        appliance.admin / "tmp" / id / "work",
        fields["dry_run"],
        fields["reverting"],
        fields["recovering"],
        STATE,
    )
    if fields["reverting"] is None and not fields["recovering"]:
        check_input(job, order.input)
    return order, job


def _check_type(id: str, record: Record) -> None:
    match = _RUN.fullmatch(id)
    if record.id != id or (match and match[1] != record.type):
        raise RefusedError("The order is that of another job")
    if record.type not in os.environ.get(units.TYPES, "").split():
        why = f"a drop-in of jidoteki-job@.service has to name it in {units.TYPES}"
        raise RefusedError(f"Jobs of the type {record.type} are not among those that root runs: {why}")


def _configuration(appliance: Appliance) -> Config:
    """Read the configuration, and check that root alone decides about what it and root's programs read.

    Where it cannot be read, the last one that could is in force, as for the service: root's own copy of it.
    """
    for path in (STATE, *appliance.decided_by_root):
        rooted.require(path)
    with privileges.raised():
        config = loading.load(appliance.configuration, LAST_GOOD)
        with leftovers.tolerated(f"{LAST_GOOD} cannot be written"):
            loading.keep(config, LAST_GOOD)
    return config


def _plugins(appliance: Appliance, config: Config, job_type: str) -> tuple[list[Source], JobType]:
    """Return the plugin that has a job type and those that put settings into force, and the job type."""
    for path in sources.files(config, appliance.root):
        rooted.require(path)
    loaded = manager.load_for_job(appliance, config, list(sources.sources(config, appliance.root)))
    applying = {each.name: each.source for each, _ in loaded.implementations("jidoteki_apply")}
    for plugin in loaded.loaded:
        for job in plugin.jobs:
            if job.name == job_type and job.privileged:
                return list(({plugin.name: plugin.source} | applying).values()), job
    raise RefusedError(f"No plugin has privileged jobs of the type {job_type}")


def check_input(job: JobType, input: Mapping[str, Any]) -> None:
    """Check the input of a privileged job once more.

    :raises RefusedError: it is another than the job type says.
    """
    if job.input is None:
        if input:
            raise RefusedError(f"Jobs of the type {job.name} take no input: their JobType has no `input` for it")
        return
    try:
        job.input(input)
    except vol.Invalid as error:
        raise RefusedError(explain(error, "The job's input")) from error


def _check_descriptors(received: Received) -> None:
    """Check that what was received is a lock and what is written to."""
    kinds = [os.fstat(each).st_mode for each in received.descriptors[1:]]
    if not all(stat.S_ISREG(each) or stat.S_ISFIFO(each) or stat.S_ISCHR(each) for each in kinds):
        raise RefusedError("The output of a job goes to a file")


@contextmanager
def _room_spared_by(job: JobType) -> Iterator[None]:
    """On a full disk let a job go on that makes room, such as a restart of the system, as nothing of this is for it."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL or not job.makes_room:
            raise


def _lock(order: Order) -> None:
    """Let nobody run a job of the type beside it, nor put right what a job that lives has half done."""
    if not order.dry_run:
        with privileges.raised():
            locks.take(STATE / f"{order.record.type}.lock", tries=100)  # until the end of this process


def _make_workspace(order: Order) -> None:
    with privileges.raised():
        order.appliance.finish()
        directory = STATE / "runs" / order.record.id
        leftovers.remove(directory)
        directory.mkdir(parents=True)
        if not (order.dry_run or order.recovering) and order.reverting is None:
            for ended in STATE.glob(f"*-{order.record.type}.state"):  # of trials that this run takes the place of
                ended.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:3])
