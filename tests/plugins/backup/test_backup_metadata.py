"""Access control lists, attributes and capabilities in backups: whole, or narrowed and told; GNU tar is the witness."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jidoteki.core.archives import metadata
from jidoteki.core.archives.unpacking import ArchiveError, Policy, unpack
from jidoteki.hookspecs import file_attributes, posix_acl
from jidoteki.hookspecs.posix_acl import Entry
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

ROOT = os.geteuid() == 0
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+ep


def has_lists(directory: Path) -> bool:
    if not (shutil.which("setfacl") and shutil.which("getfacl")):
        return False
    (directory / "try").touch()
    return subprocess.run(["setfacl", "-m", "u:1234:r", directory / "try"], capture_output=True).returncode == 0


@pytest.fixture
def host(jidoteki_host: MakeHost, tmp_path: Path) -> Host:
    if not has_lists(tmp_path):
        pytest.skip("needs setfacl, and a file system with access control lists")
    host = jidoteki_host()
    (host.appliance.etc / "backup.txt").write_text("db\n")
    (host.appliance.data / "db/sub").mkdir(parents=True)
    return host


def setfacl(path: Path, *entries: str) -> None:
    subprocess.run(["setfacl", *entries, path], check=True)


def getfacl(directory: Path) -> str:
    done = subprocess.run(["getfacl", "-nRp", "."], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout


def attributes(directory: Path) -> dict[str, dict[str, bytes]]:
    return {
        str(path.relative_to(directory)): {name: os.getxattr(path, name) for name in os.listxattr(path)}
        for path in (directory, *sorted(directory.rglob("*")))
        if not path.is_symlink()
    }


def fill(db: Path) -> None:
    """Lists and attributes of all kinds that can be kept."""
    for name in ("plain", "listed", "sub/attributes", "both " + "long" * 30):
        (db / name).write_text(name)
        (db / name).chmod(0o640)
    setfacl(db / "listed", "-m", "u:1234:rwx,u:1235:---,g:77:r-x,g::---,m::rw-")
    setfacl(db / ("both " + "long" * 30), "-m", "u:1:r,o::---")
    setfacl(db / "sub", "-m", "u:1234:rx", "-dm", "u:1234:rwx,g:5:r")
    os.setxattr(db / "sub/attributes", "user.binary", bytes(range(256)))
    os.setxattr(db / "sub/attributes", "user.strange=name%25\n", b"1" * 300)
    os.setxattr(db / "sub/attributes", "user.empty", b"")
    os.setxattr(db / "sub", "user.on a directory", b"x")
    if ROOT:
        os.setxattr(db / "sub", "trusted.of root", "ü\0".encode())


def back_up(host: Host, tmp_path: Path) -> Path:
    host.post("/backup", "-F", "action=START")
    assert host.wait_for_job("/backup")["status"] == "success"
    path = tmp_path / "backup.tar"
    path.write_bytes(host.get("/backup/download").body)
    return path


def restore(host: Host, archive: Path) -> Any:
    return host.post("/backup/restore", "-F", f"archive=@{archive}")


def restore_log(host: Host) -> str:
    return (host.appliance.log / "update_backup.log").read_text()


def test_lists_and_attributes_come_back_whole(host: Host, tmp_path: Path) -> None:
    db = host.appliance.data / "db"
    fill(db)
    lists, values = getfacl(db), attributes(db)
    archive = back_up(host, tmp_path)
    shutil.rmtree(db)

    answer = restore(host, archive)

    assert answer.status == 200, answer
    assert (getfacl(db), attributes(db)) == (lists, values)


def test_gnu_tar_restores_the_lists_and_attributes_of_a_backup(host: Host, tmp_path: Path) -> None:
    db = host.appliance.data / "db"
    fill(db)
    archive = back_up(host, tmp_path)
    (tmp_path / "out").mkdir()

    argv: list[str | Path] = [
        "tar", "--acls", "--xattrs", "--xattrs-include=*", "-xpf", archive, "-C", tmp_path / "out",
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert getfacl(tmp_path / "out/db") == getfacl(db)
    assert attributes(tmp_path / "out/db") == attributes(db)


@pytest.mark.parametrize("include", ["user.*", "*"])
def test_the_lists_and_attributes_of_an_archive_by_gnu_tar_are_restored(
    host: Host, tmp_path: Path, include: str
) -> None:
    db = host.appliance.data / "db"
    fill(db)
    if ROOT:
        os.removexattr(db / "sub", "trusted.of root")
    lists, values = getfacl(db), attributes(db)
    argv: list[str | Path] = [
        "tar", "--acls", "--xattrs", f"--xattrs-include={include}", "-C", host.appliance.data, "-cf",
    ]  # fmt: skip
    subprocess.run([*argv, tmp_path / "backup.tar", "db"], check=True)
    shutil.rmtree(db)

    answer = restore(host, tmp_path / "backup.tar")

    assert answer.status == 200, answer
    assert (getfacl(db), attributes(db)) == (lists, values)


def test_where_a_list_cannot_be_restored_nobody_gets_more_than_it_allowed_and_the_log_says_so(
    host: Host, tmp_path: Path
) -> None:
    text = "user::rw-\nuser:no-such-user:rw-\ngroup::---\nmask::rw-\nother::---\n"
    archive = archive_of(tmp_path, db_file("db/secret", 0o660, {file_attributes.ACCESS: text.encode()}))

    answer = restore(host, archive)

    assert answer.status == 200, answer
    assert stat.S_IMODE((host.appliance.data / "db/secret").stat().st_mode) == 0o600
    assert "db/secret: its access control list cannot be restored, and nobody gets more" in restore_log(host)


def test_what_the_data_directory_hands_down_does_not_open_what_is_restored(host: Host, tmp_path: Path) -> None:
    data = host.appliance.data
    (data / "db/secret").write_text("x")
    (data / "db/secret").chmod(0o660)
    archive = back_up(host, tmp_path)
    before = getfacl(data / "db")
    setfacl(data, "-dm", "u:1234:rwx,g:5:rwx")

    answer = restore(host, archive)

    assert answer.status == 200, answer
    assert getfacl(data / "db") == before


def test_a_data_directory_that_hands_down_its_group_is_restored_into(host: Host, tmp_path: Path) -> None:
    data = host.appliance.data
    (data / "db").chmod(0o755)
    archive = back_up(host, tmp_path)
    data.chmod(0o2775)

    assert restore(host, archive).status == 200
    assert stat.S_IMODE((data / "db").stat().st_mode) == 0o755


@pytest.mark.skipif(not ROOT, reason="only root gives capabilities")
def test_a_backup_takes_capabilities_away_and_says_so(host: Host, tmp_path: Path) -> None:
    program = host.appliance.data / "db/program"
    program.write_text("x")
    os.setxattr(program, "security.capability", CAPABILITY)

    archive = back_up(host, tmp_path)

    assert restore(host, archive).status == 200
    assert os.listxattr(program) == []
    assert "db/program loses its capabilities" in host.get("/backup/log").text


@pytest.mark.skipif(not ROOT, reason="only root gives capabilities")
def test_an_archive_that_gives_capabilities_is_refused(host: Host, tmp_path: Path) -> None:
    program = host.appliance.data / "db/program"
    program.write_text("old")
    record = {file_attributes.keyword("security.capability"): CAPABILITY}

    answer = restore(host, archive_of(tmp_path, db_file("db/program", 0o755, record)))

    assert (answer.status, program.read_text()) == (400, "old")
    assert "is given capabilities" in answer.json["Error-Message"]


# What an archive may ask for


def db_file(name: str, mode: int, records: dict[str, bytes], **fields: Any) -> tuple[tarfile.TarInfo, dict[str, bytes]]:
    info = tarfile.TarInfo(name)
    info.mode = mode
    for field, value in fields.items():
        setattr(info, field, value)
    return info, records


def archive_of(directory: Path, *members: tuple[tarfile.TarInfo, dict[str, bytes]]) -> Path:
    path = directory / "made.tar"
    path.write_bytes(b"".join(packed(*member) for member in members) + bytes(1024))
    return path


def packed(info: tarfile.TarInfo, records: dict[str, bytes]) -> bytes:
    payload = b"".join(record(keyword.encode(), value) for keyword, value in records.items())
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(payload)
    return header.tobuf() + payload + bytes(-len(payload) % 512) + info.tobuf(tarfile.USTAR_FORMAT)


def record(keyword: bytes, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (keyword, value)
    length = next(size for size in range(len(rest), len(rest) + 9) if size == len(rest) + len(str(size)))
    return b"%d%b" % (length, rest)


def unpacked(tmp_path: Path, records: dict[str, bytes], mode: int = 0o640, **fields: Any) -> tuple[Path, list[str]]:
    told: list[str] = []
    into = tmp_path / "into"
    into.mkdir()
    content = io.BytesIO(archive_of(tmp_path, db_file("a", mode, records, **fields)).read_bytes())
    unpack(content, into, Policy.restore(links_below=Path("/data"), free_space=0, note=told.append))
    return into / "a", told


LEFT_OUT = [
    "user.overlay.opaque", "trusted.overlay.redirect", "trusted.SGI_ACL_FILE", "security.ima", "security.evm",
    "security.SMACK64EXEC", "security.apparmor", "security.capability%3D", "SECURITY.CAPABILITY", "system.nfs4_acl",
    "system.sockprotoname", "nonsense", "", "user.a\0b",
]  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_an_attribute_that_is_not_kept_is_left_out_and_told(tmp_path: Path, name: str) -> None:
    path, told = unpacked(tmp_path, {f"SCHILY.xattr.{name}": b"x", "SCHILY.xattr.user.": b"x"})

    assert os.listxattr(path) == []
    assert any("is left out" in line for line in told)


@pytest.mark.parametrize("value", [b"", bytes(4), b"\2\0\0\0" + bytes(8), b"\3\0\0\0", b"\2\0\0\0\1", b"x" * 64])
def test_a_raw_list_that_makes_no_sense_refuses_the_archive(tmp_path: Path, value: bytes) -> None:
    with pytest.raises(ArchiveError, match="access control list that makes no sense"):
        unpacked(tmp_path, {"SCHILY.xattr.system.posix_acl_access": value})


@pytest.mark.parametrize(
    "text",
    ["rwx", "user::rwx", "user::rwx\ngroup::r-x", "user::rwx,group::r-x,other::r-x,other::r-x",
     "user::7,group::5,other::5", "user::rwx,user:1:rwx,group::r-x,other::r-x",
     "user::rwx,user:99999999999:rwx,group::r-x,mask::rwx,other::r-x",
     "user::rwx,user:4294967295:rwx,group::r-x,mask::rwx,other::r-x", "user::rwx,group::r-x,mask:a:rwx,other::r-x",
     "user::rwx,group::r-x,mask::rwx,mask::rwx,other::r-x", "user::rwx,group::r-x,other::r-x,default:user::rwx"],
)  # fmt: skip
@pytest.mark.parametrize("key", [file_attributes.ACCESS, file_attributes.DEFAULT])
def test_a_list_that_makes_no_sense_refuses_the_archive(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ArchiveError, match="access control list that makes no sense"):
        unpacked(tmp_path, {key: text.encode()})


def test_of_a_list_with_names_and_numbers_the_numbers_count(tmp_path: Path) -> None:
    if not has_lists(tmp_path):
        pytest.skip("needs a file system with access control lists")
    text = b"u::rw-,u:no-such-user:r--:1234 # by star\ng::---,m::r--,o::---"

    path, told = unpacked(tmp_path, {file_attributes.ACCESS: text})

    assert told == []
    assert posix_acl.to_text(posix_acl.from_xattr(os.getxattr(path, posix_acl.ACCESS))).split()[1] == "user:1234:r--"


@pytest.mark.parametrize(("count", "size"), [(5000, 1), (40, 64 * 1024)])
def test_more_attributes_than_a_header_may_have_refuse_the_archive(tmp_path: Path, count: int, size: int) -> None:
    records = {f"SCHILY.xattr.user.{'n' * 100}{number}": b"x" * size for number in range(count)}

    with pytest.raises(ArchiveError, match="header longer than"):
        unpacked(tmp_path, records)


def test_attributes_that_the_file_system_has_no_room_for_are_told_and_the_file_is_restored(tmp_path: Path) -> None:
    records = {f"SCHILY.xattr.user.{number}": b"x" * 60_000 for number in range(4)}
    records |= {f"SCHILY.xattr.user.many{number}": b"x" for number in range(2000)}
    records |= {f"SCHILY.xattr.user.{'n' * 300}": b"x"}

    path, told = unpacked(tmp_path, records)

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert told and len(told) <= metadata.MAX_NOTES + 1
    assert all("cannot be restored" in line for line in told[:-1])


def test_an_update_package_brings_neither_attributes_nor_lists(tmp_path: Path) -> None:
    text = b"user::rwx,user:1234:rwx,group::r-x,mask::rwx,other::r-x"
    records = {
        "SCHILY.xattr.user.a": b"x",
        file_attributes.ACCESS: text,
        "SCHILY.xattr.security.capability": CAPABILITY,
    }
    content = io.BytesIO(archive_of(tmp_path, db_file("a", 0o640, records)).read_bytes())
    (tmp_path / "into").mkdir()

    unpack(content, tmp_path / "into", Policy.update(max_size=1000, max_members=10, free_space=0))

    assert os.listxattr(tmp_path / "into/a") == []


def test_a_file_system_without_lists_narrows_the_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    text = b"user::rw-,user:1234:r--,group::r--,group:5:---,mask::rw-,other::r--"

    path, told = unpacked(tmp_path, {file_attributes.ACCESS: text}, mode=0o664)

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert told == [
        "a: its access control list cannot be restored, and nobody gets more than it allowed: Operation not supported"
    ]


PERMISSIONS = st.integers(0, 7)
IDS = st.integers(1, 3)


@given(
    owner=PERMISSIONS, group=PERMISSIONS, mask=PERMISSIONS, other=PERMISSIONS, mode=st.integers(0, 0o7777),
    users=st.dictionaries(IDS, PERMISSIONS, max_size=3), groups=st.dictionaries(IDS, PERMISSIONS, max_size=3),
    uid=st.integers(0, 4), gids=st.sets(st.integers(0, 4)),
)  # fmt: skip
def test_a_narrowed_mode_gives_nobody_more_than_the_list(
    owner: int, group: int, mask: int, other: int, mode: int,
    users: dict[int, int], groups: dict[int, int], uid: int, gids: set[int],
) -> None:  # fmt: skip
    acl = [Entry(0x01, owner, 0), Entry(0x04, group, 0), Entry(0x20, other, 0), Entry(0x10, mask, 0)]
    acl += [Entry(0x02, bits, id) for id, bits in users.items()] + [
        Entry(0x08, bits, id) for id, bits in groups.items()
    ]

    narrow = posix_acl.narrowed(mode, acl)

    # acl(5), "Access check algorithm"; the file's owner is user 0, its group is group 0.
    matching = [bits & mask for id, bits in {0: group, **groups}.items() if id in gids]
    if uid == 0:
        allowed, given = owner, narrow >> 6 & 7
    elif uid in users:
        allowed, given = users[uid] & mask, narrow >> 3 & 7 if 0 in gids else narrow & 7
    elif matching:
        allowed, given = union(matching), narrow >> 3 & 7 if 0 in gids else narrow & 7
    else:
        allowed, given = other, narrow & 7
    assert given & ~allowed == 0
    assert narrow & ~mode == 0 and narrow & 0o7000 == mode & 0o7000


def union(permissions: list[int]) -> int:
    result = 0
    for each in permissions:
        result |= each
    return result


@given(st.dictionaries(st.integers(0, 2**32 - 2), PERMISSIONS, max_size=5), PERMISSIONS, st.sampled_from([0x02, 0x08]))
def test_a_list_is_the_same_as_text_and_for_the_kernel(named: dict[int, int], mask: int, tag: int) -> None:
    none = 2**32 - 1
    acl = [Entry(0x01, 6, none), Entry(0x04, 4, none), Entry(0x10, mask, none), Entry(0x20, 0, none)]
    acl = sorted([*acl, *(Entry(tag, bits, id) for id, bits in named.items())])

    value = posix_acl.to_xattr(acl)

    assert sorted(posix_acl.from_xattr(value)) == acl
    assert sorted(posix_acl.from_text(posix_acl.to_text(acl))) == acl
