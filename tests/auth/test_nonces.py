"""The nonces of signed requests: what is remembered, for how long, and for whom."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jidoteki.core.auth import nonces
from jidoteki.core.auth.nonces import Nonces, TooMany
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
    with pytest.raises(TooMany):
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
