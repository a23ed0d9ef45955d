"""Owners are true, or the backup fails and the restore is refused: in a user namespace that lacks most of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from backupkit import back_up, kept, listing, tree, write
from places import ROOT

from jidoteki.core.appliance import Appliance

NAMESPACE = ("unshare", "--user", "--map-root-user")
#: Runs a statement with the appliance `made`, and prints why it fails.
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from backupkit import Job, back_up, restore
from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError
made = Appliance(Path({root!r}), Path({root!r}) / "admin")
job = Job(made, Path({archive!r}))
try:
    {statement}
except JobError as error:
    print(error.message)
"""


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    """One with files of root and of a user whom the namespace lacks."""
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    listing(made, "app")
    write(made.data / "app/roots")
    subprocess.run(["chown", "1234:1234", write(made.data / "app/others")], check=True)
    return made


@pytest.fixture(autouse=True)
def _has_namespaces() -> None:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root, and user namespaces")


def in_namespace(appliance: Appliance, statement: str, archive: Path = Path("none")) -> str:
    program = PROGRAM.format(
        tests=str(ROOT / "tests"), root=str(appliance.root), archive=str(archive), statement=statement
    )
    done = subprocess.run([*NAMESPACE, sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout


def test_what_belongs_to_nobody_who_can_be_seen_makes_a_backup_fail(appliance: Appliance) -> None:
    said = in_namespace(appliance, "back_up(made)")

    assert "1 of what backup.txt lists cannot be packed: 'app/others'" in said


def test_what_belongs_to_nobody_is_packed_where_all_are_seen(appliance: Appliance) -> None:
    subprocess.run(["chown", "65534:65534", appliance.data / "app/others"], check=True)

    assert "Backup complete" in back_up(appliance)


@pytest.mark.parametrize("link", [False, True])
def test_a_restore_that_cannot_keep_owners_is_refused_before_anything_changes(
    appliance: Appliance, tmp_path: Path, link: bool
) -> None:
    if link:
        (appliance.data / "app/others").unlink()
        (appliance.data / "app/others").symlink_to("roots")
        subprocess.run(["chown", "-h", "1234:1234", appliance.data / "app/others"], check=True)
    archive = kept(appliance, tmp_path)
    write(appliance.data / "app/roots", "newer")
    before = tree(appliance.data)

    said = in_namespace(appliance, "restore(job)", archive)

    assert "'app/others' belongs to 1234:1234, which cannot be set here" in said
    assert tree(appliance.data) == before


def test_a_restore_goes_on_without_owners_where_that_is_allowed(appliance: Appliance, tmp_path: Path) -> None:
    archive = kept(appliance, tmp_path)
    (appliance.data / "app/others").unlink()

    said = in_namespace(appliance, 'job.config = {"allow-other-owners": True}; restore(job)', archive)

    assert said == ""
    assert (appliance.data / "app/others").stat().st_uid == 0
