"""The throttle: after a wrong guess, an address waits for its turn, and nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from jidoteki.core.auth import throttle
from jidoteki.core.auth.throttle import ClientGoneError, Throttle, TooManyGuessesError

GUESSER, OTHER = "192.0.2.1", "192.0.2.2"
PAUSE = 1.0


class Clock:
    """The time of an event loop that sleeps without waiting."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert len(self.slept) < 200, "it waits without end"
        self.slept.append(seconds)
        # As a timer does, which never comes early.
        self.now += seconds or 0.001
        await REAL_SLEEP(0)


REAL_SLEEP: Callable[[float], Awaitable[None]] = asyncio.sleep


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", made.time)
    monkeypatch.setattr(asyncio, "sleep", made.sleep)
    return made


def one(pause: float = PAUSE) -> Throttle:
    return Throttle(lambda: pause)


def still_there() -> bool:
    return False


async def passed(throttling: Throttle, address: str = GUESSER, gone: Callable[[], bool] = still_there) -> float:
    """When the request of an address got its turn."""
    async with throttling.turn(address, gone):
        return asyncio.get_running_loop().time()


async def test_who_has_guessed_nothing_wrong_is_heard_at_once(clock: Clock) -> None:
    throttling = one()

    assert throttling.is_free(GUESSER)
    assert await passed(throttling) == 1000.0
    assert clock.slept == []


async def test_so_is_everybody_right_after_the_machine_was_started(clock: Clock) -> None:
    clock.now = 0.0

    assert await passed(one()) == 0.0


async def test_after_a_wrong_guess_the_address_and_no_other_waits_for_the_pause(clock: Clock) -> None:
    throttling = one()
    throttling.failed(GUESSER)

    assert not throttling.is_free(GUESSER)
    assert throttling.is_free(OTHER)
    assert await passed(throttling, OTHER) == 1000.0
    assert await passed(throttling) == 1000.0 + PAUSE


async def test_the_pause_ends_at_its_end_and_not_before(clock: Clock) -> None:
    throttling = one()
    throttling.failed(GUESSER)

    clock.now += PAUSE - 0.001
    assert not throttling.is_free(GUESSER)
    clock.now = 1000.0 + PAUSE
    assert throttling.is_free(GUESSER)
    assert await passed(throttling) == 1000.0 + PAUSE


async def test_each_wrong_guess_begins_a_pause_of_its_own(clock: Clock) -> None:
    throttling = one()
    for number in range(3):
        assert await passed(throttling) == 1000.0 + number * PAUSE
        throttling.failed(GUESSER)


async def test_who_waits_is_looked_after_each_quarter_of_a_second_and_at_the_end_of_the_pause(clock: Clock) -> None:
    throttling = one(0.6)
    throttling.failed(GUESSER)

    await passed(throttling)

    assert clock.slept == pytest.approx([0.25, 0.25, 0.1])


async def test_all_addresses_of_a_network_take_turns_together(clock: Clock) -> None:
    throttling = one()
    throttling.failed("2001:db8::1")

    assert not throttling.is_free("2001:db8::ffff")
    assert throttling.is_free("2001:db8:0:1::1")
    assert await passed(throttling, "2001:db8::2") == 1000.0 + PAUSE


async def test_requests_that_wait_are_heard_one_after_the_other_in_their_order(clock: Clock) -> None:
    throttling = one()
    throttling.failed(GUESSER)
    heard: list[tuple[int, float]] = []

    async def guess(number: int) -> None:
        async with throttling.turn(GUESSER, still_there):
            heard.append((number, clock.now))
            throttling.failed(GUESSER)

    await asyncio.gather(*map(guess, range(4)))

    assert [number for number, _ in heard] == [0, 1, 2, 3]
    assert all(later - earlier >= PAUSE for (_, earlier), (_, later) in zip(heard, heard[1:], strict=False))


async def test_who_waits_behind_others_looks_each_quarter_of_a_second_whether_the_turn_came(clock: Clock) -> None:
    throttling = one()
    throttling.failed(GUESSER)
    clock.now += PAUSE
    async with throttling.turn(GUESSER, still_there):
        second = asyncio.ensure_future(passed(throttling))
        await REAL_SLEEP(0)
        await REAL_SLEEP(0)
        assert not throttling.is_free(GUESSER)
        assert not second.done()
    assert await second < 1000.0 + PAUSE + 2
    assert set(clock.slept) == {0.25}
    assert throttling.is_free(GUESSER)


async def test_of_one_address_sixteen_requests_wait_and_no_more(clock: Clock) -> None:
    throttling = one()
    throttling.failed(GUESSER)
    waiting = [asyncio.ensure_future(passed(throttling)) for _ in range(16)]
    await REAL_SLEEP(0)

    with pytest.raises(TooManyGuessesError):
        await passed(throttling)
    assert await passed(throttling, OTHER)
    await asyncio.gather(*waiting)
    assert await passed(throttling)


async def test_who_hung_up_waits_no_longer_and_keeps_nobody_waiting(clock: Clock) -> None:
    throttling = one()
    throttling.failed(GUESSER)

    with pytest.raises(ClientGoneError):
        await passed(throttling, gone=lambda: True)
    assert clock.slept == [0.25]
    assert await passed(throttling) == 1000.0 + PAUSE


async def test_a_request_that_fails_in_its_turn_leaves_its_place(clock: Clock) -> None:
    throttling = one()
    throttling.failed(GUESSER)

    with pytest.raises(KeyError):
        async with throttling.turn(GUESSER, still_there):
            raise KeyError
    assert throttling.is_free(GUESSER)


@pytest.mark.parametrize(("pause", "seconds"), [(0.0, 1), (0.5, 1), (1.0, 2), (2.9, 3)])
async def test_who_is_sent_away_is_told_whole_seconds_after_which_the_pause_is_over(pause: float, seconds: int) -> None:
    assert one(pause).retry_after == seconds


async def test_what_is_over_is_forgotten_and_what_is_not_is_kept(clock: Clock) -> None:
    throttling = one()
    throttling.failed(GUESSER)
    clock.now += PAUSE
    throttling.failed(OTHER)

    assert list(throttling._turns) == [OTHER]
    clock.now += PAUSE - 0.001
    throttling.failed("192.0.2.3")
    assert list(throttling._turns) == [OTHER, "192.0.2.3"]


async def test_an_address_whose_requests_still_wait_is_not_forgotten(clock: Clock) -> None:
    throttling = one()
    throttling.failed(GUESSER)
    clock.now += PAUSE
    async with throttling.turn(GUESSER, still_there):
        throttling.failed(OTHER)
        assert GUESSER in throttling._turns


async def test_an_address_that_guesses_again_is_the_last_to_be_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MAX_ADDRESSES", 2)
    throttling = one()

    for address in (GUESSER, OTHER):
        throttling.failed(address)
    assert list(throttling._turns) == [GUESSER, OTHER]
    for address in (GUESSER, "192.0.2.3"):
        throttling.failed(address)

    assert list(throttling._turns) == [GUESSER, "192.0.2.3"]


def test_ten_thousand_addresses_are_remembered() -> None:
    assert throttle.MAX_ADDRESSES == 10_000
