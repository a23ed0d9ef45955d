"""Machines that ran the original, or a former version, moved over by the commands of the documentation."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import original_tree
import pytest
from conftest import BuildUpdate
from guestkit import ADMIN, TOKEN, Guest, booted, enter
from original_tree import access
from walks import commands

from jidoteki.core.appliance import Appliance
from jidoteki.testing import wait_until

ETC = "/usr/local/etc"
CONFIGURATION = {
    "endpoints": ["settings", "certs", "license", "storage", "backup"],
    "first-run": {"enabled": True, "word-length": 4},
}
#: The vendor's own scripts as they are for the original, which it calls by wrapper.sh and sudo.
SCRIPTS = {
    "wrapper.sh": "#!/bin/sh\nexec $JIDO_ADMIN_PATH/bin/$1\n",
    "update_vm.sh": "echo not called any more\n",
    "network.sh": f'#!/bin/sh\n. {ETC}/network.conf\necho "$1 $hostname $(id -un)" >/root/network\n',
    "license.sh": '#!/bin/sh\nset -e\ntest -s "$JIDO_ADMIN_PATH/etc/license.asc"\necho \'{"app":"enterprise"}\'\n',
}
#: The original itself: all that counts is that it holds the port.
LISTENS = "import socket, time; kept = socket.create_server(('', 8443)); time.sleep(1000)"
#: What whoever has taken the service over leaves for the day when the original comes back.
TAKEN_OVER = f"""
ln -sf /etc/own {ADMIN}/log/linked.log
cd {ADMIN}/etc
rm -rf debug.txt updates.*
echo 'touch /root/planted' >debug.txt
mkdir updates.pub updates.key
"""
#: A file's name that is a command where it is put between quotes.
ODD = "x';touch pwned;'"
#: Of a machine whose service was given root's rights by a prefix to its commands.
PREFIXED = {
    "endpoints": ["settings", "certs", "tokens"],
    "authentication": {"named-tokens": True},
    "commands": {"prefix": ["sudo", "-n"], "reboot": ["reboot"]},
}


def make_original(tree: Path, vendor: Path) -> Appliance:
    """Make of a tree of Debian the machine that the original leaves."""
    _make_room_for_ids(tree)
    appliance = Appliance(tree)
    make_certificate(appliance)
    original_tree.make(appliance)
    admin, configuration = original_tree.ADMIN, appliance.configuration
    made = {appliance.bin / name: (0o750, text) for name, text in SCRIPTS.items()}
    made |= {appliance.etc / name: (0o640, (vendor / name).read_text()) for name in ("updates.key", "updates.pub")}
    made |= {appliance.etc / "version.txt": (0o644, "1.0.0\nbuilt somewhere\n")}
    made |= {configuration: (0o640, json.dumps(CONFIGURATION))}
    for path, (mode, text) in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, 0, admin)
    (appliance.data / "app").mkdir(parents=True)
    (appliance.data / "app/state").write_text("the application's")
    (appliance.data / "app/state").chmod(0o640)
    for path in (appliance.data, appliance.data / "app", appliance.data / "app/state", appliance.uploads.parent):
        os.chown(path, admin, admin)
    return appliance


def _make_room_for_ids(tree: Path) -> None:
    """Give the original's users and groups their names, and others who have their numbers here other ones."""
    enter(
        tree,
        "sh",
        "-ec",
        f"""
        for id in {original_tree.ADMIN} {original_tree.SFTP}; do
            name=$(getent group $id | cut -d: -f1)
            groupmod --gid $((id - 40)) $name
            find / -xdev -gid $id -exec chgrp --no-dereference $name {{}} +
            name=$(getent passwd $id | cut -d: -f1)
            [ -z "$name" ] && continue
            usermod --uid $((id - 40)) --gid $((id - 40)) $name
            find / -xdev -uid $id -exec chown --no-dereference $name {{}} +
        done
        groupadd --gid {original_tree.ADMIN} tinyadmin
        useradd --uid {original_tree.ADMIN} --gid {original_tree.ADMIN} --no-create-home tinyadmin
        groupadd --gid {original_tree.SFTP} sftp
        useradd --uid {original_tree.SFTP} --gid {original_tree.SFTP} --no-create-home sftp
        """,
    )


def make_certificate(appliance: Appliance) -> None:
    """Make the certificate of an appliance with the programs that the original has."""
    tls = appliance.system_etc / "pki/tls"
    for name in ("private", "certs"):
        (tls / name).mkdir(parents=True)
    key, certificate = tls / "private/enterprise.key", tls / "certs/enterprise.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=guest", "-addext",
         "subjectAltName=DNS:guest", "-days", "3000", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    (tls / "enterprise.pem").write_text(key.read_text() + certificate.read_text())


@pytest.fixture
def original(bare: Path, deb: Path, vendor: Path) -> Iterator[Guest]:
    """A guest with the tree of the original, which runs, and the package in a directory of root's."""
    make_original(bare, vendor)
    bring(deb, bare)
    with booted(bare) as guest:
        start_original(guest)
        yield guest


def bring(deb: Path, tree: Path) -> None:
    """Put the package into a directory of root's, alone there."""
    (tree / "root/product").mkdir()
    (tree / "root/product" / deb.name).write_bytes(deb.read_bytes())


def start_original(guest: Guest) -> None:
    guest.sh(f'systemd-run --quiet --unit original python3 -c "{LISTENS}"')
    wait_until(lambda: ":8443" in guest.sh("ss -Hltn"))


def perform(guest: Guest, page: str, *headings: str) -> str:
    """Perform the commands below these headings in one shell, and return what they say."""
    blocks = [block for heading in headings for block in commands(page, heading)]
    return guest.sh("\n".join(("cd /root/product", *blocks)), timeout=240)


def accesses(guest: Guest) -> dict[str, tuple[int, int, str]]:
    """Owner, group and mode of all that the original has."""
    below: dict[str, Iterable[str]] = {
        ADMIN: original_tree.FILES,
        ETC: original_tree.SYSTEM_FILES,
        f"{ETC}/pki/tls": original_tree.TLS,
    }
    names = [f"{place}/{name}" for place, files in below.items() for name in files]
    names += [f"{ADMIN}/{name}" for name in ("", "etc", "log", "bin", "home/sftp/uploads", "etc/updates.key")]
    names += [f"{ADMIN}/bin/{name}" for name in SCRIPTS]
    return {name: access(guest.path(name)) for name in [*names, f"{ETC}/jidoteki-admin-api.json", ETC]}


def assert_all_is_there(guest: Guest) -> None:
    assert json.loads(guest.request("GET", "/settings")[1]) == {
        "network": original_tree.NETWORK,
        "app": original_tree.APP,
    }
    storage = json.loads(guest.request("GET", "/storage")[1])["storage"]
    assert (storage["type"], storage["ip"]) == ("iscsi", "10.0.0.3")
    assert json.loads(guest.request("GET", "/license")[1]) == {"app": "enterprise"}
    assert json.loads(guest.request("GET", "/backup")[1])["filesize"] == "12.0K"
    assert guest.request("GET", "/certs")[0] == 200
    sha256 = guest.sh(
        f"curl -sk -H 'Authorization: Bearer {TOKEN}' https://127.0.0.1:8443/api/v1/admin/backup/download | sha256sum"
    )
    assert sha256.split()[0] in original_tree.FILES["home/sftp/uploads/backup.json"][3]
    assert json.loads(guest.request("GET", "/version")[1]) == {"version": "1.0.0"}


def test_a_machine_of_the_original_goes_on_and_back(original: Guest, build_update: BuildUpdate) -> None:
    guest = original
    before, debug = accesses(guest), guest.path(f"{ADMIN}/etc/debug.txt").read_text()
    for odd in (f"{ADMIN}/log/{ODD}", f"{ADMIN}/home/sftp/uploads/{ODD}", f"{ADMIN}/log/linked.log", "/etc/own"):
        guest.path(odd).touch(0o600)
    guest.path(f"{ADMIN}/log/linked.log").chmod(0o604)
    guest.sh("systemctl stop original")

    said = perform(guest, "migration.md", "On Debian")

    assert "error" not in said
    wait_until(guest.serves)
    assert guest.show("User") == "jidoteki"
    assert_all_is_there(guest)
    assert_it_works(guest, build_update)
    assert guest.request("POST", "/backup", "-F", "action=START")[0] == 202
    assert guest.wait_for_job("/backup")["status"] == "success"
    assert_the_originals_users_go_on(guest, build_update)
    guest.run(*as_user("jidoteki"), "sh", "-ec", TAKEN_OVER)
    for _ in range(2):
        perform(guest, "migration.md", "Back to the original")
    assert accesses(guest) == before
    assert guest.path(f"{ADMIN}/etc/debug.txt").read_text() == debug
    assert not guest.sh("find / -xdev -name pwned")
    assert access(guest.path("/etc/own")) == (0, 0, "0o600")
    assert [guest.path(f"{ADMIN}/etc/updates.{each}").is_file() for each in ("key", "pub")] == [True, True]
    start_original(guest)


def assert_it_works(guest: Guest, build_update: BuildUpdate) -> None:
    """Change settings, certificates and license, make a backup, and install an update for the old keys."""
    changed = json.dumps({"network": {"interface": "eth0", "hostname": "new"}, "app": {"name": "new"}})
    assert guest.request("POST", "/settings", "-F", f"settings={changed}")[0] == 202
    wait_until(lambda: guest.path("/root/network").exists())
    assert guest.path("/root/network").read_text() == "dhcp new root\n"
    tls = guest.path(f"{ETC}/pki/tls")
    before = {name: access(tls / name)[1:] for name in original_tree.TLS}
    guest.sh("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=new -addext subjectAltName=DNS:new -keyout k -out c")
    assert guest.request("POST", "/certs", "-F", "public=@/c", "-F", "private=@/k")[0] == 202
    assert guest.wait_for_job("/certs")["status"] == "success"
    assert {name: access(tls / name)[1:] for name in original_tree.TLS} == before
    assert_updates(guest, build_update)


def as_user(name: str) -> tuple[str, ...]:
    return "setpriv", "--reuid", name, "--regid", name, "--clear-groups"


def assert_the_originals_users_go_on(guest: Guest, build_update: BuildUpdate) -> None:
    """As the users of the original's tools write health and read settings, and bring a package by SFTP."""
    reads = f"cat {ADMIN}/etc/network.json {ETC}/network.conf {ADMIN}/log/update.log >/dev/null"
    script = f"echo '{{\"mine\":1}}' >{ADMIN}/etc/health.json; {reads}"
    guest.run(*as_user("tinyadmin"), "sh", "-ec", script)
    assert json.loads(guest.request("GET", "/health")[1]) == {"mine": 1}
    update = build_update("#!/bin/sh\n")
    guest.path("/root/update.enc").write_bytes(update.path.read_bytes())
    target = f"{ADMIN}/home/sftp/uploads/software_package-2.enc"
    guest.run(*as_user("sftp"), "sh", "-ec", f"umask 027; cat >{target}", input="")
    guest.sh(f"cat /root/update.enc >{target}")
    assert "The update was installed" in guest.run("jidoteki", "update").stdout
    assert guest.path(f"{ADMIN}/etc/version.txt").read_text() == f"{update.version}\n"


def make_former(tree: Path, vendor: Path) -> Appliance:
    """Make of a tree of Debian what a version left whose service owned everything."""
    appliance = Appliance(tree)
    for directory in (appliance.bin, appliance.etc, appliance.log, appliance.jobs, appliance.tmp, appliance.spool):
        directory.mkdir(parents=True)
    for directory in (appliance.uploads, appliance.system_etc / "pki", appliance.data):
        directory.mkdir(parents=True)
    made = {appliance.etc / name: (vendor / name).read_text() for name in ("updates.key", "updates.pub")}
    made |= {appliance.bin / "network.sh": SCRIPTS["network.sh"], appliance.etc / "version.txt": "1.0.0\n"}
    made |= {appliance.etc / "api.token": TOKEN, appliance.configuration: json.dumps(PREFIXED)}
    for path, text in made.items():
        path.write_text(text)
        path.chmod(0o600)
    own = f"{ADMIN} {ETC} /data"
    enter(tree, "sh", "-ec", f"useradd --system --user-group --no-create-home jidoteki; chown -R jidoteki: {own}")
    return appliance


def test_a_machine_of_a_former_version_goes_on(bare: Path, deb: Path, vendor: Path, build_update: BuildUpdate) -> None:
    make_former(bare, vendor)
    bring(deb, bare)

    with booted(bare) as guest:
        said = perform(guest, "vendors.md", "From a former version")

        assert "error" not in said
        assert "prefix" not in said
        wait_until(guest.serves)
        assert_it_works(guest, build_update)


#: What whoever has taken the service over leaves for the day when all runs as root.
PLANTED = f"""
setsid sleep 1000 </dev/null >/dev/null 2>&1 &
chmod 777 {ADMIN}/etc
rm -rf {ADMIN}/etc/updates.pub.d
mkdir {ADMIN}/etc/updates.pub.d
cp {ADMIN}/keys/updates.pub {ADMIN}/etc/updates.pub.d/planted.pub
echo 'touch /root/planted' >>{ADMIN}/etc/debug.txt
ln -f {ADMIN}/etc/debug.txt {ADMIN}/etc/second
ln -f {ADMIN}/etc/debug.txt {ADMIN}/log/third
"""
#: A record of root's that says nothing.
EMPTIED = f": >{ADMIN}/log/updated; mv {ADMIN}/log/updated {ADMIN}/jobs/highest-version"


def test_a_machine_for_units_becomes_one_for_root_alone_and_comes_back(
    bare: Path, deb: Path, vendor: Path, build_update: BuildUpdate
) -> None:
    further = make_former(bare, vendor).etc / "updates.pub.d"
    further.mkdir()
    for name, mode in {"secret": 0o600, "others": 0o755}.items():
        (bare / "root" / name).mkdir(mode=mode)
    os.symlink("/root/secret", bare / f"{ETC}/linked".lstrip("/"))
    os.symlink("/root/others", bare / f"{ADMIN}/keys".lstrip("/"))
    (further / "own.pub").write_text((vendor / "updates.pub").read_text())
    bring(deb, bare)
    script = f"{ETC}/init.d/jidoteki-admin-api"
    kept, moved = "/var/lib/jidoteki-job/highest-version", f"{ADMIN}/jobs/highest-version"
    with booted(bare) as guest:
        perform(guest, "vendors.md", "From a former version")
        wait_until(guest.serves)
        assert keys_of(guest, "keys") == ["own.pub"]
        assert [access(guest.path(f"/root/{name}"))[1:] for name in ("secret", "others")] == [
            (0, "0o600"),
            (0, "0o755"),
        ]
        assert guest.request("POST", "/tokens", "-F", "name=monitor", "-F", "scopes=GET /version")[0] == 200
        assert_updates(guest, build_update)
        tokens, highest = guest.request("GET", "/tokens"), guest.path(kept).read_text()
        guest.sh("systemctl stop jidoteki-admin-api; systemctl enable --now jidoteki-admin-api.socket")
        guest.run(*as_user("jidoteki"), "sh", "-ec", PLANTED)

        for _ in range(2):  # whoever is cut off begins again
            perform(guest, "vendors.md", "From units to root alone")
            guest.sh(f"mkdir -p {ADMIN}/keys")  # as each boot does
        guest.sh(f"rmdir {ADMIN}/keys")

        assert guest.run("pgrep", "-u", "jidoteki", check=False).stdout == ""
        assert access(guest.path(f"{ADMIN}/etc")) == (0, ids(guest)[1], "0o755")
        assert keys_of(guest, "etc") == ["own.pub"]
        assert not guest.path(f"{ADMIN}/keys").exists()
        assert (guest.path(moved).read_text(), guest.path(kept).exists()) == (highest, False)
        for unit in ("service", "socket"):
            said = guest.run("systemctl", "is-enabled", f"jidoteki-admin-api.{unit}", check=False).stdout
            assert said == "disabled\n"
        examples = "/usr/share/doc/jidoteki-admin-api/examples"
        guest.sh(f"install -D -m 755 {examples}/jidoteki-admin-api.initd {script}; {script} start")
        wait_until(guest.serves)
        assert (guest.request("GET", "/tokens"), tokens[0]) == (tokens, 200)
        assert guest.request("GET", "/debug", "-o", "/root/bundle")[0] == 200
        assert not guest.path("/root/planted").exists()
        assert_updates(guest, build_update)
        said = guest.run("jidoteki", "check", check=False).stdout
        assert "error:" not in said and "was installed" not in said
        unread = [line.split(":")[1].strip() for line in said.splitlines() if "does not count" in line]
        assert unread == [f"{ADMIN}/etc/logs.txt"]
        assert not guest.path(f"{ADMIN}/etc/debug.txt").exists()
        assert not list(guest.path(f"{ADMIN}/log").glob("*.log.*"))
        highest = guest.path(moved).read_text()
        guest.sh(f"{script} stop; rm {script}")

        perform(guest, "vendors.md", "From a former version")
        guest.sh("systemctl enable --now jidoteki-admin-api")
        wait_until(guest.serves)
        assert (guest.path(kept).read_text(), guest.path(moved).exists()) == (highest, False)
        assert guest.request("GET", "/tokens") == tokens
        assert_updates(guest, build_update)
        assert "error" not in guest.run("jidoteki", "check", check=False).stdout

        highest, inbox = guest.path(kept).read_text(), f"{ADMIN}/home/sftp/uploads"
        guest.run(*as_user("jidoteki"), "sh", "-ec", f"{PLANTED}{EMPTIED}")
        guest.sh(f"useradd sftp; chown sftp:jidoteki {inbox}; chmod 2775 {inbox}")
        before = access(guest.path(inbox))
        perform(guest, "vendors.md", "From a former version")
        assert keys_of(guest, "keys") == ["own.pub"]
        assert guest.path(kept).read_text() == highest
        assert access(guest.path(inbox)) == before
        assert_updates(guest, build_update)


def ids(guest: Guest) -> tuple[int, int]:
    """Return the numbers of the service's user and group."""
    return int(guest.run("id", "-u", "jidoteki").stdout), int(guest.run("id", "-g", "jidoteki").stdout)


def keys_of(guest: Guest, directory: str) -> list[str]:
    """Return the further keys of updates."""
    return sorted(each.name for each in guest.path(f"{ADMIN}/{directory}/updates.pub.d").glob("*"))


def assert_updates(guest: Guest, build_update: BuildUpdate) -> None:
    """Install an update whose script is root's."""
    update = build_update(f"#!/bin/sh\nid -un >{ADMIN}/log/updated\n")
    guest.path("/root/update.enc").write_bytes(update.path.read_bytes())
    assert guest.request("POST", "/update", "-F", "update=@/root/update.enc")[0] == 202
    assert guest.wait_for_job("/update")["status"] == "success"
    assert guest.path(f"{ADMIN}/log/updated").read_text() == "root\n"
    assert guest.path(f"{ADMIN}/etc/version.txt").read_text() == f"{update.version}\n"
