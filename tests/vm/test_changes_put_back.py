"""Changes by root's units that fail or are not confirmed: files have what they held before, and who may read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from guestkit import ADMIN, Guest
from test_privileged_jobs import write_script

from jidoteki.testing import wait_until

ETC = "/usr/local/etc"
FAILS = "#!/bin/sh\nexit 3\n"
FILES = {
    "settings": (f"{ADMIN}/etc/network.json", f"{ADMIN}/etc/app.json", f"{ETC}/network.conf"),
    "storage": (f"{ADMIN}/etc/storage.json", f"{ETC}/storage.conf"),
}
SCRIPTS = {"settings": "network.sh", "storage": "storage.sh"}


@pytest.fixture(scope="module")
def with_storage(_machine: Guest) -> Iterator[Guest]:
    """A guest that serves storage, too."""
    path = _machine.path(f"{ETC}/jidoteki-admin-api.json")
    before = path.read_text()
    path.write_text(before.replace('"settings"', '"settings", "storage"', 1))
    _machine.path(f"{ETC}/storage-options.json").write_text('{"options": ["nfs"]}')
    _machine.run("systemctl", "reload", "jidoteki-admin-api")
    wait_until(lambda: "/storage" in _machine.request("GET", "/endpoints")[1])
    yield _machine
    path.write_text(before)
    _machine.run("systemctl", "reload", "jidoteki-admin-api")


@pytest.fixture
def changing(with_storage: Guest) -> Iterator[Guest]:
    """Such a guest without settings."""
    yield with_storage
    files = " ".join(path for paths in FILES.values() for path in paths)
    with_storage.sh(f"rm -f {ADMIN}/bin/* {files} /var/lib/jidoteki-job/former/*")


def change(guest: Guest, kind: str, name: str, query: str = "") -> str:
    """Begin a change, and return its id."""
    network = {"network": {"interface": "eth0", "hostname": f"{name}.host", "mode": "dhcp"}, "app": {"name": name}}
    posted: dict[str, Any] = {
        "settings": network,
        "storage": {"storage": {"type": "nfs", "mount_options": "sync", "ip": "10.0.0.3", "share": f"/{name}"}},
    }
    field = json.dumps(posted[kind])
    status, body = guest.request("POST", f"/{kind}{query}", "-F", f"settings={field}")
    assert status == 202, body
    (last,) = json.loads(guest.request("GET", "/jobs?limit=1")[1])["jobs"]
    return str(last["id"])


def ended(guest: Guest, id: str) -> dict[str, Any]:
    return guest.wait_for_job(f"/jobs/{id}")


def state(guest: Guest, kind: str) -> str:
    """Return the content of the files, and who may read them."""
    return guest.sh("".join(f"stat -c '%n %u:%g %a' {path}; cat {path};" for path in FILES[kind]))


def try_out(guest: Guest) -> str:
    """Change settings that wait for a confirmation then, and return the id."""
    id = change(guest, "settings", "new", "?confirm=600")
    wait_until(
        lambda: (
            "pending" in guest.request("GET", "/settings")[1] or "running" not in guest.request("GET", f"/jobs/{id}")[1]
        )
    )
    assert "pending" in guest.request("GET", "/settings")[1], ended(guest, id)
    return id


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("mode", ["", "600"])
def test_a_change_that_fails_leaves_the_files_as_they_were(changing: Guest, kind: str, mode: str) -> None:
    assert ended(changing, change(changing, kind, "former"))["status"] == "success"
    if mode:
        changing.sh(f"chmod {mode} {FILES[kind][-1]}")
    before = state(changing, kind)
    write_script(changing, SCRIPTS[kind], FAILS)

    job = ended(changing, change(changing, kind, "new"))

    assert (job["status"], job["error-message"]) == ("failed", f"{SCRIPTS[kind]} failed with exit status 3")
    assert state(changing, kind) == before


@pytest.mark.parametrize("kind", FILES)
def test_a_change_that_is_killed_leaves_the_files_as_they_were(changing: Guest, kind: str) -> None:
    assert ended(changing, change(changing, kind, "former"))["status"] == "success"
    before = state(changing, kind)
    write_script(changing, SCRIPTS[kind], "#!/bin/sh\ntouch /run/changing; sleep 100\n")
    changing.sh("rm -f /run/changing")
    id = change(changing, kind, "new")
    wait_until(lambda: changing.run("ls", "/run/changing", check=False).returncode == 0)

    changing.sh(f"systemctl kill --kill-whom=main --signal=KILL jidoteki-job@{id}.service")

    assert ended(changing, id)["status"] == "failed"
    assert state(changing, kind) == before


@pytest.mark.parametrize("mode", ["", "600"])
def test_changes_that_nobody_confirms_leave_the_files_as_they_were(changing: Guest, mode: str) -> None:
    """Again and again: the second one was refused, as the service's user could not read what root had put back."""
    assert ended(changing, change(changing, "settings", "former"))["status"] == "success"
    if mode:
        changing.sh(f"chmod {mode} {FILES['settings'][-1]}")
    before = state(changing, "settings")
    for kill in (True, False, False):
        id = try_out(changing)
        end = "kill --kill-whom=main --signal=KILL" if kill else "stop"
        changing.sh(f"systemctl {end} jidoteki-job@{id}.service")
        job = ended(changing, id)

        assert (job["status"], job["error-code"]) == ("failed", "E2001")
        assert state(changing, "settings") == before
