"""What a service that was taken over gains from the backups and restores that root makes for it: nothing of root's."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator

import pytest
from guestkit import ADMIN, Guest
from test_backups import CONFIGURATION, allow, back_up
from test_service_taken_over import DRIVER, as_service, hand_over, order, put

SECRET = "planted-secret-of-root"
SPOOL = f"{ADMIN}/spool"
PASSWD = "/etc/passwd"


@pytest.fixture
def prey(guest: Guest) -> Iterator[Guest]:
    """A guest with a secret of root's, a directory of the service's in the data, and files that stay as they are."""
    guest.sh(f"""
        install -m 600 /dev/stdin /etc/secret <<<{SECRET}; rm -rf /data/*; install -d -o jidoteki /data/own
        install -d -m 711 /data/app; install -m 755 /dev/stdin /data/app/program <<<'of root'
    """)
    (guest.path("/opt/jidoteki") / "taken_over.py").write_text(DRIVER)
    before = guest.path(PASSWD).read_text(), guest.path(CONFIGURATION).read_text()
    yield guest
    assert guest.path(PASSWD).read_text() == before[0]
    assert guest.path("/data/app/program").read_text() == "of root\n"
    assert guest.sh("find / -xdev -newer /etc/secret -perm /6000 -type f") == ""
    assert (
        guest.run("grep", "-rlsa", SECRET, f"{ADMIN}/spool", f"{ADMIN}/jobs", f"{ADMIN}/log", check=False).stdout == ""
    )
    guest.path(CONFIGURATION).write_text(before[1])
    guest.sh(f"rm -rf /etc/secret /data/* {ADMIN}/jobs/0009* {ADMIN}/tmp/0009* {SPOOL}/0009* {SPOOL}/backup.tar")
    guest.sh(f"cd {ADMIN}/etc; ln -sfn ../keys/backup.txt backup.txt")
    guest.request("POST", "/backup", "-F", "action=STOP")


def packed(*members: tuple[tarfile.TarInfo, str]) -> bytes:
    """Return an archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return file.getvalue()


def member(name: str, content: str = "", **fields: object) -> tuple[tarfile.TarInfo, str]:
    info = tarfile.TarInfo(name)
    for key, value in {"mode": 0o644, **fields}.items():
        setattr(info, key, value)
    return info, content


def forge_known(guest: Guest, archive: bytes) -> None:
    """Say, where the service may, that the appliance made an archive."""
    made = [{"sha256": hashlib.sha256(archive).hexdigest(), "time": 1, "version": "1.0.0"}]
    as_service(guest, "sh", "-c", f"cat >{ADMIN}/jobs/backups-made.json", input=json.dumps(made))


def restore(guest: Guest, archive: str, id: str = "000900-restore", **more: object) -> str:
    return hand_over(guest, id, order(id, {"archive": archive, "mode": "merge"}), **more)


@pytest.mark.parametrize("listed", ["/etc", "../etc/secret", ".", "own/link/secret"])
def test_the_services_own_list_decides_nothing(prey: Guest, listed: str) -> None:
    """Root's is a link away from where the service looks, and that link is the service's."""
    prey.path(f"{ADMIN}/keys/backup.txt").write_text("own\n")
    as_service(
        prey, "sh", "-c", f"cd {ADMIN}/etc; rm -f backup.txt; echo {listed} >backup.txt; ln -s /etc /data/own/link"
    )
    try:
        assert back_up(prey)["status"] == "success"
        names = prey.sh(f"tar -tf {SPOOL}/backup.tar").split()
    finally:
        prey.path(f"{ADMIN}/keys/backup.txt").write_text(".\n")

    assert names == ["own/", "own/link"]


def test_no_error_shows_a_file_of_roots_in_place_of_the_list(prey: Guest) -> None:
    as_service(prey, "sh", "-c", f"cd {ADMIN}/etc; rm -f backup.txt; ln -s /etc/secret backup.txt")

    said = str(back_up(prey)) + prey.request("GET", "/backup/log")[1]

    assert SECRET not in said


@pytest.mark.parametrize("owner", ["", "chown jidoteki", "chmod 666"])
def test_a_list_of_somebody_elses_is_refused(prey: Guest, owner: str) -> None:
    path = f"{ADMIN}/keys/backup.txt"
    prey.sh(f"{owner} {path}" if owner else f"mv {path} {path}.kept")
    try:
        said = back_up(prey)
        found = prey.run("jidoteki", "check", check=False).stdout
    finally:
        prey.sh(f"chown root {path}; chmod 644 {path}" if owner else f"mv {path}.kept {path}")

    assert said["status"] == "failed"
    assert ("Somebody else than root" if owner else "where root alone may write") in str(said["error-message"])
    assert "root goes by this list, which it alone may change" in " ".join(found.split())


def test_a_list_that_counts_for_nothing_is_told(prey: Guest) -> None:
    as_service(prey, "sh", "-c", f"cd {ADMIN}/etc; rm -f backup.txt; echo app >backup.txt")

    found = prey.run("jidoteki", "check", check=False).stdout

    assert f"it counts for nothing: root goes by {ADMIN}/keys/backup.txt" in " ".join(found.split())


@pytest.mark.parametrize(
    "moved",
    [
        "cp -p /etc/secret /data/own/moved",
        "ln /etc/secret /data/own/moved",
        "install -d -m 700 /data/own/moved; cp -p /etc/secret /data/own/moved/",
        "install -d /data/own/moved/inner; cp -p /etc/secret /data/own/moved/inner/",
    ],
)
def test_what_the_service_may_have_moved_is_read_as_it_may_read_it(prey: Guest, moved: str) -> None:
    prey.sh(moved)

    said = back_up(prey)

    assert said["status"] == "failed"
    assert "own/moved" in str(said["error-message"])


def test_links_and_pipes_are_not_followed_to_roots_files(prey: Guest) -> None:
    as_service(
        prey, "sh", "-c", "cd /data/own; ln -s /etc/secret one; ln -s /etc two; ln -s /proc/1/root three; mkfifo p"
    )

    assert back_up(prey)["status"] == "success"


SET_ID = member("app/evil", "#!/bin/sh\n", mode=0o4755)
LINK = member("app/link", type=tarfile.SYMTYPE, linkname="/etc")
THROUGH = member("app/link/passwd", "evil::0:0::/:/bin/sh\n")
HARD = member("app/hard", type=tarfile.LNKTYPE, linkname="../../etc/passwd")
DEVICE = member("app/disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0)
PROGRAM = member("app/program", "evil\n", mode=0o755)
ABOVE = member("../etc/passwd", "evil\n")
ATTRIBUTE = member("app/evil", "x", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": "\x01\x00\x00\x02"})


@pytest.mark.parametrize("known", [False, True])
def test_an_archive_that_root_did_not_make_is_not_restored(prey: Guest, known: bool) -> None:
    """Neither if the service says that it is one of the appliance's."""
    archive = packed(PROGRAM, member("app/new", "x"))
    if known:
        forge_known(prey, archive)

    said = restore(prey, put(prey, "000900.tar", archive))

    assert "is not one that this appliance made" in said
    assert not prey.path("/data/app/new").exists()


@pytest.mark.parametrize(
    "members",
    [[SET_ID], [LINK], [LINK, THROUGH], [HARD], [DEVICE], [ABOVE], [ATTRIBUTE]],
    ids=lambda each: each[0][0].name,
)
def test_what_leads_out_or_gives_rights_is_restored_from_nowhere(
    prey: Guest, members: list[tuple[tarfile.TarInfo, str]]
) -> None:
    """Also where root allows archives from elsewhere."""
    allow(prey, **{"allow-foreign": True})
    archive = packed(*members)
    forge_known(prey, archive)

    said = restore(prey, put(prey, "000900.tar", archive))

    assert '"status": "failed"' in said
    assert prey.sh("ls -A /data/app").split() == ["program"]


def test_an_archive_that_changes_while_it_is_restored_is_refused_or_the_right_one(prey: Guest) -> None:
    assert back_up(prey)["status"] == "success"
    good = f"{SPOOL}/000900-good.tar"
    prey.sh(f"install -o jidoteki {SPOOL}/backup.tar {good}")
    evil = put(prey, "000900-evil.tar", packed(PROGRAM, member("app/new", "x")))
    for number in range(4):
        path = put(prey, f"00090{number}.tar", b"")

        restore(prey, path, f"00090{number}-restore", swap=[path, good, evil])

        assert prey.sh("ls -A /data/app").split() == ["program"]


def test_a_directory_that_became_a_link_leads_nowhere(prey: Guest) -> None:
    """While root restores into it, and before."""
    prey.sh("install -d -o jidoteki /data/own/etc; install -m 644 -o jidoteki /dev/stdin /data/own/etc/passwd <<<evil")
    assert back_up(prey)["status"] == "success"
    path = f"{SPOOL}/000900-good.tar"
    prey.sh(f"install -o jidoteki {SPOOL}/backup.tar {path}")
    swapping = (
        "cd /data/own; while :; do mv -T etc kept 2>/dev/null; ln -sT /etc etc 2>/dev/null; rm -f etc 2>/dev/null; "
        "mv -T kept etc 2>/dev/null; done"
    )
    prey.sh(f"systemd-run --quiet --unit=swapping --uid=jidoteki sh -c {swapping!r}")
    try:
        for number in range(5):
            restore(prey, path, f"00090{number}-restore")
    finally:
        prey.sh("systemctl stop swapping")
    as_service(prey, "sh", "-c", "cd /data/own; rm -rf etc kept; ln -s /etc etc")

    restore(prey, path, "000909-restore")


def test_a_file_that_the_service_may_not_read_is_no_archive(prey: Guest) -> None:
    allow(prey, **{"allow-foreign": True})
    prey.sh("tar -cf /root/secret.tar -C / etc/secret; chmod 600 /root/secret.tar; chmod 711 /root")
    as_service(prey, "ln", "-sfn", "/root/secret.tar", f"{SPOOL}/000900.tar")
    try:
        said = restore(prey, "/root/secret.tar") + restore(prey, f"{SPOOL}/000900.tar", "000901-restore")
    finally:
        prey.sh("chmod 700 /root")

    assert said.count('"status": "failed"') == 2


@pytest.mark.parametrize("input", [{}, {"archive": 1, "mode": "merge"}, {"archive": "/x", "mode": "both"}])
def test_other_inputs_are_refused(prey: Guest, input: dict[str, object]) -> None:
    assert "refused" in hand_over(prey, "000900-restore", order("000900-restore", input))
    assert "refused" in hand_over(prey, "000900-backup", order("000900-backup", {"list": "/etc"}))


def test_a_forged_journal_of_a_restore_is_not_followed(prey: Guest) -> None:
    """Root has its own, where the service writes nothing."""
    entry = {
        "staging": ".jidoteki-restore-0123456789abcdef",
        "key": "0" * 32,
        "mounts": [],
        "plan": 0,
        "back": [],
        "done": False,
    }
    as_service(prey, "sh", "-c", f"cat >{ADMIN}/jobs/000900-restore.journal", input=json.dumps(entry))
    as_service(prey, "sh", "-c", f": >{ADMIN}/jobs/000900-restore.journal-plan")

    said = hand_over(prey, "000900-restore", order("000900-restore", {}, recovering=True))

    assert "begun" in said
    assert prey.path(f"{ADMIN}/jobs/000900-restore.journal").exists()
    assert as_service(prey, "ls", "/var/lib/jidoteki-job").returncode != 0


def test_data_that_somebody_else_may_exchange_are_neither_packed_nor_restored(prey: Guest) -> None:
    prey.sh("mkdir -p /srv/other/data; chown jidoteki /srv/other; mv /data /data.kept; ln -s /srv/other/data /data")
    try:
        said = back_up(prey)
    finally:
        prey.sh("rm /data; mv /data.kept /data; rm -rf /srv/other")

    assert "Root neither packs nor restores /data" in str(said["error-message"])
