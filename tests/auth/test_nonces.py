"""The nonces of signed requests: what is remembered, for how long, and for whom."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jidoteki.core.auth import nonces
from jidoteki.core.auth.nonces import Nonces, TooManyNoncesError
from jidoteki.core.auth.signatures import WINDOW, Signed


def signed(nonce: str, keyid: str = "admin", age: int = 0) -> Signed:
    return Signed(keyid, nonce, int(time.time()) - age, None)


async def test_a_nonce_counts_once_for_each_key(tmp_path: Path) -> None:
    store = Nonces(tmp_path)

    assert [store.use(signed("a")), store.use(signed("a", age=100)), store.use(signed("a", "robot"))] == [
        True,
        False,
        True,
    ]


async def test_what_was_kept_is_known_after_a_restart(tmp_path: Path) -> None:
    store = Nonces(tmp_path)
    for each in (signed("a"), signed("b", age=WINDOW - 5), signed("c", age=-WINDOW), signed("d", "robot")):
        assert store.use(each)
        await store.keep(each)

    again = Nonces(tmp_path)

    assert not any(again.use(each) for each in (signed("a"), signed("b"), signed("c"), signed("d", "robot")))
    assert again.use(signed("d"))


async def test_one_key_cannot_use_up_what_others_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonces, "MAX_OF_A_TOKEN", 3)
    store = Nonces(tmp_path)

    for number in range(3):
        assert store.use(signed(f"n{number}", "robot"))
    with pytest.raises(TooManyNoncesError):
        store.use(signed("n3", "robot"))

    assert store.use(signed("n3", "other"))
    assert store.use(signed("n3"))


async def test_what_can_be_sent_no_more_is_forgotten_here_and_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Nonces(tmp_path)
    first = signed("a")
    store.use(first)
    await store.keep(first)
    now = time.time()

    monkeypatch.setattr(time, "time", lambda: now + 2 * WINDOW)
    store.use(Signed("admin", "b", int(now) + 2 * WINDOW, None))

    assert list(tmp_path.iterdir()) == []
    assert len(store._seen) == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"admin zz\n", b"admin " + b"0" * 31 + b"\n", b"x" * 10_000])
async def test_a_damaged_file_is_read_as_far_as_it_makes_sense(tmp_path: Path, content: bytes) -> None:
    slot = (int(time.time()) + WINDOW) // WINDOW
    (tmp_path / f"nonces-{slot}").write_bytes(content)

    store = Nonces(tmp_path)

    assert store.use(signed("a"))


async def test_storing_a_nonce_rewrites_nothing(tmp_path: Path) -> None:
    store = Nonces(tmp_path)
    one, two = signed("a"), signed("b")
    store.use(one)
    await store.keep(one)
    (path,) = tmp_path.iterdir()
    before = path.read_bytes(), path.stat().st_ino

    store.use(two)
    await store.keep(two)

    assert path.read_bytes().startswith(before[0])
    assert path.stat().st_ino == before[1]


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000 * WINDOW
        monkeypatch.setattr(time, "time", lambda: float(self.now))

    def signed(self, nonce: str, age: int = 0, keyid: str = "admin") -> Signed:
        return Signed(keyid, nonce, self.now - age, None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("age", [0, 1, WINDOW - 1, WINDOW, -1, 1 - WINDOW, -WINDOW])
async def test_a_nonce_is_remembered_for_as_long_as_its_signature_counts(
    tmp_path: Path, clock: Clock, age: int
) -> None:
    first = clock.signed("a", age)
    store = Nonces(tmp_path)
    assert store.use(first)
    await store.keep(first)

    # The signature counts until it is older than the window.
    for now in (clock.now, first.created + WINDOW - 1, first.created + WINDOW):
        clock.now = max(now, clock.now)
        assert not store.use(first)
        assert not Nonces(tmp_path).use(first)


@pytest.mark.parametrize("age", [0, WINDOW, -WINDOW])
async def test_and_forgotten_one_window_later_at_the_latest(tmp_path: Path, clock: Clock, age: int) -> None:
    first = clock.signed("a", age)
    store = Nonces(tmp_path)
    store.use(first)
    await store.keep(first)
    (path,) = tmp_path.iterdir()
    clock.now = first.created + 2 * WINDOW + 1

    again = Nonces(tmp_path)
    assert again._seen == {} and not path.exists()
    store.use(clock.signed("b"))
    assert len(store._seen) == 1


async def test_a_file_of_another_time_is_not_read_and_removed(tmp_path: Path, clock: Clock) -> None:
    slot = clock.now // WINDOW
    for number in (slot - 1, slot, slot + 1, slot + 2, slot + 3):
        (tmp_path / f"nonces-{number}").write_text("")
    for name in ("nonces-", "nonces-x", f"nonces-{slot}.old", "nonces-1234567890123", "other"):
        (tmp_path / name).write_text("")

    store = Nonces(tmp_path)

    assert sorted(store._seen) == [slot, slot + 1, slot + 2]
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"nonces-{number}" for number in (slot, slot + 1, slot + 2)),
        *("nonces-", "nonces-x", f"nonces-{slot}.old", "nonces-1234567890123", "other"),
    }


async def test_what_cannot_be_removed_or_read_keeps_nobody_out(tmp_path: Path, clock: Clock) -> None:
    slot = clock.now // WINDOW
    (tmp_path / f"nonces-{slot - 1}").mkdir()
    (tmp_path / f"nonces-{slot}").mkdir()
    store = Nonces(tmp_path)

    assert store.use(clock.signed("a"))
    clock.now += 3 * WINDOW
    assert store.use(clock.signed("b"))
    assert list(store._seen) == [clock.now // WINDOW + 1]


async def test_a_file_is_read_line_by_line_whatever_stands_between(tmp_path: Path, clock: Clock) -> None:
    store = Nonces(tmp_path)
    one, two = clock.signed("a"), clock.signed("b", keyid="robot")
    for each in (one, two):
        await store.keep(each)
    (path,) = tmp_path.iterdir()
    first, second = path.read_bytes().splitlines()
    assert [first.split()[0], second.split()[0]] == [b"admin", b"robot"]
    assert len(first.split()[1]) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"\n".join([b"rubbish", first + b" x", first, b"admin", second]))

    again = Nonces(tmp_path)

    assert not again.use(one) and not again.use(two)
    assert again.use(clock.signed("b"))


async def test_of_a_file_64_mebibytes_are_read(tmp_path: Path, clock: Clock) -> None:
    store = Nonces(tmp_path)
    one = clock.signed("a")
    await store.keep(one)
    (path,) = tmp_path.iterdir()
    os.truncate(path, 64 * 1024 * 1024)

    assert not Nonces(tmp_path).use(one)
    os.truncate(path, 64 * 1024 * 1024 + 1)
    assert Nonces(tmp_path).use(one)


async def test_the_administrators_key_has_ten_times_the_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    assert (nonces.MAX_OF_A_TOKEN, nonces.MAX_OF_ADMINISTRATOR) == (20_000, 200_000)
    monkeypatch.setattr(nonces, "MAX_OF_ADMINISTRATOR", 3)
    monkeypatch.setattr(nonces, "MAX_OF_A_TOKEN", 0)
    store = Nonces(tmp_path)

    for age in (WINDOW, 0, -WINDOW):
        assert store.use(clock.signed(f"n{age}", age))
    with pytest.raises(TooManyNoncesError):
        store.use(clock.signed("more"))
    with pytest.raises(TooManyNoncesError):
        store.use(clock.signed("more", keyid="robot"))
    assert not store.use(clock.signed("n0"))


async def test_what_is_there_is_not_followed_and_not_waited_for(tmp_path: Path, clock: Clock) -> None:
    store = Nonces(tmp_path)
    one = clock.signed("a")
    path = tmp_path / f"nonces-{(clock.now + WINDOW) // WINDOW}"
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        await store.keep(one)
    assert not (tmp_path / "elsewhere").exists()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        await store.keep(one)


async def test_a_nonce_is_on_the_disk_before_anything_is_done(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    store = Nonces(tmp_path)
    before = len(os.listdir("/proc/self/fd"))

    await store.keep(clock.signed("a"))
    await store.keep(clock.signed("b"))

    (path,) = tmp_path.iterdir()
    assert synced == [str(path)] * 2
    assert len(path.read_bytes().splitlines()) == 2
    assert len(os.listdir("/proc/self/fd")) <= before + 1, "none stays open but the event loop's"
