"""Hooks that hang: each costs one thread at most, is told of once, and is called again when it has come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jidoteki.core.plugin_manager.isolation import Calls, PluginTimeoutError, StillRunningError
from jidoteki.core.plugin_manager.manager import PluginError
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

HEAD = """
import os, time
from pathlib import Path
from jidoteki.hookspecs import hookimpl

def note(name):
    with Path({calls!r}, name).open("a") as file:
        file.write("x")

def hang():
    while not Path({calls!r}, "go on").exists():
        time.sleep(0.05)

"""
STUCK = """
@hookimpl
def jidoteki_health(appliance):
    note("health"); hang(); return {"back": True}
@hookimpl
def jidoteki_services(appliance):
    note("services"); hang(); return [("back", True)]
@hookimpl
def jidoteki_event(event):
    note("event"); hang()
"""
GOOD = """
@hookimpl
def jidoteki_health(appliance):
    note("good-health"); return {"fine": True}
@hookimpl
def jidoteki_services(appliance): return [("good", True)]
@hookimpl
def jidoteki_event(event): note("good-event")
"""


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Where the plugins note how often they were called."""
    directory = tmp_path / "calls"
    directory.mkdir()
    return directory


@pytest.fixture
def host(jidoteki_host: MakeHost, tmp_path: Path, calls: Path) -> Host:
    """A host with a plugin that hangs in each hook that is called again and again, and one that does not."""
    for name, code in (("stuck", STUCK), ("good", GOOD)):
        (tmp_path / f"{name}.py").write_text(HEAD.format(calls=str(calls)) + code)
    return jidoteki_host(load=(tmp_path / "stuck.py", tmp_path / "good.py"), health={"refresh": 0.1})


def count(calls: Path, name: str) -> int:
    path = calls / name
    return len(path.read_text()) if path.exists() else 0


def threads(host: Host) -> int:
    assert host.process
    return len(list(Path(f"/proc/{host.process.pid}/task").iterdir()))


def test_a_hundred_refreshes_beside_a_hanging_hook_cost_no_more_threads_than_one(host: Host, calls: Path) -> None:
    host.get("/version", auth="none", source="127.0.0.2")  # an event
    host.get("/services")  # waits for the hanging hook, and gives up on it
    wait_until(lambda: count(calls, "good-health") >= 2, 30)
    given_up = threads(host)

    wait_until(lambda: count(calls, "good-health") >= 102, 60)
    for number in range(3):
        time.sleep(3.1)  # an answer of /services is fresh for three seconds
        host.get("/version", auth="none", source=f"127.0.0.{number + 3}")  # of one client they would be summed up
        assert {"good": "running"} in host.get("/services").json["services"]

    assert threads(host) <= given_up + 2
    assert [count(calls, hook) for hook in ("health", "services", "event")] == [1, 1, 1]
    assert count(calls, "good-event") > 1
    assert host.get("/health").json["good"] == {"fine": True}
    assert host.errors().count("The plugin stuck did not finish within 10 seconds in jidoteki_health") == 1
    assert host.errors().count("The plugin stuck did not finish within 10 seconds in jidoteki_services") == 1


def test_a_hook_that_comes_back_is_called_again(host: Host, calls: Path) -> None:
    wait_until(lambda: count(calls, "good-health") >= 5, 30)

    (calls / "go on").touch()

    wait_until(lambda: host.get("/health").json.get("stuck") == {"back": True})
    wait_until(lambda: "The plugin stuck ended jidoteki_health after" in host.errors())
    wait_until(lambda: {"back": "running"} in host.get("/services").json["services"])
    wait_until(lambda: count(calls, "health") > 5)


def test_reloading_a_plugin_that_hangs_while_it_is_loaded_costs_one_thread(
    jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    (tmp_path / "stuck.py").write_text("import time\ntime.sleep(1000)\n")
    host = jidoteki_host(load=(tmp_path / "stuck.py",), enable=("stuck",))
    before = threads(host)

    for _ in range(10):
        host.reload()

    assert threads(host) <= before + 4
    wait_until(
        lambda: "The plugin stuck is left out: is still at work on an earlier call of its loading" in host.errors()
    )
    assert host.get("/version").status == 200


HEALTH_THAT_IS_NO_JSON = """
@hookimpl
def jidoteki_health(appliance):
    note("odd"); endless = []; endless.append(endless)
    return [{"a": object()}, {"a": float("nan")}, {"a": endless}, {b"a": 1}][len(Path(%r, "odd").read_text()) %% 4]
"""


def test_health_that_is_no_json_is_left_out_and_the_refreshing_goes_on(
    jidoteki_host: MakeHost, tmp_path: Path, calls: Path
) -> None:
    for name, code in (("odd", HEALTH_THAT_IS_NO_JSON % str(calls)), ("good", GOOD)):
        (tmp_path / f"{name}.py").write_text(HEAD.format(calls=str(calls)) + code)
    host = jidoteki_host(load=(tmp_path / "odd.py", tmp_path / "good.py"), health={"refresh": 0.1})

    wait_until(lambda: count(calls, "odd") >= 8)

    health = host.get("/health").json
    assert health["good"] == {"fine": True} and "odd" not in health
    wait_until(lambda: "The plugin odd returned no JSON in jidoteki_health" in host.errors())


def blocked(event: threading.Event) -> Callable[[], bool]:
    return lambda: event.wait(30)


def test_only_the_call_that_hangs_is_left_out() -> None:
    event, calls = threading.Event(), Calls()
    with pytest.raises(PluginTimeoutError):
        calls.within("one", "hook", 0.05, blocked(event))

    with pytest.raises(StillRunningError):
        calls.within("one", "hook", 1, lambda: 1)
    assert calls.within("one", "another", 1, lambda: 2) == 2
    assert calls.within("two", "hook", 1, lambda: 3) == 3

    event.set()
    wait_until(lambda: calls._at_work == {})
    assert calls.within("one", "hook", 1, lambda: 4) == 4


def test_a_call_that_raises_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        calls.within("one", "hook", 1, lambda: 1 // 0)
    with pytest.raises(PluginError, match="SystemExit"):
        calls.within("one", "hook", 1, lambda: exit(3))
    with monkeypatch.context() as none_left:
        none_left.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("can't start")))
        with pytest.raises(PluginError, match="no thread left"):
            calls.within("one", "hook", 1, lambda: 1)

    assert calls.within("one", "hook", 1, lambda: 4) == 4
