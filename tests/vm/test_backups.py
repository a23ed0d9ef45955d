"""Backups and restores that root makes, in units of their own: of files of any owner."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from guestkit import ADMIN, Guest

CONFIGURATION = "/usr/local/etc/jidoteki-admin-api.json"
ARCHIVE = "/root/backup.tar"

#: Users, modes and kinds of all sorts; nothing of it the service may read.
MAKE = """
id app >/dev/null 2>&1 || { groupadd -g 4000 app; useradd -u 4000 -g 4000 app; }
rm -rf /data/*; install -d -m 750 -o app -g app /data/app; cd /data/app
install -m 600 /dev/stdin roots <<<'of root'
install -m 640 -o app -g app /dev/stdin own <<<'of the application'
install -m 604 -o 5000 -g 6000 /dev/stdin unknown <<<'of nobody who is known'
install -d -m 700 -o app -g app private; install -m 400 -o app -g app /dev/stdin private/key <<<'a key'
install -d -m 2775 -g app shared; install -d -m 1777 open; install -d -m 711 empty
ln -s private/key link; chown -h app: link; ln -s /etc/hostname elsewhere
ln own private/second; setfattr -n user.note -v kept own 2>/dev/null || true
touch -d '2001-02-03 04:05:06.789' roots private
"""
LIST = """
cd /data; find . -mindepth 1 -printf '%P|%y|%m|%U:%G|%T@|%l|%n\\n' | sort
find . -type f | sort | xargs sha256sum
"""


@pytest.fixture
def data(guest: Guest) -> Iterator[Guest]:
    """A guest with data of others, and without a backup; both are removed at the end."""
    guest.sh(MAKE)
    yield guest
    guest.request("POST", "/backup", "-F", "action=STOP")
    guest.sh("rm -rf /data/* /data/.jidoteki-*")


def back_up(guest: Guest) -> dict[str, object]:
    """Make a backup, and return how that went."""
    status, said = guest.request("POST", "/backup", "-F", "action=START")
    assert status == 202, said
    return guest.wait_for_job("/backup")


def download(guest: Guest) -> None:
    assert guest.request("GET", "/backup/download", "-o", ARCHIVE)[0] == 200


def restore(guest: Guest, archive: str = ARCHIVE, *more: str) -> tuple[int, str]:
    return guest.request("POST", f"/backup/restore{''.join(more)}", "-F", f"archive=@{archive}")


def allow(guest: Guest, **options: bool) -> None:
    """Let root's configuration say something else of backups."""
    path = guest.path(CONFIGURATION)
    content = json.loads(path.read_text())
    content["plugins"] = {"backup": options}
    path.write_text(json.dumps(content))


@pytest.mark.short
@pytest.mark.parametrize("mode", ["merge", "exact"])
def test_what_is_restored_is_what_was_there_of_all_owners(data: Guest, mode: str) -> None:
    before = data.sh(LIST)
    assert back_up(data)["status"] == "success"
    download(data)
    data.sh("cd /data/app; rm -rf private own; echo >roots; chown -R 7000:7000 /data/app; chmod -R 777 /data/app")

    status, said = data.request("POST", "/backup/restore", "-F", f"archive=@{ARCHIVE}", "-F", f"mode={mode}")

    assert status == 200, said
    assert data.sh(LIST) == before
    assert data.sh("ls -A /data").split() == ["app"]


def test_the_archive_has_the_true_owners_and_is_the_services(data: Guest) -> None:
    assert back_up(data)["status"] == "success"
    download(data)

    listed = {
        line.split()[-1]: line.split()[:2] for line in data.sh(f"tar --numeric-owner -tvf {ARCHIVE}").splitlines()
    }

    assert listed["app/roots"] == ["-rw-------", "0/0"]
    assert listed["app/unknown"] == ["-rw----r--", "5000/6000"]
    assert listed["app/private/"] == ["drwx------", "4000/4000"]
    assert listed["app/shared/"] == ["drwxrwsr-x", "0/4000"]
    assert data.sh(f"stat -c '%U %a' {ADMIN}/spool/backup.tar") == "jidoteki 600\n"
    assert data.sh(f"find {ADMIN}/jobs {ADMIN}/spool {ADMIN}/tmp {ADMIN}/log/*.log -user root") == ""


def test_a_dry_run_tells_and_leaves_nothing(data: Guest) -> None:
    assert back_up(data)["status"] == "success"
    download(data)
    before = data.sh(LIST)

    status, said = restore(data, ARCHIVE, "?dry-run=1")

    assert status == 200, said
    assert json.loads(said)["made"]
    assert data.sh(LIST) == before
    assert data.sh("ls /var/lib/jidoteki-job | grep journal || true") == ""


def test_archives_from_elsewhere_are_restored_where_root_allows_it(data: Guest) -> None:
    before = data.sh(LIST)
    data.sh("tar -C /data --xattrs -cf /root/other.tar app && rm /data/app/roots")
    data.sh("tar -C /data --delete -f /root/other.tar app/elsewhere; rm /data/app/elsewhere")
    status, said = restore(data, "/root/other.tar")
    assert (status, "plugins.backup.allow-foreign" in said) == (400, True)
    assert "roots" not in data.sh(LIST)

    kept = data.path(CONFIGURATION).read_text()
    try:
        allow(data, **{"allow-foreign": True})
        assert restore(data, "/root/other.tar")[0] == 200
    finally:
        data.path(CONFIGURATION).write_text(kept)

    assert data.sh(LIST).splitlines()[-1] == before.splitlines()[-1]
    assert data.sh("stat -c '%u %a' /data/app/roots /data/app/unknown") == "0 600\n5000 604\n"


def test_a_restore_that_cannot_keep_owners_changes_nothing(data: Guest) -> None:
    """Such as one of an ordinary user: the archive is refused as soon as it is unpacked, beside the data."""
    assert back_up(data)["status"] == "success"
    download(data)
    before = data.sh(LIST)
    data.sh(f"rm -rf /tmp/other; install -d -o jidoteki /tmp/other; install -m 644 {ARCHIVE} /tmp/other/backup.tar")
    script = (
        "import sys; from pathlib import Path; from jidoteki.core.archives.unpacking import Policy, unpack\n"
        "unpack(open('/tmp/other/backup.tar', 'rb'), Path('/tmp/other/new'),"
        " Policy.restore(links_below=Path('/data'), free_space=1, own=lambda: True, true_owners=True))"
    )
    data.sh("install -d -o jidoteki /tmp/other/new")

    done = data.run(
        "runuser", "-u", "jidoteki", "--", "/opt/jidoteki/venv/bin/python3", "-I", "-c", script, check=False
    )

    assert done.returncode != 0
    assert "which cannot be set here" in done.stderr
    assert data.sh(LIST) == before


def test_what_root_cannot_pack_makes_the_backup_fail_and_is_named(data: Guest) -> None:
    data.sh("mknod /data/app/device c 1 3")

    said = back_up(data)

    assert said["status"] == "failed"
    assert "app/device" in str(said["error-message"])


def test_a_killed_restore_is_completed_or_undone(data: Guest) -> None:
    """By root, as soon as the service knows of it; what it had unpacked is removed."""
    data.sh("head -c 300000000 /dev/urandom >/data/app/large; chown app: /data/app/large")
    assert back_up(data)["status"] == "success"
    download(data)
    before = data.sh(LIST)
    data.sh(
        f"curl -sk -X POST -H 'Authorization: Bearer the-token' -F archive=@{ARCHIVE} "
        "https://127.0.0.1:8443/api/v1/admin/backup/restore >/root/said 2>&1 & "
        "for n in $(seq 600); do ls -d /data/.jidoteki-restore-* >/dev/null 2>&1 && break; sleep 0.05; done; "
        "systemctl kill --kill-whom=main --signal=KILL 'jidoteki-job@*-restore.service'; wait"
    )

    assert back_up(data)["status"] == "success"

    assert data.sh("ls -A /data").split() == ["app"]
    assert data.sh(LIST) == before
    assert data.sh("ls /var/lib/jidoteki-job | grep journal || true") == ""
