"""What jobs start is not spared when the memory is full, as the service is."""

from __future__ import annotations

from pathlib import Path

import pytest

from jidoteki.core.jobs import priority


@pytest.mark.parametrize(("before", "after"), [("-500\n", "0"), ("0\n", "0\n"), ("300\n", "300\n")])
def test_jobs_have_the_usual_score(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str, after: str) -> None:
    score = tmp_path / "oom_score_adj"
    score.write_text(before)
    monkeypatch.setattr(priority, "OOM_SCORE", score)

    priority._give_up_memory()

    assert score.read_text() == after


def test_a_kernel_without_it_is_no_hindrance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(priority, "OOM_SCORE", tmp_path / "none")

    priority._give_up_memory()
