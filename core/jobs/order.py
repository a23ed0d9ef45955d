"""The order for the process of a job: a file that the service writes, and only the process reads and removes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jidoteki.core import files
from jidoteki.core.appliance import Appliance
from jidoteki.core.jobs.records import Record, parse, stored
from jidoteki.core.plugin_manager.sources import Source
from jidoteki.hookspecs import paths

MAX_SIZE = 8 * 1024 * 1024
PATHS = ("root", "admin", "workspace")


@dataclass(frozen=True, slots=True)
class Order:
    """The description of one run of a job.

    :param plugins: the required plugins, including its own.
    :param sections: their sections of the configuration, by name, not validated.
    :param host_config: the configuration without the sections of plugins.
    :param input: the values of the request.
    :param workspace: an empty directory for this run.
    :param dry_run: whether only to check the input.
    :param reverting: why only to put back what an earlier process of this run changed; None to run the job.
    :param recovering: whether only to put right what an earlier process of this run left half done.
    :param guarded: a directory that root alone writes to, for a job that root runs; None for the service's own.
    """

    root: Path
    admin: Path
    record: Record
    plugins: list[Source]
    sections: Mapping[str, Any]
    host_config: Mapping[str, Any]
    input: Mapping[str, Any]
    workspace: Path
    dry_run: bool
    reverting: str | None = None
    recovering: bool = False
    guarded: Path | None = None

    @property
    def appliance(self) -> Appliance:
        """The appliance that the job works on."""
        return Appliance(self.root, self.admin, self.host_config["files"]["group"], self.guarded)

    @property
    def directory(self) -> Path:
        """The directory of this run that the service knows."""
        return self.admin / "tmp" / self.record.id

    def write(self, path: Path) -> None:
        """Write the order to a file, and each input of bytes to a file beside it, whose path replaces it.

        :raises OSError: it is too long, or cannot be written.
        """
        fields = dataclasses.asdict(self)
        fields["input"] = {
            name: _as_file(value, path.with_name(f"input-{number}"))
            for number, (name, value) in enumerate(self.input.items())
        }
        fields["record"] = stored(self.record)
        fields |= {name: str(fields[name]) for name in PATHS} | {"guarded": None}
        content = json.dumps(fields).encode()
        if len(content) > MAX_SIZE:
            raise OSError("its input is too long")
        files.replace_file(path, content, 0o600, durable=False)

    @classmethod
    def take(cls, path: Path) -> Order:
        """Read an order from a file and remove the file."""
        fields = json.loads(paths.read_own(path))
        path.unlink()
        fields["record"] = parse(fields["record"])
        fields["plugins"] = [Source(**each) for each in fields["plugins"]]
        fields |= {name: Path(fields[name]) for name in PATHS}
        return cls(**fields)


def _as_file(value: Any, path: Path) -> Any:
    if not isinstance(value, bytes):
        return value
    files.replace_file(path, value, 0o600, durable=False)
    return str(path)
