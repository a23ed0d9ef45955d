"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from documented import _comparison, _every_answer_is_documented
from namespaces import mount

from jidoteki.core.appliance import Appliance
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN
from jidoteki.testing.reports import HOSTS

# A busy machine is no failure.
hypothesis.settings.register_profile("jidoteki", deadline=None)
hypothesis.settings.load_profile("jidoteki")


class _OwnMember(tarfile.TarInfo):
    """A member that belongs to whoever runs the tests, unless a test says otherwise: others' are not restored."""

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        self.uid, self.gid = os.geteuid(), os.getegid()


if os.geteuid() != 0:
    tarfile.TarInfo = _OwnMember  # type: ignore[misc]
    tarfile.TarFile.tarinfo = _OwnMember

#: Modules of few tests that take minutes: with the others begun last, one worker would be left to run them alone.
LONG = ("test_fuzz.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, as far as that can be told: long modules, then those of many tests."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name not in LONG, -tests[item.path]))


__all__ = ["_comparison", "_every_answer_is_documented", "jidoteki_module_host", "mount"]


@pytest.fixture(scope="module")
def jidoteki_module_host(
    _jidoteki_template: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Host]:
    """One host for all tests of a module that leave it as it was."""
    root = tmp_path_factory.mktemp("module-host") / "root"
    shutil.copytree(_jidoteki_template, root, symlinks=True)
    appliance = Appliance(root, root / "opt/jidoteki/tinyadmin")
    appliance.replace_file(appliance.etc / "api.token", TOKEN + "\n", mode=0o600)
    host = Host(appliance, TOKEN)
    request.node.stash[HOSTS] = [host]
    host.start()
    yield host
    host.end()
