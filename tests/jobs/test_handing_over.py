"""Handing a job over to the process that systemd started for it, and what that process looks at."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest
import voluptuous as vol

from jidoteki.core.jobs import handover
from jidoteki.core.jobs.handover import Listener, Received, RefusedError
from jidoteki.core.jobs.order import MAX_SIZE
from jidoteki.hookspecs import rooted
from jidoteki.hookspecs.conf import is_literal, shell_conf
from jidoteki.plugins.settings.validators import INPUT


def received(directory: Path, answer: str | None) -> tuple[threading.Thread, list[Received | OSError]]:
    """Receive an order in a thread, and answer that the job begins, or why not."""
    found: list[Received | OSError] = []

    def receive() -> None:
        try:
            got = handover.receive(directory)
        except OSError as error:
            found.append(error)
        else:
            found.append(got)
            got.begin() if answer is None else got.refuse(answer)

    thread = threading.Thread(target=receive)
    thread.start()
    return thread, found


def test_an_order_arrives_with_its_descriptors(tmp_path: Path) -> None:
    order, (reading, writing) = os.urandom(3_000_000), os.pipe()
    with Listener(tmp_path) as listener:
        thread, found = received(tmp_path, None)
        pid = listener.hand_over(order, (0, writing, 2))
    thread.join()

    (got,) = found
    assert isinstance(got, Received)
    assert (pid, got.order) == (os.getpid(), order)
    os.write(got.descriptors[1], b"said")
    assert os.read(reading, 10) == b"said"
    assert list(tmp_path.iterdir()) == []
    for each in (*got.descriptors, reading, writing):
        os.close(each)


def test_a_refusal_says_why(tmp_path: Path) -> None:
    with Listener(tmp_path) as listener:
        thread, _ = received(tmp_path, "It is not on the list")
        with pytest.raises(RefusedError, match="^It is not on the list$"):
            listener.hand_over(b"{}", (0, 1, 2))
    thread.join()


def test_an_order_that_is_too_long_is_not_taken(tmp_path: Path) -> None:
    with Listener(tmp_path) as listener:
        thread, found = received(tmp_path, None)
        with pytest.raises(OSError):  # noqa: PT011  # whichever end is told first
            listener.hand_over(bytes(MAX_SIZE + 1), (0, 1, 2))
    thread.join()

    assert isinstance(found[0], OSError)


def test_a_process_that_dies_on_its_way_is_not_waited_for(tmp_path: Path) -> None:
    with Listener(tmp_path) as listener, pytest.raises(RefusedError, match="^no process came for it$"):
        listener.hand_over(b"{}", (0, 1, 2), lambda: False)


def test_a_slow_process_is_waited_for_as_long_as_it_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(handover, "LOOK_EACH", 0.01)
    looks, come = [], threading.Event()
    with Listener(tmp_path) as listener:

        def lives() -> bool:
            looks.append(1)
            if len(looks) == 5 and not come.is_set():
                come.set()
                threads.append(received(tmp_path, None)[0])
            return True

        threads: list[threading.Thread] = []
        assert listener.hand_over(b"{}", (0, 1, 2), lives) == os.getpid()
    threads[0].join()
    assert len(looks) >= 5


@pytest.mark.parametrize("descriptors", [(), (0,), (0, 1)])
def test_an_order_without_its_descriptors_is_not_taken(tmp_path: Path, descriptors: tuple[int, ...]) -> None:
    with Listener(tmp_path) as listener:
        thread, found = received(tmp_path, None)
        with pytest.raises(RefusedError):
            listener.hand_over(b"{}", descriptors)
    thread.join()

    assert isinstance(found[0], OSError)


@pytest.mark.parametrize("answer", [b"", b"begins ", b"begins 1 2", b"begins -1", b"begins \xd9\xa1"])
def test_nothing_else_is_taken_for_a_begin(tmp_path: Path, answer: bytes) -> None:
    def reply() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / handover.NAME))
            connection.sendall(answer)

    with Listener(tmp_path) as listener:
        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(OSError):  # noqa: PT011  # it may be gone already
            listener.hand_over(b"{}", (0, 1, 2))
    thread.join()


def test_root_alone_decides_about_its_programs() -> None:
    rooted.require(Path("/bin/sh"))


def test_a_path_that_others_may_change_is_named(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch(mode=0o755)
    refused = r"^Somebody else than root owns /\S* or may write to it$"
    with pytest.raises(rooted.NotRootedError, match=refused) as caught:
        rooted.require(program)

    assert caught.value.part in (program, *program.parents)


LITERAL = (
    "",
    "# a comment\n\n",
    "mode=static\nip=192.0.2.7\n",
    'dns="192.0.2.1 192.0.2.2"\n',
    "name='with $(blanks)'\n",
    shell_conf({"password": 'a"$`\\x!;&|', "empty": ""}),
)
MORE = (
    "PATH=/tmp\n",
    "id\n",
    "a=$(id)\n",
    'a="$(id)"\n',
    'a="`id`"\n',
    "a=1 id\n",
    "a=1;id\n",
    'a="x"y\n',
    'a="x\n',
    "a='x\n",
    "a=~\n",
    "a=1\\\nid\n",
    ". /tmp/x\n",
    'a="\\\nx"\n',
    "a=1\0\n",
    "export a=1\n",
)


@pytest.mark.parametrize("text", LITERAL)
def test_plain_assignments_are_literal(text: str) -> None:
    assert is_literal(text.encode())


@pytest.mark.parametrize("text", MORE)
def test_whatever_does_more_is_not(text: str) -> None:
    assert not is_literal(text.encode())


@pytest.mark.parametrize("text", [text for text in LITERAL if text])
def test_a_shell_only_sets_variables(text: str, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text(text)

    done = subprocess.run(
        ["sh", "-euc", ". ./conf; ls"], cwd=tmp_path, capture_output=True, text=True, check=True, env={"PATH": "/bin"}
    )

    assert (done.stdout, done.stderr) == ("conf\n", "")


NETWORK = {"interface": "eth0", "hostname": "box", "mode": "dhcp"}


def test_settings_as_the_service_gives_them_are_taken_again() -> None:
    INPUT({"network": NETWORK, "app": {"any": ["thing"]}, "warnings": ["one"]})


@pytest.mark.parametrize(
    "given",
    [
        {"network": {**NETWORK, "mode": "static"}},
        {"network": {**NETWORK, "mode": "dhcp; id"}},
        {"other": 1},
        {"app": 1},
    ],
)
def test_other_settings_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(vol.Invalid):
        INPUT(given)
