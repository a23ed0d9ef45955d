"""What a plugin is handed, in this process: a real appliance; what would reconfigure the host is recorded instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobFailed


@dataclass
class FakeJob:
    """A job.

    :param taken_by_a_plugin: whether a plugin puts what is offered into force.
    :param vendor_status: the exit status of the vendor's commands.
    """

    appliance: Appliance
    input: Mapping[str, Any]
    workspace: Path = Path("/nonexistent")
    taken_by_a_plugin: bool = False
    vendor_status: int = 0
    dry_run: bool = False
    settings: Mapping[str, Any] = field(default_factory=lambda: {"limits": {"command": 60.0}})
    lines: list[str] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    percentages: list[int] = field(default_factory=list)

    def progress(self, percentage: int) -> None:
        self.percentages.append(percentage)

    def log(self, message: str) -> None:
        self.lines.append(message)

    def apply(self, name: str, document: dict[str, Any]) -> bool:
        self.calls.append(("apply", name, document))
        return self.taken_by_a_plugin

    def vendor_command(self, name: str, *arguments: str) -> bool:
        self.calls.append(("command", name, *arguments))
        if self.vendor_status:
            raise JobFailed(f"{name} failed with exit status {self.vendor_status}")
        return True


@dataclass
class FakeRequest:
    """A request whose job is shown instead of started.

    :param last: the status of the last job.
    """

    appliance: Appliance | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    last: Mapping[str, Any] = field(default_factory=lambda: {"status": None})

    async def start_job(self, kind: str, **values: Any) -> dict[str, Any]:
        return {"kind": kind, **values}

    async def job_status(self, kind: str) -> Mapping[str, Any]:
        return self.last
