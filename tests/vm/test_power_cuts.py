"""Power cuts of a whole machine, in each kind of job and once it has said that it succeeded."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import BuildUpdate
from guestkit import ADMIN
from machinekit import Machine

from jidoteki.testing import wait_until

APP = f"{ADMIN}/log/app"
#: Writes many files, says that it goes on, and takes its time where it is asked to.
WRITES = f"""#!/bin/sh
set -e
mkdir -p {APP}; cd {APP}
for number in $(seq 60); do head -c 20000 /dev/urandom >$number; done
sha256sum [0-9]* >sums
echo {{version}} >version
touch written
"""
TRIED = {
    "update.sh": f"#!/bin/sh\necho {{version}} >{APP}-tried\n",
    "verify.sh": f"#!/bin/sh\ntouch {APP}-verifying; sleep 300\n",
    "rollback.sh": f"#!/bin/sh\necho back >{APP}-tried\n",
}
#: Seconds after the start of a job; None is right after it said that it succeeded.
MOMENTS = [0.0, 0.5, 1.5, None]
cut_at = pytest.mark.parametrize(
    "moment", MOMENTS, ids=lambda moment: f"{moment}s" if moment is not None else "success"
)


def settings(name: str) -> str:
    network = {"interface": "eth0", "hostname": f"{name}.host", "mode": "dhcp"}
    return json.dumps({"network": network, "app": {"name": name}})


def change(machine: Machine, name: str, query: str = "") -> str:
    return machine.begin(f"/settings{query}", "-F", f"settings={settings(name)}")


def cut(machine: Machine, id: str, moment: float | None) -> bool:
    """Cut the power off at a moment of a job, boot again, and return whether the job had said that it succeeded."""
    if moment is None:
        assert machine.ended(id)["status"] == "success"
    else:
        time.sleep(moment)
    machine.cut_and_boot()
    return moment is None


def sent(machine: Machine, update: Any) -> str:
    return machine.begin("/update", "-F", f"update=@{update.path}")


def stored(machine: Machine) -> str:
    """Return the name of the settings, which all files of them have."""
    shown = machine.json("/settings")
    conf = machine.sh(". /usr/local/etc/network.conf; echo $hostname").strip()
    hosts = {each.removesuffix(".host") for each in (shown["network"]["hostname"], conf)}
    (name,) = {shown["app"]["name"], *hosts}
    return str(name)


def in_force(machine: Machine) -> str:
    """Return the name of the settings that network.sh was called for last."""
    return machine.sh(f". {ADMIN}/log/in-force; echo $hostname").strip().removesuffix(".host")


def test_what_an_update_wrote_is_there_after_success(machine: Machine, build_update: BuildUpdate) -> None:
    update = build_update(WRITES)
    cut(machine, sent(machine, update), None)

    machine.sh(f"cd {APP} && sha256sum --quiet -c sums")
    assert machine.sh(f"cat {APP}/version").strip() == update.version
    assert machine.json("/version") == {"version": update.version}
    assert machine.json("/update")["status"] == "success"


def test_an_update_that_was_cut_is_failed_and_done_when_it_is_repeated(
    machine: Machine, build_update: BuildUpdate
) -> None:
    machine.sh(f"rm -rf {APP}")
    before = machine.json("/version")
    update = build_update(f"{WRITES}test -e {APP}/repeated || sleep 300\n")
    id = sent(machine, update)
    wait_until(lambda: machine.sh(f"ls {APP} 2>/dev/null || true").count("written"), 120, 1)
    cut(machine, id, 0.0)

    assert machine.ended(id)["status"] == "failed"
    assert machine.json("/version") == before
    machine.sh(f"mkdir -p {APP}; chown jidoteki: {APP}; touch {APP}/repeated")
    assert machine.ended(sent(machine, update))["status"] == "success"
    assert machine.json("/version") == {"version": update.version}


@cut_at
def test_settings_are_the_former_or_the_new_ones(machine: Machine, moment: float | None) -> None:
    assert machine.ended(change(machine, "former"))["status"] == "success"
    succeeded = cut(machine, change(machine, "new"), moment)

    assert stored(machine) in ({"new"} if succeeded else {"former", "new"})
    assert not succeeded or in_force(machine) == "new"


def is_on_trial(machine: Machine, path: str, id: str) -> None:
    """Wait until a change is in force, and waits for a confirmation."""
    wait_until(lambda: "pending" in machine.json(path) or machine.json(f"/jobs/{id}")["status"] != "running", 180, 0.2)
    assert "pending" in machine.json(path), machine.json(f"/jobs/{id}").get("error-message")


def reboot(machine: Machine, by_api: bool) -> None:
    """Restart the machine, by the API or by whoever else may."""
    before = machine.restarts
    if by_api:
        assert machine.request("POST", "/reboot")[0] == 202
    else:
        machine.sh("systemctl --no-block reboot")
    machine.restarted(before)


@pytest.mark.parametrize("end", ["cut", "reboot by the API", "reboot"])
def test_settings_on_trial_are_put_back(machine: Machine, end: str) -> None:
    assert machine.ended(change(machine, "former"))["status"] == "success"
    id = change(machine, "new", "?confirm=600")
    is_on_trial(machine, "/settings", id)
    machine.cut_and_boot() if end == "cut" else reboot(machine, end == "reboot by the API")

    record = machine.ended(id)
    assert (record["status"], record["error-code"]) == ("failed", "E2001")
    assert stored(machine) == in_force(machine) == "former"
    assert "pending" not in machine.json("/settings")
    machine.is_told("settings", "E2001", record["error-message"])


def pair(directory: Path, name: str) -> tuple[str, ...]:
    """Return the form of a new key and certificate."""
    directory.mkdir(exist_ok=True)
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    command = (
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
        "-subj", f"/CN={name}.example", "-keyout", key, "-out", certificate,
    )  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return "-F", f"private=@{key}", "-F", f"public=@{certificate}"


def certificate_of(machine: Machine) -> str:
    """Return the name in the certificate that is served, which all files have."""
    tls = "/usr/local/etc/pki/tls"
    names = machine.sh(
        f"for each in {tls}/enterprise.pem {tls}/certs/enterprise.crt; do openssl x509 -noout -subject -in $each; done;"
        f"openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null | openssl x509 -noout -subject;"
        f"cmp <(openssl pkey -pubout -in {tls}/private/enterprise.key) "
        f"<(openssl x509 -noout -pubkey -in {tls}/certs/enterprise.crt)"
    )
    (name,) = {line.rpartition("CN = ")[2] for line in names.splitlines()}
    return name.removesuffix(".example")


@cut_at
def test_certificates_are_the_former_or_the_new_ones(machine: Machine, tmp_path: Path, moment: float | None) -> None:
    assert machine.ended(machine.begin("/certs", *pair(tmp_path, "former")))["status"] == "success"
    succeeded = cut(machine, machine.begin("/certs", *pair(tmp_path, "new")), moment)

    assert certificate_of(machine) in ({"new"} if succeeded else {"former", "new"})


def test_certificates_on_trial_are_put_back(machine: Machine, tmp_path: Path) -> None:
    assert machine.ended(machine.begin("/certs", *pair(tmp_path, "former")))["status"] == "success"
    id = machine.begin("/certs?confirm=600", *pair(tmp_path, "new"))
    is_on_trial(machine, "/certs", id)
    cut(machine, id, 0.0)

    record = machine.ended(id)
    assert (record["status"], record["error-code"]) == ("failed", "E2001")
    assert certificate_of(machine) == "former"


def fill(machine: Machine, name: str) -> None:
    """Put many files of one name into the data."""
    machine.sh(
        f"rm -rf /data/app; mkdir -p /data/app; cd /data/app; for n in $(seq 300); do echo {name} >$n; done;"
        f"head -c 40000000 /dev/urandom >large; sha256sum large >sum; chown -R jidoteki: /data/app; sync"
    )


def back_up(machine: Machine) -> str:
    """Start a backup, once the one before is removed."""
    if machine.request("POST", "/backup", "-F", "action=STOP")[0] == 202:
        (last,) = machine.json("/jobs?limit=1")["jobs"]
        machine.ended(last["id"])
    return machine.begin("/backup", "-F", "action=START")


@pytest.mark.parametrize("moment", [0.5, None], ids=["running", "success"])
def test_a_backup_is_whole_or_failed(machine: Machine, tmp_path: Path, moment: float | None) -> None:
    fill(machine, "kept")
    succeeded = cut(machine, back_up(machine), moment)

    status = machine.json("/backup")["status"]
    assert status == "success" if succeeded else status in ("success", "failed")
    if status == "success":
        archive = tmp_path / "backup.tar"
        assert machine.request("GET", "/backup/download", "-o", str(archive))[0] == 200
        names = subprocess.run(["tar", "tf", archive], check=True, capture_output=True, text=True).stdout.splitlines()
        assert sum("app/" in each and not each.endswith("/") for each in names) == 302


@cut_at
def test_data_are_those_before_or_after_a_restore(machine: Machine, tmp_path: Path, moment: float | None) -> None:
    fill(machine, "archived")
    assert machine.ended(back_up(machine))["status"] == "success"
    archive = tmp_path / "backup.tar"
    assert machine.request("GET", "/backup/download", "-o", str(archive))[0] == 200
    fill(machine, "newer")
    sending = threading.Thread(target=machine.request, args=("POST", "/backup/restore", "-F", f"archive=@{archive}"))
    sending.start()  # the answer comes when all is done, or never
    (begun,) = wait_until(lambda: machine.json("/jobs?type=restore&status=running")["jobs"], 120, 0.1)
    succeeded = cut(machine, begun["id"], moment)
    sending.join()

    machine.sh("cd /data/app && sha256sum --quiet -c sum")
    found = set(machine.sh("cd /data/app && cat [0-9]* | sort -u").split())
    assert found == {"archived"} if succeeded else found in ({"archived"}, {"newer"})
    assert machine.sh("ls -A /data").split() == ["app"]


def test_an_update_that_is_being_verified_is_rolled_back(
    machine: Machine, build_update: BuildUpdate, tmp_path: Path
) -> None:
    before = machine.json("/version")
    machine.sh(f"rm -rf {APP}-*")
    update = build_update(TRIED["update.sh"], {name: TRIED[name] for name in ("verify.sh", "rollback.sh")})
    id = sent(machine, update)
    wait_until(lambda: machine.sh(f"ls {APP}-verifying 2>/dev/null || true"), 120, 1)
    cut(machine, id, 0.0)

    assert machine.ended(id)["status"] == "failed"
    assert machine.sh(f"cat {APP}-tried").strip() == "back"
    assert machine.json("/version") == before
