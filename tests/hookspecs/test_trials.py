"""What a trial's state is while it is decided."""

from __future__ import annotations

from pathlib import Path

import pytest

from jidoteki.hookspecs import trials
from jidoteki.testing.fixtures import MakeAppliance

ID = "000001-settings"


@pytest.mark.parametrize("outcome", ["confirmed", "reverting"])
@pytest.mark.parametrize("looks", [0, 1, 2])
def test_a_trial_that_is_decided_while_its_state_is_read_has_one(
    jidoteki_appliance: MakeAppliance, monkeypatch: pytest.MonkeyPatch, outcome: str, looks: int
) -> None:
    appliance = jidoteki_appliance()
    trials.begin(appliance, ID)
    exists, left = Path.exists, [looks]

    def decided_after(path: Path) -> bool:
        if left[0] == 0:
            (appliance.jobs / f"{ID}.trial").rename(appliance.jobs / f"{ID}.{outcome}")
        left[0] -= 1
        return exists(path)

    monkeypatch.setattr(Path, "exists", decided_after)

    assert trials.state(appliance.jobs, ID) in ("trial", outcome)
