"""`GET /health/history`: the recorded figures, also after a power cut or a jump of the clock."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from documented import document_of, undocumented

from jidoteki.plugins.history import FILE
from jidoteki.plugins.history.measuring import Meter
from jidoteki.plugins.history.recorder import Recorder
from jidoteki.plugins.history.series import COLUMNS, SERIES, Values
from jidoteki.plugins.history.store import Store
from jidoteki.testing import MakeClient, MakeHost, wait_until

NOW = 1_800_000_000.0
DAY = 86400.0


class CountingStore(Store):
    def __init__(self, clocks: Clocks) -> None:
        super().__init__(clocks.path)
        self._clocks = clocks

    def write(self, points: Mapping[int, Values], forget_after: float | None = None) -> None:
        self._clocks.writes += 1
        super().write(points, forget_after)


class Clocks:
    """A recorder with its clocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall, self.running = NOW, 50_000.0
        self.value = 1.0
        self.writes = 0
        self.recorder = self.started()

    def started(self) -> Recorder:
        return Recorder(CountingStore(self), self.measure, lambda: self.wall, lambda: self.running)

    def measure(self) -> Values:
        return (self.value, 50.0, 60.0, None, 1000.0)

    def go(self, seconds: float, each: float = 15.0) -> None:
        for _ in range(int(seconds / each)):
            self.wall += each
            self.running += each
            self.recorder.step()

    def shown(self, name: str, column: str = "load") -> dict[int, float]:
        columns = self.recorder.columns(SERIES[name])
        assert len({len(each) for each in columns.values()}) == 1 and len(columns["time"]) == SERIES[name].count <= 400
        times = columns["time"]
        assert times == sorted(set(times)) and times[-1] <= self.wall
        return {moment: value for moment, value in zip(times, columns[column], strict=True) if value is not None}


@pytest.fixture
def clocks(tmp_path: Path) -> Clocks:
    return Clocks(tmp_path / FILE)


def test_it_is_served_where_history_is_enabled(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=["history"])

    wait_until(lambda: any(host.request("GET", "/health/history", {"range": "1h"}).json["columns"]["memory"]))
    for name in SERIES:
        answer = host.get("/health/history", query=f"range={name}")
        assert answer.json["range"] == name and list(answer.json["columns"]) == ["time", *COLUMNS]
        assert undocumented(document_of(host), "GET", "/api/v1/admin/health/history", answer) is None
    latest = {each: values[-1] for each, values in host.get("/health/history").json["columns"].items()}
    assert abs(latest["time"] - time.time()) <= 300
    assert latest["load"] >= 0 and 0 < latest["memory"] <= 100 and 0 < latest["disk"] <= 100
    assert host.get("/health/history", query="range=2d").status == 400
    assert host.get("/health").status == 200
    assert not (host.appliance.jobs / FILE).exists()


async def test_it_is_not_served_where_it_is_not_enabled(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(endpoints=["jobs", "health"], plugins={"dashboard": {"enabled": False}})

    assert (await client.get("/health/history")).status == 404
    assert (await client.get("/health")).status == 200


def test_there_is_one_write_in_five_minutes_and_nothing_is_written_by_reading(clocks: Clocks) -> None:
    clocks.go(3600)

    assert clocks.writes == 12
    before = clocks.path.stat().st_mtime_ns
    for name in SERIES:
        clocks.shown(name)
    assert clocks.path.stat().st_mtime_ns == before


def test_coarser_series_are_means_over_restarts(clocks: Clocks) -> None:
    clocks.wall = NOW // 7200 * 7200
    for value in (1.0, 3.0, 5.0, 7.0):
        clocks.value = value
        clocks.go(1800)
        clocks.recorder = clocks.started()  # unsaved points are lost
    clocks.go(600)

    assert {round(each) for each in clocks.shown("1d").values()} == {1, 3, 5, 7}
    begin = int(NOW // 7200 * 7200)
    assert clocks.shown("1w")[begin + 1800] == pytest.approx(3.0, abs=0.4)
    assert clocks.shown("1m")[begin] == pytest.approx(4.0, abs=0.2)
    assert list(clocks.shown("1y").values()) == [pytest.approx(4.25, abs=0.1)]
    assert clocks.shown("1h", "received") == {}
    assert set(clocks.shown("1m", "sent").values()) == {1000.0}


def test_a_year_has_a_fixed_size(clocks: Clocks) -> None:
    sizes = []
    for number in range(1300):
        clocks.value = random.random()
        clocks.go(7 * 3600, each=7 * 3600)
        if number in (1060, 1299):
            sizes.append(sum(each.stat().st_size for each in clocks.path.parent.iterdir()))
    for _ in range(3):
        clocks.go(3600)
        sizes.append(sum(each.stat().st_size for each in clocks.path.parent.iterdir()))

    assert max(sizes) <= 512 * 1024, sizes
    assert len(clocks.shown("1y")) == 366
    with sqlite3.connect(clocks.path) as database:
        (count,) = database.execute("SELECT count(*) FROM points").fetchone()
    assert count <= sum(series.slots for series in SERIES.values())


def test_it_is_whole_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / FILE
    code = (
        "import sys; from pathlib import Path; from jidoteki.plugins.history.store import Store\n"
        "store, n = Store(Path(sys.argv[1])), 1800000000\n"
        "print(flush=True)\n"
        "while True: store.write({n: (1.0,) * 5, n + 15: (1.0,) * 5}); n += 30\n"
    )
    for _ in range(8):
        child = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
        assert child.stdout and child.stdout.readline()
        time.sleep(random.uniform(0.02, 0.3))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        points = Store(path).read(SERIES["1h"], 1800000000, 1900000000)
        assert points and set(points.values()) == {(1.0,) * 5}
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_gives_way_to_a_new_one(clocks: Clocks, content: bytes) -> None:
    clocks.path.write_bytes(content)
    clocks.go(900)

    assert len(clocks.shown("1h")) >= 20
    assert clocks.recorder._store.read(SERIES["1h"], 0, 2**40)


@pytest.mark.parametrize("kind", ["link", "directory", "pipe"])
def test_what_somebody_else_put_there_does_no_harm(clocks: Clocks, kind: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    if kind == "link":
        clocks.path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(clocks.path)
    else:
        clocks.path.mkdir()

    clocks.go(900)

    assert len(clocks.shown("1h")) >= 20
    assert target.read_text() == "precious"


def test_a_full_disk_loses_what_is_oldest_and_goes_on(clocks: Clocks) -> None:
    clocks.path.parent.joinpath("gone").mkdir()
    clocks.recorder._store = Store(clocks.path.parent / "missing" / FILE)
    clocks.go(5 * 3600)

    assert len(clocks.recorder._pending) <= 4 * 240 + 20
    assert len(clocks.shown("1h")) == 240


def test_a_clock_that_is_set_back_shows_nothing_of_the_future_and_what_never_was_is_forgotten(clocks: Clocks) -> None:
    clocks.go(3600)
    clocks.wall += 30 * DAY  # a mistake
    clocks.value = 9.0
    clocks.go(1200)
    clocks.wall -= 30 * DAY
    clocks.value = 2.0

    clocks.go(300)
    for name in SERIES:
        assert 9.0 not in clocks.shown(name).values()
    clocks.go(2 * 3600)
    clocks.wall += 30 * DAY
    assert not any(9.0 in clocks.shown(name).values() for name in SERIES)


def test_a_clock_that_is_set_back_for_a_moment_loses_little(clocks: Clocks) -> None:
    clocks.wall -= DAY
    clocks.go(DAY, each=150)
    before = clocks.shown("1w")
    clocks.wall -= 20 * DAY
    clocks.go(600)
    clocks.wall += 20 * DAY
    clocks.go(600)

    after = clocks.shown("1w")
    assert len(after) >= len(before) - 2


def test_what_was_measured_just_before_a_jump_is_given_up(clocks: Clocks) -> None:
    clocks.value = 9.0
    clocks.go(120)
    clocks.wall += 3600
    clocks.value = 1.0
    clocks.go(120)

    assert set(clocks.shown("1h").values()) == {1.0}


def test_nothing_is_recorded_while_the_clock_is_not_set(clocks: Clocks) -> None:
    clocks.wall = 60.0
    clocks.go(1200)

    assert not clocks.path.exists() and clocks.shown("1h") == {}


def test_a_clock_that_is_corrected_little_by_little_is_no_jump(clocks: Clocks) -> None:
    for _ in range(40):
        clocks.wall -= 1.0
        clocks.go(15)

    assert len(clocks.shown("1h")) >= 36


def test_networks_whose_counters_begin_anew_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = iter([(0.0, 100, 100), (10.0, 1100, 600), (20.0, 50, 50), (20.0, 60, 60), (30.0, 160, 70)])
    monkeypatch.setattr("jidoteki.plugins.history.measuring._counters", lambda: next(counted))
    meter = Meter(tmp_path)

    assert [meter.measure()[3:] for _ in range(5)] == [
        (None, None), (100.0, 50.0), (None, None), (None, None), (10.0, 1.0)
    ]  # fmt: skip
