"""The service in an archive, which `python` runs: it serves, but jobs are processes that cannot import it."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from places import ROOT

from jidoteki.testing.fixtures import MakeHost

PARTS = ("client", "core", "etc", "hookspecs", "plugins")
#: The archive stands in front of the environment that the tests run in, which has what it depends on;
#: then comes the command of a service that is installed, whose arguments it gets.
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
del sys.argv[1:5]
from jidoteki.core.cli import main
main()
"""


def make_archive(target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("jidoteki/", "")  # a package without __init__.py is found by the entry of its directory
        for part in PARTS:
            for path in (ROOT / part).rglob("*"):
                if path.is_file() and path.suffix != ".pyc":
                    archive.write(path, f"jidoteki/{path.relative_to(ROOT)}")
    return target


def test_a_job_says_that_an_archive_cannot_start_it(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "service.pyz")
    host = jidoteki_host(start=False)
    host.start(prefix=(sys.executable, "-c", RUN, str(archive)))

    refused = host.post("/backup", "-F", "action=START")

    assert refused.status == 400
    assert str(archive) in refused.json["Error-Message"]
    assert "virtual environment" in refused.json["Error-Message"]
