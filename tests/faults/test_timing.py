"""Timing of a wrong token against a nearly right one: no difference that tells anything."""

from __future__ import annotations

import random
import statistics
import time

import pytest
from faultkit import LONG, Scaled, Tally

from jidoteki.core.auth.authentication import Authenticator
from jidoteki.core.auth.credentials import Credential
from jidoteki.testing.fixtures import TOKEN, MakeAppliance

GUESSES = {
    "wrong from the first letter": "X" + TOKEN[1:],
    "wrong in the last letter": TOKEN[:-1] + "X",
}


def samples(authenticator: Authenticator, number: int) -> dict[str, list[int]]:
    """Nanoseconds of each judgement, the guesses in an order drawn by lot."""
    taken: dict[str, list[int]] = {name: [] for name in GUESSES}
    credentials = {name: Credential("token", guess.encode()) for name, guess in GUESSES.items()}
    order = list(GUESSES) * number
    random.Random(4711).shuffle(order)
    for name in order:
        began = time.perf_counter_ns()
        accepted = authenticator.authenticate("GET", "/version", credentials[name])
        ended = time.perf_counter_ns()  # before `taken` is looked at, which takes longer for one name than for another
        taken[name].append(ended - began)
        assert accepted is None
    return taken


def t_statistic(one: list[int], other: list[int]) -> float:
    """Welch's t of the samples without the slowest tenth, which is noise of the machine."""
    kept = [sorted(each)[: len(each) * 9 // 10] for each in (one, other)]
    means = [statistics.fmean(each) for each in kept]
    errors = [statistics.variance(each) / len(each) for each in kept]
    return float((means[0] - means[1]) / max(1e-9, sum(errors)) ** 0.5)


@pytest.mark.timeout(300)
async def test_a_nearly_right_token_takes_as_long_as_a_wrong_one(
    jidoteki_appliance: MakeAppliance, tally: Tally, scaled: Scaled
) -> None:
    authenticator = Authenticator(jidoteki_appliance(), first_run=False, words=4)
    samples(authenticator, 500)

    taken = samples(authenticator, scaled(3000, 100_000))

    first, last = (taken[name] for name in GUESSES)
    difference = statistics.median(last) - statistics.median(first)
    tally.cases += len(first) + len(last) - 1
    tally.figure("median difference of a nearly right token", f"{difference:.0f} ns")
    tally.figure("t of its timing", f"{t_statistic(last, first):.1f}")
    # A comparison that ends at the first difference takes some hundred nanoseconds less; a network hides microseconds.
    tally.case(abs(difference) < 200, f"{difference} ns, t {t_statistic(last, first):.1f}, long {LONG}")
    assert tally.failed == []
