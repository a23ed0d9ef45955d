"""What a package says of itself in its `package.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import Vendor

from jidoteki.core.appliance import Appliance
from jidoteki.core.cli import package
from jidoteki.core.endpoints.update import UPDATE
from jidoteki.hookspecs import JobError

NewJob = Callable[..., Any]
Drop = Callable[..., Path]


@pytest.fixture
def checked(new_job: NewJob, drop: Drop, vendor: Vendor, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that checks a package with a description in a dry run, and returns what is shown of it."""

    def check(said: object, product: str | None = None) -> Any:
        work = tmp_path / f"made-{len(list(tmp_path.glob('made-*')))}"
        text = said if isinstance(said, str) else json.dumps(said)
        job = new_job(drop(vendor.package(work, {"version.txt": "1.1.0\n", "package.json": text})))
        job.dry_run = True
        job.host_config["update"]["product"] = product
        assert UPDATE.check
        UPDATE.check(job)
        return job.previewed["package"]

    return check


def refusal(checked: Any, said: object, product: str | None = None) -> tuple[str, str]:
    with pytest.raises(JobError) as caught:
        checked(said, product)
    return caught.value.code, caught.value.message


def test_a_dry_run_shows_it(checked: Any) -> None:
    said = {
        "name": "app", "product": "box", "minimum-version": "1.0", "free-space": 10, "notes": "Read this.",
    }  # fmt: skip

    shown = {**said, "reboot": False, "rollback-reboot": False}
    assert checked({**said, "made-by": ["somebody"]}, "box") == shown


def test_a_package_that_says_nothing_is_taken(checked: Any) -> None:
    nothing = {"name": None, "product": None, "minimum-version": None, "free-space": 0, "notes": None,
               "reboot": False, "rollback-reboot": False}  # fmt: skip

    assert checked({}, "box") == nothing


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("no JSON", "it is no JSON"),
        ([], "it is no JSON object"),
        ({"name": ""}, "name: "),
        ({"minimum-version": 1}, "minimum-version: "),
        ({"minimum-version": "1\n2"}, "minimum-version: must be a version"),
        ({"free-space": True}, "free-space: must be a whole number of bytes"),
        ({"free-space": -1}, "free-space: "),
        ({"reboot": 1}, "reboot: expected bool"),
    ],
)
def test_one_that_makes_no_sense_is_refused(checked: Any, said: object, why: str) -> None:
    code, message = refusal(checked, said)

    assert code == "E1005" and message.startswith(f"The package's package.json is not valid: {why}")


def test_a_package_of_another_product_is_refused(checked: Any) -> None:
    assert refusal(checked, {"product": "other"}, "box") == (
        "E1001",
        "The package is for the product 'other', and this is 'box'",
    )
    assert checked({"product": "other"})["product"] == "other"


@pytest.mark.parametrize(("minimum", "installed"), [("1.0.1", "1.0.0"), ("release-1", "1.0.0"), ("1.0.0", None)])
def test_a_package_for_newer_versions_is_refused(
    checked: Any, appliance: Appliance, minimum: str, installed: str | None
) -> None:
    if installed is None:
        (appliance.etc / "version.txt").unlink()

    code, message = refusal(checked, {"minimum-version": minimum})

    assert code == "E1001" and f"The package needs version {minimum} or newer to come from" in message


def test_a_package_that_needs_more_disk_is_refused(checked: Any) -> None:
    code, message = refusal(checked, {"free-space": 1 << 50})

    assert code == "E1000" and "bytes of free disk" in message


def test_the_command_line_writes_it(checked: Any, vendor: Vendor, tmp_path: Path, drop: Drop, new_job: NewJob) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "package.json").write_text('{"name": "old", "product": "box"}')
    made = tmp_path / "made.enc"
    keys = ["--key", str(vendor.key), "--sign-key", str(vendor.private), "-o", str(made)]
    argv = ["build", str(source), "--version", "1.1.0", *keys, "--name", "new", "--minimum-version", "1.0"]

    said = CliRunner().invoke(package.command, argv)

    assert said.exit_code == 0, said.output
    job = new_job(drop(made.read_bytes()))
    job.dry_run = True
    assert UPDATE.check
    UPDATE.check(job)
    shown = {key: value for key, value in job.previewed["package"].items() if value}
    assert shown == {"name": "new", "product": "box", "minimum-version": "1.0"}

    (source / "package.json").write_text('{"nmae": "old"}')
    refused = CliRunner().invoke(package.command, argv)
    assert refused.exit_code != 0 and "nmae: no such key" in refused.output
