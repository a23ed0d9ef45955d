"""The package: installed into a machine that runs and into an image, removed again, and as the documentation says."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import BuildUpdate
from guestkit import ADMIN, SERVICE, TOKEN, booted, enter
from places import ROOT
from walks import commands

from jidoteki.testing import wait_until


def test_an_image_gets_it_without_a_network_and_without_systemd(bare: Path, deb: Path) -> None:
    (bare / "root/product.deb").write_bytes(deb.read_bytes())

    enter(bare, "dpkg", "-i", "/root/product.deb")

    assert (bare / "etc/systemd/system/multi-user.target.wants/jidoteki-admin-api.service").is_symlink()
    assert list((bare / "opt/jidoteki/venv").rglob("*.pyc"))
    assert enter(bare, "jidoteki", "--version").startswith("jidoteki, version ")
    with booted(bare) as guest:
        wait_until(lambda: guest.request("GET", "/version", token=None)[0] == 403)
        assert guest.sh("systemctl --failed --no-legend") == ""


def test_it_serves_while_the_network_does_not_come(bare: Path, deb: Path) -> None:
    (bare / "root/product.deb").write_bytes(deb.read_bytes())
    enter(bare, "dpkg", "-i", "/root/product.deb")
    waiting = "[Unit]\nBefore=network-online.target\n[Service]\nType=oneshot\nExecStart=sleep 1000\n"
    (bare / "etc/systemd/system/no-dhcp.service").write_text(f"{waiting}[Install]\nRequiredBy=network-online.target\n")
    needing = "[Unit]\nWants=network-online.target\n[Service]\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n"
    (bare / "etc/systemd/system/needs-network.service").write_text(needing)
    enter(bare, "systemctl", "enable", "--quiet", "no-dhcp", "needs-network")

    started = time.monotonic()
    with booted(bare, wait=False) as guest:
        wait_until(lambda: guest.request("GET", "/version", token=None)[0] == 403, 30)

        assert time.monotonic() - started < 15
        assert guest.run("systemctl", "is-active", "network-online.target", check=False).stdout == "inactive\n"
        assert guest.run("systemctl", "is-active", "no-dhcp", check=False).stdout == "activating\n"


def test_it_is_removed_and_what_is_the_appliances_stays(bare: Path, deb: Path) -> None:
    (bare / "root/product.deb").write_bytes(deb.read_bytes())
    with booted(bare) as guest:
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        guest.run("jidoteki", "provision", timeout=120)
        guest.sh(f"systemctl disable --quiet {SERVICE}; systemctl enable --quiet {SERVICE} {SERVICE}.socket")

        said = guest.run("dpkg", "--purge", SERVICE)

        assert "/opt/jidoteki/venv" not in said.stderr
        assert guest.run("systemctl", "is-active", SERVICE, check=False).stdout.strip() == "inactive"
        assert not (bare / "opt/jidoteki/venv").exists()
        assert not list((bare / "etc/systemd").rglob("jidoteki*"))
        assert guest.sh("systemctl list-units --all --plain --no-legend 'jidoteki*'") == ""
        assert (bare / f"{ADMIN}/etc/version.txt".lstrip("/")).read_text() == "1.0.0\n"


@pytest.mark.short
def test_it_serves_again_once_it_is_installed_after_a_removal(bare: Path, deb: Path) -> None:
    """At the same addresses, those of an enabled socket unit."""
    (bare / "root/product.deb").write_bytes(deb.read_bytes())
    with booted(bare) as guest:
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        assert guest.sh(f"systemctl is-active {SERVICE}.socket || true").strip() == "inactive"
        guest.run("systemctl", "enable", "--quiet", f"{SERVICE}.socket")
        guest.run("dpkg", "--remove", SERVICE)

        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)

        assert guest.sh(f"systemctl is-active {SERVICE} {SERVICE}.socket").split() == ["active", "active"]
        assert guest.request("GET", "/version", token=None)[0] == 403
        guest.run("systemctl", "stop", SERVICE)
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        assert guest.show("ActiveState") == "inactive"  # an upgrade starts nothing that was stopped


@pytest.mark.parametrize(("before", "after"), [("start", "active"), ("stop", "inactive")])
def test_a_removal_that_was_cut_off_leaves_the_service_as_it_was(
    bare: Path, deb: Path, before: str, after: str
) -> None:
    (bare / "root/product.deb").write_bytes(deb.read_bytes())
    with booted(bare) as guest:
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        guest.run("systemctl", before, SERVICE)
        guest.run(f"/var/lib/dpkg/info/{SERVICE}.prerm", "remove")  # after which dpkg is killed
        assert guest.show("ActiveState") == "inactive"

        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)

        assert guest.show("ActiveState") == after
        assert not guest.path("/var/lib/jidoteki-admin-api.to-start").exists()


def test_what_was_lost_of_it_comes_back_with_the_package(bare: Path, deb: Path) -> None:
    (bare / "root/product.deb").write_bytes(deb.read_bytes())
    with booted(bare) as guest:
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        guest.sh("rm -rf /opt/jidoteki/venv")

        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)

        wait_until(lambda: guest.request("GET", "/version", token=None)[0] == 403)


def test_the_walk_of_the_documentation(bare: Path, deb: Path, vendor: Path, build_update: BuildUpdate) -> None:
    blocks = commands("vendors.md", "On Debian")
    root = bare / "root"
    (root / "product").mkdir()
    (root / "product" / deb.name).write_bytes(deb.read_bytes())
    (root / "product/keys").mkdir()
    for name in ("updates.key", "updates.pub"):
        (root / "product/keys" / name).write_bytes((vendor / name).read_bytes())
    update = build_update("#!/bin/sh\necho updated >$JIDO_ADMIN_PATH/log/updated\n")
    (root / "product/software_package-1.1.0.enc").write_bytes(update.path.read_bytes())

    with booted(bare) as guest:
        said = [guest.sh(f"cd /root/product\n{block}", timeout=180) for block in blocks]

        assert len(blocks) == 4
        assert "Made /opt/jidoteki/tinyadmin/etc/updates.key" in said[1]
        assert '{"version":"1.0.0"}' in said[2]
        assert guest.path(f"{ADMIN}/log/updated").read_text() == "updated\n"
        assert guest.path(f"{ADMIN}/etc/version.txt").read_text() == f"{update.version}\n"
        assert guest.path(f"{ADMIN}/etc/api.token").read_text().strip()


def test_a_plugin_is_installed_without_pip_outlives_an_upgrade_and_is_removed(
    bare: Path, deb: Path, tmp_path: Path
) -> None:
    install, remove = commands("vendors.md", "Plugins on Debian")
    shutil.copytree(ROOT / "examples/probe", tmp_path / "probe")
    wheel = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir")
    subprocess.run([*wheel, bare / "root/wheels", tmp_path / "probe"], check=True)
    (bare / "root/product.deb").write_bytes(deb.read_bytes())

    with booted(bare) as guest:
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        said = guest.sh(f"umask 027; cd /root/wheels\n{install}", timeout=120)
        assert "probe  " in said

        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        assert "probe  " in guest.run("jidoteki", "plugins").stdout

        guest.sh(remove)
        assert "probe" not in guest.run("jidoteki", "plugins").stdout
        assert guest.sh("ls /opt/jidoteki/venv/lib/python3*/site-packages | grep probe || true") == ""


def test_a_machine_that_ran_becomes_an_image_whose_copies_share_nothing(bare: Path, deb: Path) -> None:
    (bare / "root/product.deb").write_bytes(deb.read_bytes())
    certificate = bare / "usr/local/etc/pki/tls/enterprise.pem"
    with booted(bare) as guest:
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        guest.run("jidoteki", "provision", timeout=120)
        assert guest.request("POST", "/setup", "-F", f"newtoken={TOKEN}", token=None)[0] == 200
        former = certificate.read_text()

        guest.sh(commands("vendors.md", "One image for many machines")[0])
        guest.power_off()

    with booted(bare) as guest:
        wait_until(lambda: guest.request("GET", "/version")[0] == 403)
        assert certificate.read_text() != former
        assert guest.request("POST", "/setup", "-F", "newtoken=another", token=None)[0] == 200
        assert guest.request("GET", "/jobs", token="another")[1] == '{"jobs":[],"next":null}'


def test_directories_of_the_service_that_are_gone_are_made_again(bare: Path, deb: Path) -> None:
    (bare / "root/product.deb").write_bytes(deb.read_bytes())
    with booted(bare) as guest:
        guest.run("dpkg", "-i", "/root/product.deb", timeout=180)
        guest.run("jidoteki", "provision", timeout=120)
        guest.sh(
            f"systemctl stop {SERVICE}; rm -rf {ADMIN}/jobs {ADMIN}/spool {ADMIN}/tmp {ADMIN}/log /usr/local/etc/pki"
        )
        assert "updates.pub" not in guest.run("jidoteki", "check", check=False).stdout

        guest.sh(f"systemctl start {SERVICE}")

        assert guest.request("POST", "/setup", "-F", f"newtoken={TOKEN}", token=None)[0] == 200
        assert guest.run("stat", "-c", "%U %a", f"{ADMIN}/jobs").stdout == "jidoteki 700\n"
        assert "ERROR" not in guest.journal()


def test_the_walk_from_a_wheel(bare: Path, deb: Path, vendor: Path, build_update: BuildUpdate) -> None:
    """What the installation of a wheel leaves: an environment, and its command in `/usr/local/bin`."""
    (walk,) = commands("vendors.md", "From the wheel to an appliance")
    subprocess.run(["dpkg-deb", "--extract", deb, bare.parent / "package"], check=True)
    shutil.copytree(bare.parent / "package/opt/jidoteki/venv", bare / "opt/jidoteki/venv", symlinks=True)
    (bare / "usr/local/bin/jidoteki").symlink_to("/opt/jidoteki/venv/bin/jidoteki")
    directory = bare / "root/product"
    (directory / "keys").mkdir(parents=True)
    for name in ("updates.key", "updates.pub"):
        (directory / "keys" / name).write_bytes((vendor / name).read_bytes())
    for each in ("service", "slice.conf"):
        shutil.copy(ROOT / f"etc/jidoteki-admin-api.{each}", directory)
    update = build_update("#!/bin/sh\nid -un >$JIDO_ADMIN_PATH/log/updated\n")
    (bare / "root/update.enc").write_bytes(update.path.read_bytes())

    with booted(bare) as guest:
        said = guest.sh(f"cd /root/product\n{walk}", timeout=180)

        assert "error" not in said
        assert guest.show("MemoryMin") == str(128 << 20)
        assert guest.request("POST", "/setup", "-F", f"newtoken={TOKEN}", token=None)[0] == 200
        assert "Everything is in order" in guest.sh("jidoteki check")
        assert guest.request("POST", "/update", "-F", "update=@/root/update.enc")[0] == 202
        assert guest.wait_for_job("/update")["status"] == "success"
        assert guest.path(f"{ADMIN}/log/updated").read_text() == "jidoteki\n"
