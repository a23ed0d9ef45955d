"""The `preflight.sh` of a package: the look before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Vendor

from jidoteki.core.appliance import Appliance
from jidoteki.core.endpoints.update import UPDATE
from jidoteki.hookspecs import JobError

NewJob = Callable[..., Any]
Drop = Callable[..., Path]

UPDATES = {"version.txt": "1.1.0\n", "update.sh": '#!/bin/sh\ntouch "$JIDO_ADMIN_PATH/ran"\n'}


@pytest.fixture
def prepared(new_job: NewJob, drop: Drop, vendor: Vendor, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that makes the job of a package with a `preflight.sh`."""

    def make(preflight: str, dry_run: bool = False) -> Any:
        job = new_job(drop(vendor.package(tmp_path / "made", {**UPDATES, "preflight.sh": preflight})))
        job.dry_run = dry_run
        return job

    return make


def install(job: Any) -> None:
    assert UPDATE.check
    UPDATE.check(job)
    if not job.dry_run:
        UPDATE.run(job)


def test_it_looks_before_the_update(prepared: Any, appliance: Appliance) -> None:
    job = prepared('echo from $JIDO_FORMER_VERSION to $JIDO_NEW_VERSION in $(pwd); [ ! -e "$JIDO_ADMIN_PATH/ran" ]\n')

    install(job)

    assert f"from 1.0.0 to 1.1.0 in {job.workspace}/package" in job.lines
    assert (appliance.admin / "ran").exists()
    assert (appliance.etc / "version.txt").read_text() == "1.1.0\n"


@pytest.mark.parametrize("dry_run", [True, False])
def test_its_failure_refuses_the_package(prepared: Any, appliance: Appliance, dry_run: bool) -> None:
    job = prepared("echo looking; echo The disk is too slow.; exit 3\n", dry_run)

    with pytest.raises(JobError) as caught:
        install(job)

    assert caught.value.code == "E2002"
    assert caught.value.message == ("preflight.sh failed with exit status 3: The disk is too slow. Nothing was changed")
    assert not (appliance.admin / "ran").exists()
    assert (appliance.etc / "version.txt").read_text() == "1.0.0\n"
    assert list(appliance.tmp.iterdir()) == []


def test_a_dry_run_shows_what_it_prints(prepared: Any, appliance: Appliance) -> None:
    job = prepared("#!/bin/sh\necho all is well\n", dry_run=True)

    install(job)

    assert job.previewed["preflight"] == "all is well\n"
    assert not (appliance.admin / "ran").exists()


def test_no_more_than_64_kib_are_shown(prepared: Any) -> None:
    job = prepared("head -c 200000 /dev/zero | tr '\\0' x; echo end\n", dry_run=True)

    install(job)

    shown = job.previewed["preflight"]
    assert len(shown) == 64 * 1024 and shown.endswith("xend\n")


def test_what_is_no_file_is_a_failure(new_job: NewJob, drop: Drop, vendor: Vendor, tmp_path: Path) -> None:
    job = new_job(drop(vendor.package(tmp_path / "made", {**UPDATES, "preflight.sh/inner": ""})))

    with pytest.raises(JobError, match=r"The package's preflight.sh is not a file. Nothing was changed"):
        install(job)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("changing", "named"),
    [
        ("echo 9.9.9 > version.txt", "version.txt"),
        ("echo exit 0 > update.sh", "update.sh"),
        ("rm update.sh; touch verify.sh", "update.sh, verify.sh"),
        ('rm -r "$PWD"', "version.txt, update.sh"),
    ],
)
def test_a_package_that_it_changed_is_not_installed(
    prepared: Any, appliance: Appliance, dry_run: bool, changing: str, named: str
) -> None:
    job = prepared(f"{changing}\n", dry_run)

    with pytest.raises(JobError) as caught:
        install(job)

    said = f"preflight.sh changed {named} of its own package, which is not installed then. Nothing was changed"
    assert (caught.value.code, caught.value.message) == ("E2002", said)
    assert not (appliance.admin / "ran").exists()
    assert (appliance.etc / "version.txt").read_text() == "1.0.0\n"


def test_it_may_leave_notes_in_the_directory_of_its_package(prepared: Any, appliance: Appliance) -> None:
    install(prepared("chmod +x update.sh; echo 10 > found-disks\n"))

    assert (appliance.admin / "ran").exists()
