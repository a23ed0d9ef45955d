"""A license that the vendor's command judges in its place: the former or the new one is in force in the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from faultkit import Scaled, Tally, ask, client_of, multipart
from injection import Injector, injected_host, points, ptrace_works
from jobcases import records, wait_for_end

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost

FORMER, NEW, REFUSED = '{"users": 1}', '{"users": 2}', "no license"
KILLED_AT = ("write", "fsync", "rename", "renameat2", "unlink", "fchmod", "chown")
READS = 'cat "$JIDO_ADMIN_PATH/etc/license.asc"'


def license_of(host: Host) -> Path:
    return host.appliance.etc / "license.asc"


def former_of(host: Host) -> Path:
    return host.appliance.etc / "license.asc.former"


def prepare(host: Host, former: str | None, script: str = READS) -> None:
    """The state before the request."""
    host.appliance.replace_file(host.appliance.bin / "license.sh", f"#!/bin/sh\n{script}\n", 0o755)
    former_of(host).unlink(missing_ok=True)
    license_of(host).unlink(missing_ok=True)
    if former:
        license_of(host).write_text(former)
        license_of(host).chmod(0o640)


def content(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def post(host: Host, license: str) -> int:
    body, headers = multipart(("license", license.encode()))
    return ask(host, "POST", "/license", host.query("POST", "/license")[1:], headers, body).status


@pytest.mark.timeout(900)
@pytest.mark.skipif(not ptrace_works(), reason="strace injects the faults")
@pytest.mark.parametrize(("sent", "former"), [(NEW, FORMER), (REFUSED, FORMER), (REFUSED, None)])
def test_a_kill_at_any_step_leaves_the_former_license_or_the_new_one(
    jidoteki_host: MakeHost, tally: Tally, scaled: Scaled, sent: str, former: str | None
) -> None:
    host = jidoteki_host(start=False)
    prepare(host, former)
    injector = Injector(host)
    injected_host(host, injector)
    counts = injector.count(KILLED_AT, lambda: post(host, sent), lambda: wait_for_end(host, "license", 1))
    in_the_end = (former, NEW) if sent == NEW else (former,)
    assert content(license_of(host)) == in_the_end[-1]

    killed = 0
    for number, (call, nth) in enumerate(points(counts, scaled(5, 10_000)), start=2):
        prepare(host, former)
        injector.use(call, nth, "signal=KILL")
        status = post(host, sent)
        record = wait_for_end(host, "license", number)
        killed += status != 200 and "unexpectedly" in str(record["error_message"])
        found = content(license_of(host))
        tally.case(found in in_the_end, f"killed at {call} {nth}: {found!r}")
        tally.case(not former_of(host).exists(), f"killed at {call} {nth}: the former one is left behind")
        tally.case(status != 200 or found == in_the_end[-1], f"killed at {call} {nth}: {status}, {found!r}")

    assert killed > 0, "no job was killed: the injection does not work"
    assert tally.failed == []


@pytest.mark.parametrize("former", [FORMER, None])
def test_a_power_cut_while_the_command_is_asked_leaves_the_former_license(
    jidoteki_host: MakeHost, former: str | None
) -> None:
    host = jidoteki_host(start=False)
    prepare(host, former, "echo $$ > $JIDO_ADMIN_PATH/asked; exec sleep 50")
    host.start()
    asked = host.appliance.admin / "asked"
    body, headers = multipart(("license", NEW.encode()))
    with contextlib.closing(client_of(host)) as client:
        client.request("POST", f"{PREFIX}/license{host.query('POST', '/license')}", body, headers)
        wait_until(lambda: content(asked))
    meanwhile = content(license_of(host))

    host.stop(signal.SIGKILL)
    for pid in (records(host, "license")[0]["pid"], int(asked.read_text())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(str(pid)), signal.SIGKILL)
    cut = content(license_of(host))
    (host.appliance.bin / "license.sh").write_text(f"#!/bin/sh\n{READS}\n")
    host.start()

    assert (meanwhile, cut) == (NEW, NEW)
    assert content(license_of(host)) == former
    assert not former_of(host).exists()
    shown = host.get("/license")
    assert (shown.status, shown.json if former else None) == (200 if former else 404, former and json.loads(former))
