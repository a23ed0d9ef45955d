"""The units for systemd that ship with the product."""

from __future__ import annotations

import re
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


def test_units_are_understood(tmp_path: Path) -> None:
    units = [tmp_path / "jidoteki-admin-api.service", tmp_path / "jidoteki-job@1.service"]
    for unit, source in zip(units, ("jidoteki-admin-api.service", "jidoteki-job@.service"), strict=True):
        programs = re.sub(
            "/usr/local/bin/jidoteki|/opt/jidoteki/venv/bin/python3", "/bin/true", (ETC / source).read_text()
        )
        unit.write_text(programs)

    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)

    assert [line for line in done.stderr.splitlines() if "jidoteki" in line] == []
