"""Jobs that run as units of systemd, `jidoteki-job@ID.service`: root's, and out of reach of the service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import select
import subprocess
import time
from pathlib import Path
from typing import Final

from jidoteki.core.jobs.handover import Listener, RefusedError
from jidoteki.core.jobs.processes import JobProcess
from jidoteki.hookspecs import programs

#: Seconds for one question to systemd: longer only where D-Bus hangs.
ANSWER_TIMEOUT: Final = 20.0
#: Seconds for what a unit may take to begin or to end.
TIMEOUT: Final = 90.0
LOOK_EACH: Final = 0.05
#: The variable of the unit's environment that lists them, which only root sets.
TYPES: Final = "JIDOTEKI_JOB_TYPES"
#: A run that there never is.
_NONE: Final = "000000-none"
#: Begins the name of a unit that ends at once, where it can begin.
TRY: Final = "try-"
_LIVE: Final = "active,activating,deactivating,reloading"
_CHUNK: Final = 64 * 1024


class UnitProcess(JobProcess):
    """The process of a job in a unit of its own, and all that it started.

    :param id: of the run.
    :param output: a descriptor that its output is read from; None where that goes elsewhere.
    """

    def __init__(self, id: str, pid: int, output: int | None = None) -> None:
        super().__init__(pid)
        self._id = id
        self._output = output

    @classmethod
    def begin(cls, id: str, order: Path, stdin: int, stdout: int, stderr: int) -> UnitProcess:
        """Start the unit of a run, and hand its order over.

        :param order: the file with the order, which is removed.
        :raises OSError: it cannot be started, or is refused.
        """
        reading, writing = os.pipe() if stdout == subprocess.PIPE else (None, None)
        out = stdout if writing is None else writing
        try:
            with open(os.devnull, "wb") as null, Listener(order.parent) as listener:
                errors = null.fileno() if stderr == subprocess.DEVNULL else stderr
                content = order.read_bytes()
                order.unlink()
                _require(_systemctl("start", _unit(id)))
                pid = listener.hand_over(content, (stdin, out, errors), lambda: is_active(id))
        except BaseException:
            if reading is not None:
                os.close(reading)
            raise
        finally:
            if writing is not None:
                os.close(writing)
        return cls(id, pid, reading)

    def poll(self) -> int | None:
        """Return 0 once it has ended with all that it started, and None before."""
        return None if is_active(self._id) else 0

    def communicate(self, timeout: float) -> bytes:
        """Wait for its end, and return its output.

        :raises TimeoutError: it timed out.
        """
        assert self._output is not None
        output, deadline = bytearray(), time.monotonic() + timeout
        while select.select([self._output], [], [], max(0.0, deadline - time.monotonic()))[0]:
            chunk = os.read(self._output, _CHUNK)
            if not chunk:
                return bytes(output)
            output += chunk
        raise TimeoutError

    def wait(self) -> None:
        """Wait for its end; where systemd does not answer, what is left of it ends by itself soon after its process."""
        if self._output is not None:
            os.close(self._output)
            self._output = None
        with contextlib.suppress(OSError):
            stop(self._id)

    async def ended(self) -> None:
        """Wait for its end, and that of all that it started, as far as systemd answers."""
        await super().ended()
        with contextlib.suppress(OSError):
            while await asyncio.to_thread(is_active, self._id):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(LOOK_EACH)

    def ask_to_end(self) -> None:
        """Have SIGTERM sent to the process and its commands, and SIGKILL to what is left of them some seconds later.

        :raises OSError: systemd does not answer.
        """
        _systemctl("stop", "--no-block", _unit(self._id), timeout=ANSWER_TIMEOUT)

    def kill(self) -> None:
        """End all of it, and wait for that."""
        stop(self._id)

    def age(self) -> float:
        """Return 0: it is another user's, whose processes the service does not see."""
        return 0.0


def is_booted() -> bool:
    """Return whether systemd is process 1 of this machine: sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


def properties(*names: str) -> dict[str, str]:
    """Return properties of the unit, as systemctl(1) shows them.

    :raises OSError: systemd does not tell.
    """
    done = _systemctl("show", f"--property={','.join(names)}", _unit(_NONE), timeout=ANSWER_TIMEOUT)
    if done.returncode:
        raise RefusedError(_reason(done))
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def require_start() -> None:
    """Check that this user may have such units started, and that they begin, by a start of one that ends at once.

    :raises OSError: it is not so, or systemd does not answer.
    """
    # By a new name each time: systemd starts none of one name five times within ten seconds.
    _require(_systemctl("start", _unit(f"{TRY}{secrets.token_hex(8)}"), timeout=ANSWER_TIMEOUT))


def is_active(id: str) -> bool:
    """Return whether anything of a run's unit lives.

    :raises OSError: systemd does not answer.
    """
    return _listed(_unit(id))


def is_any_active(job_type: str) -> bool:
    """Return whether anything of a unit of any run of a type lives.

    :raises OSError: systemd does not answer.
    """
    return _listed(_unit(f"[0-9]*-{job_type}"))


def stop(id: str) -> None:
    """End a run's unit, if anything of it lives, and wait for that.

    :raises OSError: systemd does not answer, or it takes too long.
    """
    if is_active(id):
        _systemctl("stop", _unit(id))


def _unit(id: str) -> str:
    return f"jidoteki-job@{id}.service"


def _listed(pattern: str) -> bool:
    options = "--plain", "--no-legend", f"--state={_LIVE}"
    done = _systemctl("list-units", *options, pattern, timeout=ANSWER_TIMEOUT)
    return bool(done.stdout.strip())


def _require(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise RefusedError(f"systemd does not start its unit: {_reason(done)}")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stderr.split()) or f"systemctl ended with exit status {done.returncode}"


def _systemctl(verb: str, *arguments: str, timeout: float = TIMEOUT) -> subprocess.CompletedProcess[str]:
    argv = ["systemctl", "--no-ask-password", "--no-pager", verb, *arguments]
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            env=programs.environment(), timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"systemd does not answer within {timeout:g} seconds") from error
