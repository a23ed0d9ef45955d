"""The service under systemd: starts, stops, kills, and jobs that outlive them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from conftest import BuildUpdate, Update
from guestkit import ADMIN, SERVICE, Guest

from jidoteki.testing import wait_until

#: Takes long enough for what is done to the service meanwhile.
SLOW = (
    "#!/bin/sh\necho begun\ntouch $JIDO_ADMIN_PATH/log/begun\nsleep 4\necho {version} >$JIDO_ADMIN_PATH/log/updated\n"
)


def begin_update(guest: Guest, update: Update) -> None:
    """Send a package, and wait until its script runs."""
    guest.path(f"{ADMIN}/log/begun").unlink(missing_ok=True)
    guest.path("/root/update.enc").write_bytes(update.path.read_bytes())
    status, body = guest.request("POST", "/update", "-F", "update=@/root/update.enc")
    assert status == 202, body
    wait_until(guest.path(f"{ADMIN}/log/begun").exists)


def assert_updated(guest: Guest, update: Update) -> None:
    assert guest.wait_for_job("/update")["status"] == "success"
    assert guest.path(f"{ADMIN}/log/updated").read_text().strip() == update.version
    assert guest.path(f"{ADMIN}/etc/version.txt").read_text().strip() == update.version


def test_an_update_is_installed(guest: Guest, build_update: BuildUpdate) -> None:
    update = build_update(SLOW)
    begin_update(guest, update)

    assert_updated(guest, update)


@pytest.mark.short
def test_an_update_outlives_a_restart_of_the_service(guest: Guest, build_update: BuildUpdate) -> None:
    update = build_update(SLOW)
    begin_update(guest, update)
    before = guest.main_pid

    guest.run("systemctl", "restart", SERVICE)

    assert guest.main_pid != before
    assert_updated(guest, update)


def test_an_update_outlives_a_kill_of_the_service(guest: Guest, build_update: BuildUpdate) -> None:
    update = build_update(SLOW)
    begin_update(guest, update)
    before = guest.main_pid

    guest.run("kill", "-KILL", str(before))

    wait_until(lambda: guest.show("MainPID") not in ("0", str(before)))
    assert_updated(guest, update)


def test_an_update_outlives_an_upgrade_of_the_product(guest: Guest, build_update: BuildUpdate) -> None:
    update = build_update(SLOW)
    begin_update(guest, update)
    before = guest.main_pid

    guest.run("dpkg", "-i", "/root/product.deb", timeout=180)

    assert guest.main_pid != before
    assert_updated(guest, update)


@pytest.mark.short
def test_it_stops_within_two_seconds(guest: Guest) -> None:
    started = time.monotonic()

    guest.run("systemctl", "stop", SERVICE)

    assert time.monotonic() - started < 2
    assert (guest.show("Result"), guest.show("ExecMainStatus")) == ("success", "0")


def test_it_serves_where_its_configuration_is_lost_with_its_directory(guest: Guest) -> None:
    guest.sh(f"systemctl stop {SERVICE}; mv /usr/local/etc /usr/local/lost")
    try:
        guest.run("systemctl", "start", SERVICE)

        assert guest.serves()
    finally:
        guest.sh(f"systemctl stop {SERVICE}; rm -rf /usr/local/etc; mv /usr/local/lost /usr/local/etc")
        guest.run("systemctl", "start", SERVICE)


#: Mounts a file system of a process, which answers the first question, of the kernel itself, and then nothing.
MOUNTED = """
import ctypes, os, struct, sys, time
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
if ctypes.CDLL(None).mount(b"fuse", b"/data", b"fuse", 0, options.encode()):
    sys.exit("not mounted")
unique, = struct.unpack_from("=Q", os.read(fuse, 1 << 17), 8)
init = struct.pack("=IIIIHHIIHHI", 7, 31, 1 << 16, 0, 12, 10, 1 << 16, 1, 32, 0, 0) + bytes(24)
os.write(fuse, struct.pack("=IiQ", 16 + len(init), 0, unique) + init)
os.close(os.open("/root/mounted", os.O_CREAT))
time.sleep(1000)
"""


@pytest.fixture(params=["dead", "hangs"])
def broken_data(request: pytest.FixtureRequest, guest: Guest) -> Iterator[str]:
    """What is mounted on /data: its process is gone, and who looks there is told so; or nobody ever answers."""
    guest.path("/root/mount.py").write_text(MOUNTED)
    guest.sh("[ -e /dev/fuse ] || mknod /dev/fuse c 10 229; rm -f /root/mounted")
    guest.sh("systemd-run --quiet --unit broken-data python3 /root/mount.py")
    mounted = guest.path("/root/mounted")
    wait_until(lambda: mounted.exists() or guest.sh("systemctl is-failed broken-data || true") == "failed\n")
    if not mounted.exists():
        pytest.skip("no file system of a process can be mounted here")
    if request.param == "dead":
        guest.sh("systemctl stop broken-data")
    yield request.param
    guest.sh(f"systemctl stop broken-data || true; umount -l /data; systemctl restart {SERVICE}")


def test_it_serves_where_the_data_are_mounted_and_broken(guest: Guest, broken_data: str) -> None:
    looked = guest.run("timeout", "2", "ls", "/data", check=False)
    assert looked.returncode == (124 if broken_data == "hangs" else 2), looked.stderr

    guest.run("systemctl", "restart", SERVICE)

    assert guest.serves()
    assert guest.request("POST", "/backup", "-F", "action=START")[0] == 202
    for path in ("/health", "/services", "/backup", "/version") * 10:
        assert guest.request("GET", path)[0] in (200, 404)
    if broken_data == "hangs":
        assert guest.request("POST", "/backup", "-F", "action=STOP")[0] == 202
    wait_until(lambda: '"running"' not in guest.request("GET", "/backup")[1])
    guest.run("timeout", "100", "dpkg", "-i", "/root/product.deb", timeout=120)
    assert guest.serves()
    guest.run("timeout", "20", "jidoteki", "provision")
    said = guest.run("timeout", "60", "jidoteki", "check", timeout=70, check=False).stdout
    assert "error: /data: every backup and restore fails: " in said


def test_a_start_returns_once_requests_are_answered(guest: Guest) -> None:
    for _ in range(3):
        guest.run("systemctl", "restart", SERVICE)

        assert guest.serves()


@pytest.mark.short
def test_a_reload_ends_once_the_configuration_is_read(guest: Guest) -> None:
    before = guest.main_pid
    configuration = guest.path("/usr/local/etc/jidoteki-admin-api.json")
    kept = configuration.read_text()
    configuration.write_text(kept.replace('"backup"', '"backup", "metrics"'))

    guest.run("systemctl", "reload", SERVICE)

    wait_until(lambda: "metrics" in guest.request("GET", "/endpoints")[1])
    assert guest.main_pid == before
    assert guest.show("ActiveState") == "active"
    configuration.write_text(kept)


def test_a_process_that_hangs_is_restarted(guest: Guest) -> None:
    guest.sh(f"""
        mkdir -p /run/systemd/system/{SERVICE}.service.d
        printf '[Service]\\nWatchdogSec=2\\n' >/run/systemd/system/{SERVICE}.service.d/watchdog.conf
        systemctl daemon-reload
        systemctl restart {SERVICE}
    """)
    before = guest.main_pid
    time.sleep(4)
    assert guest.main_pid == before

    guest.run("kill", "-STOP", str(before))

    wait_until(lambda: guest.show("MainPID") not in ("0", str(before)), 30)
    wait_until(guest.serves)
    assert "Watchdog timeout" in guest.journal()
    guest.sh(f"rm -r /run/systemd/system/{SERVICE}.service.d; systemctl daemon-reload; systemctl restart {SERVICE}")
    assert guest.show("WatchdogUSec") == "30s"


#: Uses /tmp and /var/tmp before and after the restart that comes while it runs.
KEEPS = """#!/bin/sh
set -e
echo {version} >/tmp/kept
echo {version} >/var/tmp/kept
touch $JIDO_ADMIN_PATH/log/begun
sleep 4
new=$(mktemp)
cat /tmp/kept >$new
cmp /tmp/kept /var/tmp/kept
cat $new >$JIDO_ADMIN_PATH/log/updated
"""


@pytest.fixture
def sandboxed(guest: Guest) -> Iterator[Guest]:
    """A guest whose jobs are processes of the service's, in its sandbox."""
    path = guest.path("/usr/local/etc/jidoteki-admin-api.json")
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "jobs": {}}))
    guest.run("systemctl", "restart", SERVICE)
    yield guest
    path.write_text(before)
    guest.run("systemctl", "restart", SERVICE)


def keeps_its_files_over_a_restart(guest: Guest, update: Update) -> bool:
    """Assert that a script has them after a restart, and return whether they are in the machine's directories."""
    guest.sh(f"rm -f /tmp/kept /var/tmp/kept {ADMIN}/log/updated")  # that of root, too
    begin_update(guest, update)

    guest.run("systemctl", "restart", SERVICE)

    assert_updated(guest, update)
    return not guest.run("ls", "/tmp/kept", "/var/tmp/kept", check=False).returncode


def test_a_script_of_roots_keeps_its_temporary_files_over_a_restart(guest: Guest, build_update: BuildUpdate) -> None:
    assert keeps_its_files_over_a_restart(guest, build_update(KEEPS))


def test_a_script_in_the_sandbox_keeps_its_temporary_files_over_a_restart(
    sandboxed: Guest, build_update: BuildUpdate
) -> None:
    assert not keeps_its_files_over_a_restart(sandboxed, build_update(KEEPS))


#: What `apt upgrade` does to a machine whose systemd, D-Bus and polkit come in new versions, and to the service itself.
UPGRADES = f"""#!/bin/sh
set -e
touch $JIDO_ADMIN_PATH/log/begun
for round in 1 2 3; do
    systemctl daemon-reexec
    systemctl restart polkit
    systemctl restart dbus
    systemctl daemon-reload
    systemctl restart {SERVICE}
    systemctl daemon-reexec
    sleep 1
done
systemctl stop dbus.socket dbus
systemctl restart {SERVICE}
sleep 3
systemctl start dbus
echo {{version}} >$JIDO_ADMIN_PATH/log/updated
"""


def test_an_update_goes_on_while_it_restarts_all_that_leads_to_it(guest: Guest, build_update: BuildUpdate) -> None:
    update = build_update(UPGRADES)
    begin_update(guest, update)
    seen: set[tuple[int, str]] = set()

    def has_ended() -> bool:
        status, body = guest.request("GET", "/update")
        if status:  # while the service restarts, nobody answers
            seen.add((status, json.loads(body)["status"]))
        return bool(seen - {(200, "running")})

    wait_until(has_ended, 60, 0.1)
    assert seen == {(200, "running"), (200, "success")}, guest.journal(60)
    assert_updated(guest, update)


@pytest.fixture
def bus(guest: Guest) -> Iterator[str]:
    """The number of the bus's process, which goes on in the end."""
    pid = guest.sh("systemctl show --value --property MainPID dbus").strip()
    yield pid
    guest.run("kill", "-CONT", pid)


def test_what_needs_the_bus_says_so_soon_where_it_hangs(guest: Guest, build_update: BuildUpdate, bus: str) -> None:
    update = build_update(SLOW)
    guest.path("/root/update.enc").write_bytes(update.path.read_bytes())
    guest.run("kill", "-STOP", bus)

    guest.run("timeout", "60", "systemctl", "restart", SERVICE, timeout=70)

    assert guest.request("GET", "/version")[0] == 200
    started = time.monotonic()
    status, body = guest.request("POST", "/update", "-F", "update=@/root/update.enc")
    assert (status, time.monotonic() - started < 40) == (400, True), body
    assert "systemd does not answer" in body
    guest.run("kill", "-CONT", bus)
    begin_update(guest, update)
    assert_updated(guest, update)


def test_a_job_that_cannot_be_cancelled_because_the_bus_hangs_is_cancelled_later(guest: Guest, bus: str) -> None:
    guest.sh("mkdir -p /data/app; head -c 300M /dev/zero >/data/app/large")
    assert guest.request("POST", "/backup", "-F", "action=START")[0] == 202
    guest.sh("until pkill -STOP -f 'core.jobs.[h]elper'; do :; done")
    guest.run("kill", "-STOP", bus)

    status, body = guest.request("POST", "/backup", "-F", "action=STOP")

    assert (status, "systemd does not answer" in body) == (400, True), body
    guest.run("kill", "-CONT", bus)
    assert guest.request("POST", "/backup", "-F", "action=STOP")[0] == 202
    guest.run("rm", "/data/app/large")


def test_it_serves_where_the_administration_tree_has_gone(guest: Guest) -> None:
    guest.sh(f"systemctl stop {SERVICE}; mv {ADMIN} /root/kept-tree")
    try:
        guest.run("systemctl", "start", SERVICE)

        assert guest.request("GET", "/version")[0]
    finally:
        guest.sh(f"systemctl stop {SERVICE}; rm -rf {ADMIN}; mv /root/kept-tree {ADMIN}; systemctl start {SERVICE}")
    assert guest.serves()
