"""Jobs that root runs in units of their own, for a service that is an ordinary user in a sandbox."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BuildUpdate
from guestkit import ADMIN, SERVICE, TOKEN, Guest
from test_running import assert_updated, begin_update
from walks import commands

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import wait_until

NETWORK = {"interface": "eth0", "hostname": "box"}
CONF = "/usr/local/etc/network.conf"

#: Says who runs it and where, and does what root alone may.
AS_ROOT = """#!/bin/sh
touch $JIDO_ADMIN_PATH/log/begun
exec >$JIDO_ADMIN_PATH/log/seen
id -u; id -ru; id -G; cat /proc/self/oom_score_adj; readlink /proc/self/ns/mnt; readlink /proc/1/ns/mnt
sed -n 's/^CapEff:.*[0-9a-f]/full/p; s/^NoNewPrivs:.//p' /proc/self/status; pwd; grep ^0: /proc/self/cgroup
echo {version} >/etc/written-by-update
echo {version} >$JIDO_ADMIN_PATH/log/updated
"""

#: Leaves a process behind that left its session and ignores SIGTERM.
LEAVING = """#!/bin/sh
touch $JIDO_ADMIN_PATH/log/begun
trap '' TERM
setsid sleep 4711 &
{then}
"""


def write_script(guest: Guest, name: str, script: str) -> None:
    path = guest.path(f"{ADMIN}/bin/{name}")
    path.write_text(script)
    path.chmod(0o755)


@pytest.fixture
def scripts(guest: Guest) -> Iterator[Guest]:
    """A guest whose scripts are removed at the end."""
    yield guest
    guest.sh(f"rm -f {ADMIN}/bin/*")


def change_settings(guest: Guest) -> dict[str, object]:
    """Change the settings, and return how that went."""
    posted = json.dumps({"network": NETWORK, "app": {"name": "value"}})
    status, body = guest.request("POST", "/settings", "-F", f"settings={posted}", "-D", "/root/headers")
    assert status == 202, body
    id = next(line.split()[1] for line in guest.path("/root/headers").read_text().splitlines() if "ob-" in line)
    return guest.wait_for_job(f"/jobs/{id}")


def left_behind(guest: Guest) -> str:
    return guest.sh("pgrep -f 'sleep 471[1]' || true")


def test_an_update_runs_as_root_in_a_unit_of_its_own(guest: Guest, build_update: BuildUpdate) -> None:
    """It sees the machine as it is, /lib/modules included, so that it may install a kernel."""
    update = build_update(AS_ROOT)

    begin_update(guest, update)

    assert_updated(guest, update)
    seen = guest.path(f"{ADMIN}/log/seen").read_text().splitlines()
    assert seen[:4] == ["0", "0", "0", "0"]
    assert seen[4] == seen[5]
    assert seen[6:9] == ["full", "0", "/var/lib/jidoteki-job/update"]
    assert "/system.slice/jidoteki-job@" in seen[9]
    assert guest.path("/etc/written-by-update").read_text().strip() == update.version


def test_what_a_job_leaves_is_the_services(guest: Guest, build_update: BuildUpdate) -> None:
    update = build_update(AS_ROOT)
    begin_update(guest, update)
    assert_updated(guest, update)

    assert guest.sh(f"find {ADMIN}/jobs {ADMIN}/spool {ADMIN}/tmp -user root") == ""
    left = f"ls {ADMIN}/tmp /var/lib/jidoteki-job/runs | grep [0-9] || true"
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not guest.sh(left))
    assert guest.sh(left) == ""
    assert not guest.path("/var/lib/jidoteki-job/update").exists()


def test_the_service_reads_what_an_update_put_there_for_it(guest: Guest, build_update: BuildUpdate) -> None:
    """With the umask of the original, and moved or copied there without a thought of modes."""
    script = """#!/bin/sh
set -e
touch $JIDO_ADMIN_PATH/log/begun
echo {version} >$JIDO_ADMIN_PATH/log/updated
mkdir $JIDO_KEYS/updates.pub.d
cp $JIDO_KEYS/updates.pub $JIDO_KEYS/updates.pub.d/new.pub
mv other.pub $JIDO_KEYS/updates.pub
echo "# none" >$JIDO_KEYS/updates.revoked
cp build.json $JIDO_ETC/build.json
cp license.sh $JIDO_ADMIN_PATH/bin/license.sh
touch $JIDO_KEYS/of-the-vendor
site=$(/opt/jidoteki/venv/bin/python3 -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir $site/of_a_plugin && touch $site/of_a_plugin/__init__.py
"""
    key = guest.path(f"{ADMIN}/keys/updates.pub").read_text()
    others = {"other.pub": key, "build.json": '{{"built":"{version}"}}', "license.sh": "echo '{{}}'\n"}
    update = build_update(script, others)

    begin_update(guest, update)
    assert_updated(guest, update)
    try:
        keys = f"{ADMIN}/keys"
        read = f"cat {keys}/updates.pub {keys}/updates.pub.d/*.pub {keys}/updates.revoked {ADMIN}/bin/license.sh"
        assert guest.request("GET", "/build")[1] == json.dumps({"built": update.version}, separators=(",", ":"))
        assert guest.request("GET", "/debug", "-o", "/dev/null")[0] == 200
        assert "updates" not in guest.run("jidoteki", "check", check=False).stdout
        as_service = "setpriv --reuid jidoteki --regid jidoteki --init-groups"
        guest.sh(f"{as_service} {read}")
        guest.sh(f"{as_service} /opt/jidoteki/venv/bin/python3 -I -c 'import of_a_plugin'")
        assert guest.sh(f"stat -c %U:%G:%a {keys}/of-the-vendor") == "root:root:640\n"
    finally:
        guest.sh(f"rm -rf {keys}/updates.pub.d {keys}/updates.revoked {ADMIN}/bin/* /usr/local/etc/build.json")
        guest.sh("rm -rf /opt/jidoteki/venv/lib/python3*/site-packages/of_a_plugin")


#: A plugin of one file.
PROBE = """
from jidoteki.hookspecs import Endpoint, JsonResponse, hookimpl

async def show(request):
    return JsonResponse({{"probed": True}})

@hookimpl
def jidoteki_endpoints():
    return [Endpoint("GET", "/probe", show)]
"""


def test_a_one_file_plugin_that_an_update_brings_is_served(guest: Guest, build_update: BuildUpdate) -> None:
    script = """#!/bin/sh
set -e
touch $JIDO_ADMIN_PATH/log/begun
echo {version} >$JIDO_ADMIN_PATH/log/updated
mkdir $JIDO_ETC/plugins
cp probe.py $JIDO_ETC/plugins
"""
    path = guest.path(CONFIGURATION)
    kept = path.read_text()
    configuration = json.loads(kept)
    more = {"plugin-directory": "usr/local/etc/plugins", "endpoints": [*configuration["endpoints"], "probe"]}
    path.write_text(json.dumps(configuration | more))
    guest.run("systemctl", "reload", SERVICE)
    try:
        update = build_update(script, {"probe.py": PROBE})
        begin_update(guest, update)
        assert_updated(guest, update)
        guest.run("systemctl", "reload", SERVICE)

        wait_until(lambda: guest.request("GET", "/probe")[1] == '{"probed":true}')
    finally:
        path.write_text(kept)
        guest.sh(f"rm -rf /usr/local/etc/plugins; systemctl reload {SERVICE}")


def test_the_service_may_not_write_what_an_update_put_there_for_it(guest: Guest, build_update: BuildUpdate) -> None:
    """What root's group may write to, root's jobs import: a plugin that was unpacked with the modes of its archive."""
    script = """#!/bin/sh
set -e
umask 007
touch $JIDO_ADMIN_PATH/log/begun
echo {version} >$JIDO_ADMIN_PATH/log/updated
site=$(/opt/jidoteki/venv/bin/python3 -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir $site/of_a_plugin && touch $site/of_a_plugin.py
chmod g+s $site/of_a_plugin
touch $JIDO_ADMIN_PATH/bin/license.sh
"""
    update = build_update(script)

    begin_update(guest, update)
    assert_updated(guest, update)
    try:
        put = f"/opt/jidoteki/venv/lib/python3*/site-packages/of_a_plugin* {ADMIN}/bin/license.sh"
        assert guest.sh(f"stat -c %U:%G:%a {put}").split() == [
            "root:jidoteki:750",
            "root:jidoteki:640",
            "root:jidoteki:640",
        ]
    finally:
        guest.sh(f"rm -rf {put}")


@pytest.mark.parametrize("name", ["updates.key", "updates.pub", "updates.revoked", "updates.pub.d"])
def test_what_to_do_about_a_key_that_the_service_cannot_read_is_told(guest: Guest, name: str) -> None:
    keys = f"{ADMIN}/keys"
    guest.sh(f"chmod 644 {keys}/updates.pub; install -D -m 644 -t {keys}/updates.pub.d {keys}/updates.pub")
    guest.sh(f"echo '# none' >{keys}/updates.revoked; chmod 644 {keys}/updates.revoked")
    guest.sh(f"chgrp -R root {keys}/{name}; chmod -R go-rwx {keys}/{name}")
    try:
        said = guest.run("jidoteki", "check", check=False).stdout
        told = next(line for line in said.splitlines() if "Permission denied" in line and name in line)
        advice = said.partition(told)[2].strip().splitlines()[0]
        guest.sh(advice.removeprefix("Run: "))

        assert "Permission denied" not in guest.run("jidoteki", "check", check=False).stdout
    finally:
        guest.sh(f"rm -r {keys}/updates.pub.d {keys}/updates.revoked; chmod 644 {keys}/updates.pub")


def test_a_debug_bundle_tells_what_support_asks_first(guest: Guest, vendor: Path, tmp_path: Path) -> None:
    assert guest.request("GET", "/debug", "-o", "/root/debug-bundle.tar")[0] == 200
    command: list[str | Path] = [Path(sys.executable).with_name("jidoteki"), "debug-bundle", "open"]
    subprocess.run(
        [*command, guest.path("/root/debug-bundle.tar"), "--key", vendor / "private.pem", "-o", tmp_path / "bundle"],
        check=True,
    )

    told = {}
    for path in (tmp_path / "bundle/debug").glob("debug-*.log"):
        first, _, rest = path.read_text().partition("\n")
        told[first] = rest
    assert "127.0.0.1/8" in told["Running: ip address; ip route; ip -6 route; cat /etc/resolv.conf"]
    assert f"{SERVICE}.service" in next(each for line, each in told.items() if "list-units" in line)
    assert SERVICE in told["Running: dpkg-query --show"]
    check = next(each for line, each in told.items() if "jidoteki check" in line)
    assert "network.sh" in check and "error" not in check


@contextlib.contextmanager
def kept_by(guest: Guest, command: list[str]) -> Iterator[None]:
    """Have root keep what changes, a license among it, by a command."""
    path = guest.path("/usr/local/etc/jidoteki-admin-api.json")
    former = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(former), "endpoints": ["license"], "commands": {"persist": command}}))
        reload(guest, serving_license=True)
        write_script(guest, "license.sh", "#!/bin/sh\necho '{}'\n")
        yield
    finally:
        path.write_text(former)
        reload(guest, serving_license=False)
        guest.sh(f"rm -f {ADMIN}/etc/license.asc")


def reload(guest: Guest, serving_license: bool) -> None:
    """Have the configuration read, and wait until it is in force."""
    guest.sh("systemctl reload jidoteki-admin-api")
    wait_until(lambda: ("/license" in guest.request("GET", "/endpoints")[1]) == serving_license)


def test_root_keeps_a_license_that_the_service_stored(scripts: Guest) -> None:
    """Its job runs as the service's user, who cannot run what keeps data."""
    with kept_by(scripts, ["/bin/sh", "-c", "sleep 1; id -u >>/root/kept"]):
        status, body = scripts.request("POST", "/license", "-F", "license=a license")

        assert (status, body) == (200, "{}")
        assert scripts.path("/root/kept").read_text() == "0\n"


def test_a_license_that_root_cannot_keep_is_no_success(scripts: Guest) -> None:
    with kept_by(scripts, ["/bin/sh", "-c", "exit 3"]):
        status, body = scripts.request("POST", "/license", "-F", "license=a license")

        told = json.loads(body)
        assert (status, told["Error-Message"]) == (
            400,
            "The change is in force, but the persist command failed with exit status 3",
        )


def test_the_service_begins_while_root_keeps_what_ended_without_it(scripts: Guest) -> None:
    """What keeps data may take longer than systemd waits for the service, which would be killed again and again."""
    with kept_by(scripts, ["/bin/sh", "-c", "touch /root/keeping; while [ -e /root/keeping ]; do sleep 0.1; done"]):
        write_script(scripts, "license.sh", f"#!/bin/sh\ntouch {ADMIN}/log/begun; sleep 2; echo '{{}}'\n")
        post = f"curl -sk -H 'Authorization: Bearer {TOKEN}' -F license=one https://127.0.0.1:8443{PREFIX}/license"
        scripts.sh(f"rm -f {ADMIN}/log/begun; {post} >/dev/null 2>&1 &")
        wait_until(scripts.path(f"{ADMIN}/log/begun").exists)
        scripts.sh(f"systemctl kill --signal KILL --kill-whom main {SERVICE}; systemctl stop {SERVICE}")
        wait_until(lambda: not scripts.sh("pgrep -f 'jobs[.]runner' || true"))
        try:
            scripts.run("systemctl", "start", "--no-block", SERVICE)

            wait_until(scripts.path("/root/keeping").exists)
            wait_until(scripts.serves, 10)
            assert scripts.path("/root/keeping").exists()
        finally:
            scripts.sh("rm -f /root/keeping")
        assert scripts.wait_for_job("/jobs/" + last_run(scripts, "persist"))["status"] == "success"
        wait_until(lambda: not scripts.sh(f"ls {ADMIN}/jobs | grep untold || true"))


def last_run(guest: Guest, job_type: str) -> str:
    """Return the id of the last run of a type."""
    return Path(guest.sh(f"ls {ADMIN}/jobs/*-{job_type}.json | tail -n 1").strip()).stem


#: A package of Debian with a file of its configuration, in two versions.
DEBIAN_PACKAGES = """
cd /root && mkdir -p app/DEBIAN app/etc
echo /etc/app.conf >app/DEBIAN/conffiles
for version in 1 2; do
  fields='Package: app\\nVersion: %s\\nArchitecture: all\\nMaintainer: m\\nDescription: d\\n'
  printf "$fields" $version >app/DEBIAN/control
  echo $version >app/etc/app.conf
  dpkg-deb --root-owner-group --build app app-$version.deb
done
dpkg --install app-1.deb
echo changed here >/etc/app.conf
dpkg --install app-2.deb </dev/null || true
dpkg --audit | grep -w app
"""


def test_the_documented_update_installs_packages_of_debian(guest: Guest, build_update: BuildUpdate) -> None:
    """Though a file of the configuration was changed, and an earlier update left such a package half configured."""
    script = commands("vendors.md", "Debian packages in an update")[0]
    log = "touch $JIDO_ADMIN_PATH/log/begun; echo {version} >$JIDO_ADMIN_PATH/log/updated; cp /root/app-2.deb .\n"
    first, _, rest = script.partition("\n")
    update = build_update(f"{first}\n{log}{rest}")
    guest.sh(DEBIAN_PACKAGES)

    begin_update(guest, update)

    assert_updated(guest, update)
    assert guest.path("/etc/app.conf").read_text() == "changed here\n"
    assert guest.sh("dpkg-query -W -f '${Version} ${Status}' app") == "2 install ok installed"
    assert guest.sh("dpkg --audit") == ""
    guest.sh("dpkg --purge app")


def test_a_dry_run_is_one_of_root_too(guest: Guest, build_update: BuildUpdate) -> None:
    update = build_update(AS_ROOT)
    guest.path("/root/update.enc").write_bytes(update.path.read_bytes())

    status, body = guest.request("POST", "/update?dry-run=1", "-F", "update=@/root/update.enc")

    assert status == 202, body
    assert json.loads(body)["to-version"] == update.version
    assert guest.sh("ls /var/lib/jidoteki-job/runs | grep dry-run || true") == ""


def test_settings_are_put_into_force_by_root(scripts: Guest) -> None:
    write_script(scripts, "network.sh", "#!/bin/sh\necho $1 $(id -u) >$JIDO_ADMIN_PATH/log/applied\n")

    assert change_settings(scripts)["status"] == "success"

    assert scripts.path(f"{ADMIN}/log/applied").read_text() == "dhcp 0\n"
    assert scripts.sh(f"stat -c '%U %a' {CONF}") == "root 644\n"
    assert json.loads(scripts.request("GET", "/settings")[1])["network"]["hostname"] == "box"


def test_root_goes_by_the_last_good_configuration_as_the_service_does(scripts: Guest) -> None:
    assert change_settings(scripts)["status"] == "success"
    configuration = scripts.path("/usr/local/etc/jidoteki-admin-api.json")
    kept = configuration.read_text()
    configuration.write_text(kept[:-9])
    try:
        assert change_settings(scripts)["status"] == "success"
    finally:
        configuration.write_text(kept)
    assert scripts.sh("stat -c '%U %a' /var/lib/jidoteki-job/last-good-configuration.json") == "root 600\n"


@pytest.mark.parametrize("former", ["HOSTNAME=old\n. /etc/more\n", None])
def test_settings_that_fail_leave_what_was_there_before(scripts: Guest, former: str | None) -> None:
    scripts.path(CONF).unlink(missing_ok=True)
    if former:
        scripts.path(CONF).write_text(former)
    write_script(scripts, "network.sh", "#!/bin/sh\nexit 3\n")

    try:
        assert change_settings(scripts)["status"] == "failed"
        assert (scripts.path(CONF).read_text() if scripts.path(CONF).exists() else None) == former
    finally:
        scripts.path(CONF).unlink(missing_ok=True)


def test_a_killed_change_of_settings_is_put_back(scripts: Guest) -> None:
    scripts.path(CONF).write_text("mode=static\n")
    write_script(scripts, "network.sh", "#!/bin/sh\ntouch $JIDO_ADMIN_PATH/log/begun\nsleep 4711\n")
    scripts.path(f"{ADMIN}/log/begun").unlink(missing_ok=True)
    posted = json.dumps({"network": NETWORK})
    assert scripts.request("POST", "/settings", "-F", f"settings={posted}")[0] == 202
    wait_until(scripts.path(f"{ADMIN}/log/begun").exists)
    assert "hostname" in scripts.path(CONF).read_text()

    scripts.sh("systemctl kill --kill-whom=main --signal=KILL 'jidoteki-job@*-settings.service'")

    wait_until(lambda: scripts.path(CONF).read_text() == "mode=static\n")
    wait_until(lambda: not left_behind(scripts))
    scripts.path(CONF).unlink()


@pytest.mark.parametrize("end", ["success", "failure", "kill", "cancel"])
def test_the_end_of_a_job_is_the_end_of_all_that_it_started(guest: Guest, build_update: BuildUpdate, end: str) -> None:
    then = {"success": f"echo {{version}} >{ADMIN}/log/updated", "failure": "exit 1"}.get(end, "sleep 60")
    update = build_update(LEAVING.replace("{then}", then))
    begin_update(guest, update)
    if end == "kill":
        guest.sh("systemctl kill --kill-whom=main --signal=KILL 'jidoteki-job@*-update.service'")
    elif end == "cancel":
        guest.sh("systemctl stop 'jidoteki-job@*-update.service'")

    next_one = build_update(AS_ROOT)
    guest.path("/root/next.enc").write_bytes(next_one.path.read_bytes())

    def is_taken() -> bool:
        status, body = guest.request("POST", "/update", "-F", "update=@/root/next.enc")
        if status == 202:
            assert not left_behind(guest)
            return True
        assert "E1004" in body
        return False

    wait_until(is_taken, 60, 0.2)
    assert guest.wait_for_job("/update")["status"] == "success"


def test_a_second_update_waits_for_all_of_the_first(guest: Guest, build_update: BuildUpdate) -> None:
    update = build_update(LEAVING.replace("{then}", "sleep 60"))
    begin_update(guest, update)
    guest.sh("systemctl kill --kill-whom=main --signal=KILL 'jidoteki-job@*-update.service'")

    status, body = guest.request("POST", "/update", "-F", "update=@/root/update.enc")

    assert left_behind(guest)
    assert (status, json.loads(body).get("error-code")) == (400, "E1004")
    assert guest.wait_for_job("/update")["status"] == "failed"
    assert not left_behind(guest)


FIREWALL = """
from jidoteki.hookspecs import Endpoint, JobType, hookimpl


async def firewall(request):
    return await request.start_job("firewall")


@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("firewall", lambda job: None, privileged=True)]


@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("POST", "/firewall", firewall)]
"""


@pytest.mark.short
def test_check_finds_a_job_of_a_plugin_that_root_does_not_run_and_its_advice_helps(guest: Guest) -> None:
    path, plugins = guest.path("/usr/local/etc/jidoteki-admin-api.json"), "/usr/local/etc/plugins"
    drop_in = "/etc/systemd/system/jidoteki-job@.service.d"
    kept = path.read_text()
    content = json.loads(kept)
    guest.path(plugins).mkdir()
    (guest.path(plugins) / "firewall.py").write_text(FIREWALL)
    path.write_text(
        json.dumps({**content, "plugin-directory": plugins, "endpoints": [*content["endpoints"], "firewall"]})
    )
    try:
        done = guest.run("jidoteki", "check", "--json", check=False)
        assert done.stdout, done.stderr
        told = json.loads(done.stdout)
        [found] = [each for each in told if "firewall" in each["message"]]
        assert (found["level"], found["subject"]) == ("error", "plugin")
        assert "root does not run jobs of the types firewall: what firewall does by them is refused" in found["message"]

        line = found["advice"].removeprefix("Put ").partition(" below [Service]")[0]
        guest.path(drop_in).mkdir()
        (guest.path(drop_in) / "types.conf").write_text(f"[Service]\n{line}\n")
        guest.sh("systemctl daemon-reload")
        assert "firewall" not in guest.run("jidoteki", "check", "--json", check=False).stdout
        assert "does not run" not in guest.sh(
            "setpriv --reuid jidoteki --regid jidoteki --init-groups jidoteki check || true"
        )
    finally:
        path.write_text(kept)
        guest.sh(f"rm -rf {plugins} {drop_in}; systemctl daemon-reload")


RULE = "/usr/share/polkit-1/rules.d/50-jidoteki-job.rules"
#: What keeps the service from having root's jobs started, what ends that, and what check says of it.
STATE = "/var/lib/jidoteki-job"
DROP_IN = "/etc/systemd/system/jidoteki-job@.service.d"


def dropped_in(lines: str) -> tuple[str, str]:
    """Return the commands that drop these lines into the section [Service] of the unit, and take them away."""
    written = f"printf '[Service]\\n{lines}\\n' >{DROP_IN}/own.conf"
    return f"mkdir {DROP_IN}; {written}; systemctl daemon-reload", f"rm -r {DROP_IN}; systemctl daemon-reload"


OUT_OF_ORDER = {
    "no rule": (f"mv {RULE} /root", f"mv /root/{Path(RULE).name} {RULE}", "authentication required"),
    "no polkit": ("systemctl mask --now polkit", "systemctl unmask polkit", "polkit.service is masked"),
    "no unit": ("mv /usr/lib/systemd/system/jidoteki-job@.service /root; systemctl daemon-reload",
                "mv /root/jidoteki-job@.service /usr/lib/systemd/system; systemctl daemon-reload",
                "jidoteki-job@.service is not-found"),
    "no room": (f"mkdir -p {STATE}; mount -t tmpfs -o nr_inodes=1 none {STATE}", f"umount {STATE}",
                "nothing can be made any more where it works"),
    "an environment that is nowhere": (*dropped_in("EnvironmentFile=/nowhere"), "systemd does not start its unit"),
    "a user who is nobody": (*dropped_in("User=nosuchuser"), "systemd does not start its unit"),
    "no command": (*dropped_in("ExecStart="), "jidoteki-job@.service is bad-setting"),
}  # fmt: skip


def test_the_system_is_restarted_where_root_has_no_room_to_work(guest: Guest) -> None:
    spoil, mend, _ = OUT_OF_ORDER["no room"]
    guest.sh(spoil)
    try:
        assert guest.request("POST", "/reboot?dry-run=1")[0] == 202
        posted = json.dumps({"network": {"interface": "eth0", "hostname": "here"}})
        status, body = guest.request("POST", "/settings?dry-run=1", "-F", f"settings={posted}")
        assert (status, "No space left" in body) == (400, True), body
    finally:
        guest.sh(mend)


@pytest.mark.parametrize("fault", OUT_OF_ORDER)
def test_check_finds_that_root_runs_no_jobs(guest: Guest, fault: str) -> None:
    spoil, mend, said = OUT_OF_ORDER[fault]

    def told() -> list[str]:
        return [each["message"] for each in json.loads(guest.run("jidoteki", "check", "--json", check=False).stdout)]

    assert not [each for each in told() if "root runs no jobs" in each]
    guest.sh(spoil)
    try:
        wait_until(lambda: any("root runs no jobs" in each for each in told()))
        [found] = [each for each in told() if "root runs no jobs" in each]
        assert said in found
    finally:
        guest.sh(mend)
    wait_until(lambda: not any("root runs no jobs" in each for each in told()))


#: Lines of a drop-in, and whether some of the types are not among those that root runs.
TYPES = {
    "EnvironmentFile=/root/types": False,
    'Environment="JIDOTEKI_JOB_TYPES=update settings"': True,
    'Environment="JIDOTEKI_JOB_TYPES=update\\tsettings storage certs persist reboot backup restore"': False,
}


@pytest.mark.parametrize("line", TYPES)
def test_check_misses_the_types_that_root_does_not_run(guest: Guest, line: str) -> None:
    guest.path("/root/types").write_text("JIDOTEKI_JOB_TYPES=update settings\n")
    guest.path(DROP_IN).mkdir()
    (guest.path(DROP_IN) / "own.conf").write_text(f"[Service]\n{line}\n")
    guest.sh("systemctl daemon-reload")
    try:
        said = guest.run("jidoteki", "check", check=False).stdout
        assert ("root does not run jobs of the types" in said) == TYPES[line]
    finally:
        guest.sh(f"rm -rf {DROP_IN} /root/types; systemctl daemon-reload")


CONFIGURATION = "/usr/local/etc/jidoteki-admin-api.json"
#: What whoever administers a machine does to it, and how many findings come of it.
ASTRAY = {
    "a configuration for root alone": (f"chmod 640 {CONFIGURATION}", 2),
    "keys of updates for everybody": (f"chown root: {ADMIN}/keys/updates.key; chmod 666 {ADMIN}/keys/updates.key", 3),
    "a list of backups for root alone": (f"chmod 600 {ADMIN}/keys/backup.txt", 1),
    "a script for root alone": (f"echo '#!/bin/sh' >{ADMIN}/bin/certs.sh; chmod 700 {ADMIN}/bin/certs.sh", 1),
    "a directory of root's": (f"chown root: {ADMIN}/log", 1),
    "a configuration of the service's": (f"chown jidoteki: {CONFIGURATION}; chmod 640 {CONFIGURATION}", 1),
    "a masked unit": ("systemctl mask jidoteki-job@.service", 1),
    "a directory of plugins that is the service's": (
        "install -d -o jidoteki /usr/local/etc/plugins; "
        f'sed -i \'0,/{{/s//{{"plugin-directory":"usr\\/local\\/etc\\/plugins",/\' {CONFIGURATION}',
        1,
    ),
}


@pytest.mark.parametrize("kind", ASTRAY)
def test_who_follows_the_advice_of_check_is_led_out(guest: Guest, kind: str) -> None:
    spoil, most = ASTRAY[kind]
    kept = guest.path(CONFIGURATION).read_text()

    def found() -> list[dict[str, str]]:
        done = guest.run("jidoteki", "check", "--json", check=False)
        assert done.stdout, done.stderr
        told = json.loads(done.stdout)
        return [each for each in told if each["level"] != "note"]

    before = found()
    guest.sh(spoil)
    try:
        told = [each for each in found() if each not in before]
        assert 1 <= len(told) <= most, told
        for each in told:
            guest.sh(each["advice"].removeprefix("Run: "))
        assert found() == before
    finally:
        guest.path(CONFIGURATION).write_text(kept)
        guest.sh(
            f"chmod 644 {CONFIGURATION} {ADMIN}/keys/backup.txt; rm -rf {ADMIN}/bin/certs.sh /usr/local/etc/plugins; "
            f"chown root:jidoteki {ADMIN}/keys/updates.key; chmod 640 {ADMIN}/keys/updates.key; "
            f"chown jidoteki: {ADMIN}/log"
        )
