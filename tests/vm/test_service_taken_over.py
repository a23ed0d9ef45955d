"""What the service's user can reach from his sandbox, and from outside of it: nothing of root's."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import BuildUpdate, Update
from guestkit import ADMIN, SERVICE, Guest
from test_privileged_jobs import AS_ROOT, CONF, NETWORK, change_settings, write_script

from jidoteki.testing import wait_until

PROOF = "/root/taken-over"
EVIL = f"#!/bin/sh\ntouch {PROOF}\n"
DRIVER = (Path(__file__).parent / "taken_over.py").read_text()


@pytest.fixture
def victim(guest: Guest) -> Iterator[Guest]:
    """A guest in which nothing of root's may have happened at the end."""
    guest.path(PROOF).unlink(missing_ok=True)
    (guest.path("/opt/jidoteki") / "taken_over.py").write_text(DRIVER)
    yield guest
    assert not guest.path(PROOF).exists()
    guest.sh(f"rm -f {ADMIN}/bin/* {ADMIN}/jobs/0009*; rm -rf {ADMIN}/tmp/0009*")


def as_service(guest: Guest, *argv: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program as the service's user, outside of the service's sandbox."""
    return guest.run("runuser", "-u", "jidoteki", "--", *argv, check=False, input=input, timeout=120)


def order(id: str, input: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An order as the service writes it."""
    record = {"id": id, "kind": id.partition("-")[2], "status": "running", "started": time.time()}
    return {"record": record, "input": input, "dry_run": False, "reverting": None, "recovering": False} | fields


def hand_over(guest: Guest, id: str, given: dict[str, Any], **more: Any) -> str:
    """Start a unit, hand it an order over, and return what came of it, once the unit has ended."""
    program = ("/opt/jidoteki/venv/bin/python3", "-I", "/opt/jidoteki/taken_over.py")
    said = as_service(guest, *program, input=json.dumps({"id": id, "order": given, **more})).stdout
    wait_until(lambda: guest.run("systemctl", "is-active", f"jidoteki-job@{id}", check=False).stdout == "inactive\n")
    return said


def forged(build_update: BuildUpdate, tmp_path: Path, vendor: Path, script: str) -> Path:
    """Return a package that somebody else signed, with the passphrase of the appliance."""
    source = tmp_path / secrets.token_hex(4)
    source.mkdir()
    (source / "update.sh").write_text(script)
    key = tmp_path / "own.pem"
    argv = ("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    subprocess.run(argv, capture_output=True, check=True)
    command: list[str | Path] = [Path(sys.executable).with_name("jidoteki"), "package", "build", source]
    keys = ("--key", vendor / "updates.key", "--sign-key", key, "--version", "99.0.0", "-o", tmp_path / "forged.enc")
    subprocess.run([*command, *keys], check=True, capture_output=True)
    return tmp_path / "forged.enc"


def put(guest: Guest, name: str, content: bytes) -> str:
    """Put a file of the service's user into the spool, and return its path."""
    path = f"{ADMIN}/spool/{name}"
    guest.path(path).write_bytes(content)
    guest.sh(f"chown jidoteki: {path}")
    return path


ROOTS = (
    f"{ADMIN}/bin/network.sh",
    f"{ADMIN}/keys/updates.pub",
    f"{ADMIN}/keys/new",
    f"{ADMIN}/new",
    "/usr/local/etc/jidoteki-admin-api.json",
    "/usr/local/etc/init.d/app",
    "/usr/local/etc/new",
    CONF,
    "/opt/jidoteki/venv/lib/new",
    "/opt/jidoteki/new",
    "/usr/lib/systemd/system/jidoteki-job@.service",
    "/etc/systemd/system/jidoteki-job@.service.d/new.conf",
    "/usr/share/polkit-1/rules.d/50-jidoteki-job.rules",
    "/var/lib/jidoteki-job/highest-version",
)


def test_nothing_that_root_reads_or_executes_can_be_written(victim: Guest) -> None:
    script = "".join(f"{{ echo evil >{path}; }} 2>/dev/null && echo {path}\n" for path in ROOTS)

    assert as_service(victim, "sh", "-c", script).stdout == ""


@pytest.mark.parametrize("name", ["bin", "keys", "jobs", "etc", "tmp"])
def test_no_directory_can_be_exchanged(victim: Guest, name: str) -> None:
    assert as_service(victim, "mv", f"{ADMIN}/{name}", f"{ADMIN}/other").returncode != 0
    assert as_service(victim, "ln", "-sfn", "/etc", f"{ADMIN}/{name}-link").returncode != 0


REFUSED = (
    f"restart {SERVICE}.service",
    f"stop {SERVICE}.service",
    "start systemd-reboot.service",
    "start jidoteki-job@000001-update.timer",
    "start jidoteki-job@..-update.service",
    "start jidoteki-job@000001\\x2dupdate.service",
    "start jidoteki-job@000001-UPDATE.service",
    "start other-jidoteki-job@000001-update.service",
    "restart jidoteki-job@000001-update.service",
    "reload jidoteki-job@000001-update.service",
    f"kill {SERVICE}.service",
    "set-property jidoteki-job@000001-update.service CPUWeight=1",
    "mask jidoteki-job@000001-update.service",
    "daemon-reload",
    "reboot",
)


@pytest.mark.parametrize("command", REFUSED)
def test_systemd_takes_no_other_command(victim: Guest, command: str) -> None:
    done = as_service(victim, "systemctl", "--no-ask-password", *command.split())

    assert done.returncode != 0
    assert any(each in done.stderr for each in ("enied", "authentication required", "Permission")), done.stderr
    assert victim.show("ActiveState") == "active"


def test_no_transient_unit_is_started(victim: Guest) -> None:
    for more in ((), ("--unit=jidoteki-job@000001-update.service",), ("--unit=jidoteki-job@000001-other",)):
        done = as_service(victim, "systemd-run", "--no-ask-password", *more, "touch", PROOF)

        assert done.returncode != 0


@pytest.mark.parametrize(
    "id", ["new", "000001", "000001-", "update", "1-update", "dry-run-1", "000001--", "clean-000001"]
)
def test_a_name_that_is_no_id_ends_at_once(victim: Guest, id: str) -> None:
    done = as_service(victim, "systemctl", "--no-ask-password", "start", f"jidoteki-job@{id}.service")

    assert "enied" not in done.stderr
    wait_until(lambda: f"'{id}' is no id of a job" in victim.sh(f"journalctl --no-pager -u jidoteki-job@{id}"))


@pytest.mark.parametrize("job_type", ["logs", "debug", "license", "backup-delete", "no-such-type"])
def test_other_types_of_jobs_are_refused(victim: Guest, job_type: str) -> None:
    id = f"000900-{job_type}"

    told = "are not among those that root runs: a drop-in of jidoteki-job@.service has to name it in JIDOTEKI_JOB_TYPES"
    assert told in hand_over(victim, id, order(id, {}))


def test_the_order_of_another_job_is_refused(victim: Guest) -> None:
    given = order("000900-settings", {"network": {**NETWORK, "mode": "dhcp"}})

    assert "that of another job" in hand_over(victim, "000901-update", given)


@pytest.mark.parametrize("given", [[], {}, {"record": 1}, {"record": {}, "input": {}}, "x" * 1000])
def test_what_is_no_order_is_refused(victim: Guest, given: Any) -> None:
    assert "makes no sense" in hand_over(victim, "000900-update", given)


def test_an_order_that_is_too_long_is_refused(victim: Guest) -> None:
    id = "000900-update"

    assert "refused" in hand_over(victim, id, order(id, {"package": "x" * (9 * 1024 * 1024)}))


INPUTS: dict[str, dict[str, Any]] = {
    "an argument": {"network": {**NETWORK, "mode": f"dhcp; touch {PROOF}"}},
    "a name": {"network": {**NETWORK, "mode": "dhcp", "hostname": f"$(touch {PROOF})"}},
    "a line": {"network": {**NETWORK, "mode": "dhcp", "interface": f"eth0\ntouch {PROOF}"}},
    "another key": {"network": {**NETWORK, "mode": "dhcp"}, "workspace": "/root"},
}


@pytest.mark.parametrize("kind", INPUTS)
def test_other_input_than_the_service_gives_is_refused(victim: Guest, kind: str) -> None:
    write_script(victim, "network.sh", "#!/bin/sh\n. $JIDO_ETC/network.conf\n")
    id = "000900-settings"

    assert "The job's input" in hand_over(victim, id, order(id, INPUTS[kind]))


def test_what_else_an_order_says_has_no_effect(victim: Guest) -> None:
    """Neither configuration, plugins, root, directories nor variables are the service's to name."""
    victim.sh(f"install -d -o jidoteki {ADMIN}/spool/own")
    plugin = put(victim, "own/evil.py", f"import os; os.system('touch {PROOF}')".encode())
    write_script(victim, "network.sh", f"#!/bin/sh\nenv | grep EVIL && touch {PROOF}; true\n")
    source = {"name": "evil", "kind": "file", "target": plugin}
    id = "000900-settings"
    given = order(
        id,
        {"network": {**NETWORK, "mode": "dhcp"}},
        root=f"{ADMIN}/spool/own",
        admin=f"{ADMIN}/spool/own",
        guarded=f"{ADMIN}/spool/own",
        workspace="/etc",
        plugins=[source],
        sections={"evil": {}},
        host_config={
            "commands": {"persist": ["touch", PROOF], "reboot": None},
            "plugin-directory": f"{ADMIN}/spool/own",
        },
        environment={"EVIL": "1"},
    )

    said = hand_over(victim, id, given)

    assert "begun" in said
    assert '"status": "success"' in said


def test_a_directory_of_a_run_that_leads_elsewhere_is_not_followed(victim: Guest) -> None:
    id = "000900-update"
    as_service(victim, "ln", "-s", "/root", f"{ADMIN}/tmp/{id}")

    done = as_service(victim, "systemctl", "--no-ask-password", "start", f"jidoteki-job@{id}.service")

    assert "enied" not in done.stderr
    wait_until(lambda: "PermissionError" in victim.sh(f"journalctl --no-pager -u jidoteki-job@{id}"))


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "directory"])
def test_what_lies_in_the_place_of_a_log_harms_nobody(victim: Guest, kind: str) -> None:
    """Root writes to it with the rights of the service's user."""
    victim.path("/etc/victim").write_text("as it was\n")
    log = f"{ADMIN}/log/update_settings.log"
    commands = {
        "link": f"ln -sfn /etc/victim {log}",
        "hard link": f"rm -f {log}; ln /etc/victim {log}",
        "pipe": f"rm -f {log}; mkfifo {log}",
        "directory": f"rm -f {log}; mkdir {log}",
    }
    victim.sh(f"rm -rf {log}")
    as_service(victim, "sh", "-c", commands[kind])

    change_settings(victim)

    assert victim.path("/etc/victim").read_text() == "as it was\n"
    victim.sh(f"rm -rf {log}")


def test_a_package_that_somebody_else_signed_is_not_run(
    victim: Guest, build_update: BuildUpdate, vendor: Path, tmp_path: Path
) -> None:
    """Neither if the service brings a key that verifies it."""
    package = forged(build_update, tmp_path, vendor, EVIL)
    path = put(victim, "software_package-1.enc", package.read_bytes())
    public = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "own.pem", "-pubout"], capture_output=True, check=True
    ).stdout
    kept = victim.sh(f"readlink {ADMIN}/etc/updates.pub").strip()
    as_service(victim, "sh", "-c", f"rm {ADMIN}/etc/updates.pub; cat >{ADMIN}/etc/updates.pub", input=public.decode())
    try:
        id = "000900-update"
        said = hand_over(victim, id, order(id, {"package": path}))
    finally:
        victim.sh(f"ln -sfn {kept} {ADMIN}/etc/updates.pub")

    assert "begun" in said
    assert "E1005" in said


def test_a_package_that_is_exchanged_again_and_again_is_not_run(
    victim: Guest, build_update: BuildUpdate, vendor: Path, tmp_path: Path
) -> None:
    evil = put(victim, "evil", forged(build_update, tmp_path, vendor, EVIL).read_bytes())
    for number in range(5):
        good = put(victim, "good", build_update("#!/bin/sh\n").path.read_bytes())
        path = put(victim, f"software_package-{number}.enc", b"")
        id = f"00090{number}-update"

        assert "begun" in hand_over(victim, id, order(id, {"package": path}), swap=[path, good, evil])


def test_an_older_package_is_not_run_again(victim: Guest, build_update: BuildUpdate) -> None:
    """What the service's user does to the records in his own directories makes no difference."""
    older: Update = build_update(EVIL)
    newer = build_update(AS_ROOT)
    first = put(victim, "software_package-1.enc", newer.path.read_bytes())
    assert '"status": "success"' in hand_over(victim, "000900-update", order("000900-update", {"package": first}))
    second = put(victim, "software_package-2.enc", older.path.read_bytes())
    as_service(
        victim, "sh", "-c", f"rm -f {ADMIN}/etc/version.txt {ADMIN}/jobs/*-version; echo 0.0.1 >{ADMIN}/etc/version.txt"
    )

    said = hand_over(victim, "000901-update", order("000901-update", {"package": second}))

    assert "E1001" in said
    victim.path(f"{ADMIN}/etc/version.txt").write_text(f"{newer.version}\n")


#: Goes on once its file is removed, with a file of its package.
WAITS = """#!/bin/sh
touch $JIDO_ADMIN_PATH/log/begun
while [ -e $JIDO_ADMIN_PATH/log/begun ]; do sleep 0.1; done
test -e version.txt
"""


def test_nothing_is_cleared_away_that_a_job_still_works_with(victim: Guest, build_update: BuildUpdate) -> None:
    """As if the update had died, whose package would be removed under its feet."""
    update = build_update(WAITS)
    log = victim.path(f"{ADMIN}/log")
    victim.path("/root/update.enc").write_bytes(update.path.read_bytes())
    assert victim.request("POST", "/update", "-F", "update=@/root/update.enc")[0] == 202
    wait_until((log / "begun").exists)
    try:
        said = hand_over(victim, "000900-update", order("000900-update", {}, recovering=True), beside=True)
    finally:
        (log / "begun").unlink()

    assert "holds update.lock" in said
    assert victim.wait_for_job("/update")["status"] == "success"


def test_a_forged_note_of_former_settings_puts_nothing_into_a_file_that_root_sources(victim: Guest) -> None:
    victim.path(CONF).write_text("mode=dhcp\n")
    written = hashlib.sha256(b"mode=dhcp\n").hexdigest()
    for former in (f"mode=dhcp\ntouch {PROOF}\n", f'mode="$(touch {PROOF})"\n', "PATH=/tmp\n"):
        noted = {CONF: {"former": base64.b64encode(former.encode()).decode(), "written": written, "mode": 0o644}}
        note = f"{ADMIN}/jobs/000900-settings.former"
        as_service(victim, "sh", "-c", f"umask 077; cat >{note}", input=json.dumps(noted))

        said = hand_over(victim, "000900-settings", order("000900-settings", {}, recovering=True))

        assert "begun" in said
        assert victim.path(CONF).read_text() == "mode=dhcp\n"
    victim.path(CONF).unlink()


@pytest.mark.parametrize("mode", [0o666, 0o4777])
def test_a_forged_note_of_former_settings_lets_nobody_write_what_root_sources(victim: Guest, mode: int) -> None:
    victim.sh(f"rm -f {CONF}")
    noted = {CONF: {"former": base64.b64encode(b"mode=dhcp\n").decode(), "written": None, "mode": mode}}
    note = f"{ADMIN}/jobs/000900-settings.former"
    as_service(victim, "sh", "-c", f"umask 077; cat >{note}", input=json.dumps(noted))
    try:
        said = hand_over(victim, "000900-settings", order("000900-settings", {}, recovering=True))

        assert "begun" in said
        assert victim.path(CONF).read_text() == "mode=dhcp\n"
        assert not victim.path(CONF).stat().st_mode & 0o7022
    finally:
        victim.sh(f"rm -f {CONF}")


@pytest.mark.parametrize("place", ["bin", "bin/network.sh", ".", "keys"])
def test_root_runs_nothing_that_somebody_else_may_change(victim: Guest, place: str) -> None:
    write_script(victim, "network.sh", EVIL)
    victim.sh(f"chown jidoteki {ADMIN}/{place}")
    try:
        posted = json.dumps({"network": NETWORK})
        status, said = victim.request("POST", "/settings?dry-run=1", "-F", f"settings={posted}")
        if status == 202:  # the script alone is not root's
            said = str(change_settings(victim))
        assert "Somebody else than root owns" in said
    finally:
        victim.sh(f"chown root {ADMIN}/{place}")


def test_the_process_of_a_job_can_be_neither_signalled_nor_traced(victim: Guest) -> None:
    write_script(victim, "network.sh", "#!/bin/sh\nsleep 3\n")
    posted = json.dumps({"network": NETWORK})
    assert victim.request("POST", "/settings", "-F", f"settings={posted}")[0] == 202
    pids = victim.sh("cat /sys/fs/cgroup/system.slice/jidoteki-job@*/cgroup.procs").split()

    for pid in pids:
        assert as_service(victim, "kill", "-STOP", pid).returncode != 0
        assert as_service(victim, "sh", "-c", f"cat /proc/{pid}/environ /proc/{pid}/mem").returncode != 0
    assert pids
