"""The test kit for plugin authors: pytest fixtures for a temporary appliance and its service, and fakes.

It is installed with the distribution; pytest finds the fixtures by itself (see `jidoteki.testing.fixtures`).
"""

from typing import TYPE_CHECKING, Any

from jidoteki.testing.calls import Answer
from jidoteki.testing.fake_job import FakeJob
from jidoteki.testing.fakes import FakeRequest, FakeService
from jidoteki.testing.fixtures import MakeAppliance, MakeClient, MakeHost
from jidoteki.testing.host import Host, wait_until

if TYPE_CHECKING:
    from jidoteki.testing.in_process import InProcessClient

__all__ = [
    "Answer",
    "FakeJob",
    "FakeRequest",
    "FakeService",
    "Host",
    "InProcessClient",
    "MakeAppliance",
    "MakeClient",
    "MakeHost",
    "wait_until",
]


def __getattr__(name: str) -> Any:
    """Import late what needs the whole service: pytest loads this package before any test run."""
    if name == "InProcessClient":
        from jidoteki.testing.in_process import InProcessClient

        return InProcessClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
