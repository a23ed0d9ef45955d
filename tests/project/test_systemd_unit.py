"""The units for systemd that ship with the product."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

ETC = ROOT / "etc"

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd rates the unit")


def exposure(unit: Path) -> float:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.rpartition(": ")[2].split()[0])


def test_unit_is_rated_well(tmp_path: Path) -> None:
    unit = tmp_path / "jidoteki-admin-api.service"
    shutil.copy(ETC / unit.name, unit)

    assert exposure(unit) <= 2.0


def test_drop_in_for_root_is_rated_as_the_documentation_says(tmp_path: Path) -> None:
    unit = tmp_path / "jidoteki-admin-api.service"
    unit.write_text((ETC / unit.name).read_text() + (ETC / "jidoteki-admin-api-root.conf").read_text())

    rating = exposure(unit)

    assert f"rated {rating:.1f}." in (ETC.parent / "docs/threat-model.md").read_text()


def test_units_are_understood(tmp_path: Path) -> None:
    unit = tmp_path / "jidoteki-admin-api.service"
    unit.write_text((ETC / unit.name).read_text().replace("/usr/local/bin/jidoteki", "/bin/true"))
    drop_in = tmp_path / "jidoteki-admin-api.service.d/root.conf"
    drop_in.parent.mkdir()
    shutil.copy(ETC / "jidoteki-admin-api-root.conf", drop_in)

    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)

    assert [line for line in done.stderr.splitlines() if "jidoteki" in line] == []
