"""The test kit for plugin authors: a temporary appliance and a running host, as pytest fixtures.

Installed with the distribution; pytest finds the fixtures by itself (see `jidoteki.testing.fixtures`).
"""

from jidoteki.testing.fakes import FakeJob, FakeRequest
from jidoteki.testing.fixtures import MakeAppliance, MakeHost
from jidoteki.testing.host import Answer, Host, wait_until

__all__ = ["Answer", "FakeJob", "FakeRequest", "Host", "MakeAppliance", "MakeHost", "wait_until"]
