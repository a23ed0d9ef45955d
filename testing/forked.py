"""Hosts that are forked from a process which has imported the service already: that is most of what a start costs.

Each process that runs tests has one such parent of its hosts; they have its environment, directory and limits.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import resource
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import closing
from importlib import import_module
from typing import IO, Any, Final

MODULES: Final = ("jidoteki.core.cli.serve", "jidoteki.core.service.server")
PACKAGES: Final = ("jidoteki.core.endpoints", "jidoteki.plugins")
COMMAND: Final = (sys.executable, "-c", "from jidoteki.testing.forked import main; main()")
_MAX_MESSAGE: Final = 64 * 1024

_parent: Parent | None = None
#: Threads of a test may start hosts at once: an answer is for the one that asked.
_asking = threading.Lock()


class ForkedProcess:
    """What `subprocess.Popen` is for a process that was started by itself.

    :param end: a pipe that has the exit status once it has ended.
    """

    def __init__(self, argv: list[str], pid: int, stdout: IO[str], end: int) -> None:
        self.args, self.pid, self.stdout = argv, pid, stdout
        self.returncode: int | None = None
        self._end = end

    def poll(self) -> int | None:
        """Return the exit status, or None while it is running."""
        return self._returncode(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once it has ended.

        :raises subprocess.TimeoutExpired: it has not.
        """
        status = self._returncode(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def _returncode(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._end, selectors.EVENT_READ)
                if not selector.select(timeout):
                    return None
            self.returncode = int(os.read(self._end, 10) or -signal.SIGKILL)
            os.close(self._end)
        return self.returncode


class Parent:
    """The parent of hosts, as a process of the tests has it.

    :param like: the environment, directory and limits that it and its hosts have.
    """

    def __init__(self, like: tuple[Any, ...], environment: Mapping[str, str]) -> None:
        self.like = like
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with closing(theirs):
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno())], stdin=subprocess.DEVNULL, env=environment, pass_fds=[theirs.fileno()]
            )

    def fork(self, argv: list[str], errors: int) -> ForkedProcess:
        """Start `jidoteki` with these arguments in a session of its own.

        :param errors: the descriptor of its standard error.
        """
        output, end = os.pipe(), os.pipe()
        socket.send_fds(self._socket, [json.dumps(argv).encode()], [output[1], errors, end[1]])
        os.close(output[1])
        os.close(end[1])
        pid = int(self._socket.recv(20))
        return ForkedProcess(argv, pid, os.fdopen(output[0]), end[0])

    def stop(self) -> None:
        """Let it end; its hosts stay."""
        self._socket.close()
        self._process.wait(20)


def start(argv: list[str], environment: Mapping[str, str], errors: int) -> ForkedProcess:
    """Start `jidoteki` with these arguments, as the present process would.

    :param environment: its environment.
    :param errors: the descriptor of its standard error.
    """
    global _parent
    # What pytest says of the test that runs is no reason for another parent.
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    namespaces = [os.readlink(f"/proc/self/ns/{each}") for each in ("mnt", "net")]
    like = (environment, os.getcwd(), os.geteuid(), resource.getrlimit(resource.RLIMIT_NOFILE), namespaces)
    with _asking:
        if _parent is None or _parent.like != like:
            if _parent:
                _parent.stop()
            _parent = Parent(like, environment)
            atexit.register(_parent.stop)
        return _parent.fork(argv, errors)


def main() -> None:
    """Fork a process for each message on the socket whose descriptor is the argument, until the socket is closed."""
    for name in MODULES:
        import_module(name)
    for package in map(import_module, PACKAGES):
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(each.name)
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=int(sys.argv[1]))
    argv = _serve(control)
    control.detach()
    if argv is not None:
        sys.argv = ["jidoteki", *argv]
        import_module("jidoteki.core.cli").main()


def _serve(control: socket.socket) -> list[str] | None:
    """Return the arguments in each process that is to run with them, and None in this one at its end."""
    ends: dict[int, int] = {}
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    while True:
        ready, _, _ = select.select([control.fileno(), waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
            _tell_ends(ends)
        if control.fileno() in ready:
            message, (*descriptors,), _, _ = socket.recv_fds(control, _MAX_MESSAGE, 3)
            if not message:
                return None
            pid = os.fork()
            if pid == 0:
                _separate(*descriptors[:2])
                return list(json.loads(message))
            ends[pid] = descriptors.pop()
            for each in descriptors:
                os.close(each)
            control.send(str(pid).encode())


def _separate(output: int, errors: int) -> None:
    """Make the present process independent of the one that it was forked from."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def _tell_ends(ends: dict[int, int]) -> None:
    while ends:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        os.write(ends[pid], str(os.waitstatus_to_exitcode(status)).encode())
        os.close(ends.pop(pid))
