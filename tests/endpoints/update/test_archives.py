"""Unpacking: valid archives are unpacked as `tar` does it, hostile ones change nothing outside the target."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import secrets
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pace import slowness

from jidoteki.core.archives.streams import GunzipError, GunzipReader, ReadAhead
from jidoteki.core.archives.tar import TarReader
from jidoteki.core.archives.unpacking import ArchiveError, Policy, unpack
from jidoteki.hookspecs.restorable import can_restore

MIB = 1024 * 1024
UPDATE = Policy.update(max_size=64 * MIB, max_members=1000, free_space=0)
RESTORE = Policy.restore(links_below=Path("/data"), free_space=0)
POLICIES = [pytest.param(UPDATE, id="update"), pytest.param(RESTORE, id="restore")]

Member = tuple[tarfile.TarInfo, bytes]


def file(name: str, content: bytes = b"content", **fields: Any) -> Member:
    return member(name, tarfile.REGTYPE, content, **fields)


def link(name: str, target: str) -> Member:
    return member(name, tarfile.SYMTYPE, linkname=target)


def directory(name: str, **fields: Any) -> Member:
    return member(name, tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def member(name: str, type: bytes, content: bytes = b"", **fields: Any) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.size = type, len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def pack(members: Iterable[Member], format: int = tarfile.PAX_FORMAT, **options: Any) -> bytes:
    target = io.BytesIO()
    options = {"encoding": "utf-8", "errors": "surrogateescape", **options}
    with tarfile.open(fileobj=target, mode="w", format=format, **options) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def raw(name: bytes, type: bytes = b"0", size: bytes = b"00000000000", **fields: tuple[int, bytes]) -> bytes:
    """Return a header with any bytes in its fields and a valid checksum."""
    header = bytearray(512)
    header[0 : len(name)] = name
    header[100:108], header[108:116], header[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    header[124 : 124 + len(size)] = size
    header[136:148], header[156:157], header[257:265] = b"00000000000\0", type, b"ustar\x0000"
    for start, value in fields.values():
        header[start : start + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def pax(payload: bytes, type: bytes = b"x") -> bytes:
    return raw(b"pax", type, b"%011o" % len(payload)) + payload + bytes(-len(payload) % 512)


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode()
    length = next(size for size in range(len(text), 2 * len(text) + 9) if size == len(text) + len(str(size)))
    return str(length).encode() + text


END = bytes(1024)
CONTENT = b"content" + bytes(505)
SEVEN = b"00000000007"
BAD_SUM = bytearray(raw(b"bad"))
BAD_SUM[0] ^= 1

ELSEWHERE = f"{tempfile.gettempdir()}/escaped-{secrets.token_hex(8)}"

HOSTILE: dict[str, tuple[bytes, str]] = {
    "absolute name": (pack([file(ELSEWHERE)]), "absolute name"),
    "absolute name, twice slashed": (pack([file(f"/{ELSEWHERE}")]), "absolute name"),
    "parent": (pack([file("../escaped")]), "'..' in its name"),
    "parent further down": (pack([file("a/../../escaped")]), "'..' in its name"),
    "parent at the end": (pack([directory("a/..")]), "'..' in its name"),
    "no name": (raw(b"") + END, "no name"),
    "dot as a file": (pack([file(".")]), "directory's name"),
    "file that ends in a slash": (raw(b"a/", b"0", SEVEN) + CONTENT + END, "directory's name"),
    "newline": (pack([file("a\nb")]), "control character"),
    "terminal escape": (pack([file("a\x1b[2Jb")]), "control character"),
    "NUL in an extended name": (pax(record("path", "a\0b")) + raw(b"a") + END, "control character"),
    "C1 control": (pack([file("a\x9bb")]), "control character"),
    "not UTF-8": (raw(b"a\xff") + END, "not UTF-8"),
    "not UTF-8, declared binary": (
        pax(record("hdrcharset", "BINARY") + b"11 path=\xff\xfe\n") + raw(b"a") + END,
        "not UTF-8",
    ),
    "name of 5,000 bytes": (pack([file("a/" * 2500 + "b")]), "longer than 4096"),
    "component of 256 bytes": (pack([file("a" * 256)]), "component longer"),
    "257 deep": (pack([file("a/" * 257 + "b")]), "directories deep"),
    "duplicate": (pack([file("a"), file("a")]), "comes twice"),
    "duplicate in other words": (pack([file("a/b"), file("./a//b")]), "comes twice"),
    "file of a directory's name": (pack([directory("a"), file("a")]), "comes twice"),
    "link, then a file of its name": (pack([link("a", "b"), file("a")]), "comes twice"),
    "below a link": (pack([link("a", "b"), file("a/c")]), "not a directory"),
    "below a link to the work space": (pack([directory("b"), link("a", "b"), file("a/c")]), "not a directory"),
    "below a file": (pack([file("a"), file("a/b")]), "not a directory"),
    "directory of a link's name": (pack([link("a", "."), directory("a")]), "not a directory"),
    "absolute link": (pack([link("a", "/etc/passwd")]), "symbolic link"),
    "absolute link, through the one place": (pack([link("a", "/data/../etc")]), "symbolic link"),
    "link out": (pack([link("a", "../escaped")]), "leads out"),
    "link out from below": (pack([link("a/b", "../../escaped")]), "leads out"),
    "link out by way of a link": (pack([link("a/b", ".."), link("c", "a/b/../..")]), "leads out"),
    "link with an empty target": (pack([link("a", "")]), "to nothing"),
    "link with a newline": (pack([link("a", "b\nc")]), "control character"),
    "hard link out": (pack([member("b", tarfile.LNKTYPE, linkname="/etc/passwd")]), "hard link"),
    "character device": (pack([member("a", tarfile.CHRTYPE)]), "character device"),
    "block device": (pack([member("a", tarfile.BLKTYPE)]), "block device"),
    "named pipe with a size": (raw(b"a", b"6", SEVEN) + CONTENT + END, "impossible size|named pipe"),
    "contiguous file": (pack([member("a", tarfile.CONTTYPE)]), "neither a file"),
    "unknown type": (pack([member("a", b"V")]), "neither a file"),
    "set-user-id": (pack([file("a", mode=0o4755)]), "set-user-id"),
    "set-group-id": (pack([file("a", mode=0o2755)]), "set-group-id"),
    "directory, set-user-id": (pack([directory("a", mode=0o4755)]), "set-user-id"),
    "old sparse": (raw(b"a", b"S") + END, "sparse"),
    "sparse, endless": (raw(b"a", b"S", x=(482, b"\1")) + (bytes(504) + b"\1" + bytes(7)) * 200 + END, "header longer"),
    "sparse 0.1": (pax(record("GNU.sparse.map", "0,1") + record("GNU.sparse.size", "1")) + raw(b"a") + END, "sparse"),
    "sparse 1.0": (
        pax(record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0"))
        + raw(b"a", b"0", b"00000001000") + b"1\n0\n1\n" + bytes(506) + END,
        "sparse|something",
    ),
    "giant extended header": (raw(b"a", b"x", b"77777777777") + END, "header longer"),
    "giant long name": (raw(b"a", b"L", b"77777777777") + END, "header longer"),
    "giant base-256 size of a header": (raw(b"a", b"x", b"\x80" + b"\x7f" * 11) + END, "header longer"),
    "negative size of a header": (raw(b"a", b"x", b"\xff" * 10 + b"\x00\x00") + END, "header longer"),
    # Newer versions of Python refuse such a header themselves (CVE-2025-8194).
    "negative size": (raw(b"a", b"0", b"\xff" * 11 + b"\x00") + END, "impossible size|header that makes no sense"),
    "extended headers without end": (pax(b"") * 5000 + END, "header longer"),
    "endless number": (pax(b"1" * 8192) + raw(b"a") + END, "endless number"),
    "extended header of length 0": (pax(b"0 path=a\n") + raw(b"a") + END, "no sense"),
    "two sizes": (pax(record("size", "7")) + raw(b"a", b"0") + CONTENT + END, "two sizes"),
    "extended negative size": (pax(record("size", "-512")) + raw(b"a", b"0") + END, "impossible size"),
    "global header": (pax(record("path", "a"), b"g") + raw(b"b") + END, "global header"),
    "time that is no number": (pax(record("mtime", "nan")) + raw(b"a") + END, "impossible time"),
    "time in the far future": (pax(record("mtime", "1e300")) + raw(b"a") + END, "impossible time"),
    **{
        f"time '{text}'": (pax(record("mtime", text)) + raw(b"a") + END, "impossible time")
        for text in ("", "NaN123", "-nan", "inf", "1e999", "1e9", "0x1", "1_0", " 1", "1 ", "٣", "--1", ".5", "1" * 30)
    },
    "time of access that is no number": (pax(record("atime", "nan")) + raw(b"a") + END, "impossible time"),
    "time of change that is no number": (pax(record("ctime", "")) + raw(b"a") + END, "impossible time"),
    **{
        f"{key} '{text}'": (pax(record(key, text)) + raw(b"a") + END, f"impossible {what}")
        for key, what in (("uid", "owner"), ("gid", "owner"), ("size", "size"))
        for text in ("", "nan", "inf", "1e999", "-1", "1.5", "0x10", "٣", "9" * 25)
    },
    "record without a value": (pax(b"7 path\n") + raw(b"a") + END, "no sense"),
    "record without a name": (pax(b"6 =a\n\n") + raw(b"a") + END, "no sense"),
    "record that is longer than its header": (pax(b"99 path=a\n") + raw(b"a") + END, "no sense"),
    "record without a newline": (pax(b"9 path=ab") + raw(b"a") + END, "no sense"),
    "extended header before the end": (pax(record("path", "a")) + END, "no sense"),
    "extended header of no member": (pax(record("path", "a")), "cut off"),
    "long name, then an extended header that makes no sense": (
        raw(b"a", b"L", b"00000000002") + b"b" + bytes(511) + pax(b"nonsense") + raw(b"a") + END,
        "no sense",
    ),
    "owner that does not exist": (pax(record("uid", "4294967295")) + raw(b"a") + END, "impossible owner"),
    "directory with content": (raw(b"a", b"5", SEVEN) + CONTENT + END, "impossible size"),
    "damaged first header": (bytes(BAD_SUM) + END, "no sense"),
    "damaged second header": (raw(b"a") + bytes(BAD_SUM) + END, "no sense"),
    "something between the members": (raw(b"a", b"0", SEVEN) + b"content" + b"x" * 505 + END, "between"),
    "something behind the end": (raw(b"a") + END + b"x", "behind"),
    "a member behind the end": (raw(b"a") + END + raw(b"b") + END, "behind"),
    "no end": (raw(b"a"), "cut off"),
    "cut off in a header": (raw(b"a")[:300], "cut off"),
    "cut off in a file": (raw(b"a", b"0", SEVEN) + b"con", "cut off"),
    "nothing at all": (b"", "cut off"),
    "not a tar archive": (b"rubbish" * 1000, "no tar archive"),
}  # fmt: skip


def everything(top: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(top.rglob("*"))
    }


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Return the directory to unpack into, whose siblings must not be changed."""
    (tmp_path / "sandbox/into").mkdir(parents=True)
    (tmp_path / "sandbox/escaped").write_text("old")
    (tmp_path / "escaped").write_text("old")
    return tmp_path / "sandbox/into"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_changes_nothing_outside(into: Path, name: str, policy: Policy) -> None:
    content, reason = HOSTILE[name]
    aside = into.rename(into.parents[1] / "aside")
    before = everything(into.parents[0])
    aside.rename(into)

    with pytest.raises(ArchiveError, match=reason) as caught:
        unpack(io.BytesIO(content), into, policy)

    assert str(caught.value).isprintable() and str(caught.value).isascii()
    into.rename(aside)
    assert everything(into.parents[0]) == before
    assert not Path(ELSEWHERE).exists()


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_hard_links_and_named_pipes_are_refused_in_updates_only(into: Path, tmp_path: Path, kind: bytes) -> None:
    content = pack([file("a"), member("b", kind, linkname="a")])

    with pytest.raises(ArchiveError, match="is a hard link|is a named pipe"):
        unpack(io.BytesIO(content), into, UPDATE)

    (tmp_path / "restored").mkdir()
    assert unpack(io.BytesIO(content), tmp_path / "restored", RESTORE).members == 2
    assert (tmp_path / "restored/b").exists() == (kind == tarfile.LNKTYPE)


@pytest.mark.parametrize(
    "names", [("xt_TCPMSS.ko", "xt_tcpmss.ko"), ("a/x", "A/y"), ("caf\u00e9", "cafe\u0301"), ("stra\u00dfe", "STRASSE")]
)
@pytest.mark.parametrize("policy", [UPDATE, RESTORE])
def test_names_that_differ_in_case_or_encoding_alone_are_two_files(
    into: Path, policy: Policy, names: tuple[str, str]
) -> None:
    assert unpack(io.BytesIO(pack(map(file, names))), into, policy).members == 2
    assert all((into / name).is_file() for name in names)


@pytest.mark.parametrize("policy", [UPDATE, RESTORE])
def test_a_directory_that_comes_twice_is_one_and_its_last_mode_counts(into: Path, policy: Policy) -> None:
    content = pack([directory("."), directory("a", mode=0o755), file("a/b"), directory("./"),
                    directory("a", mode=0o700), file("a/c")])  # fmt: skip

    unpack(io.BytesIO(content), into, policy)

    assert sorted(os.listdir(into / "a")) == ["b", "c"]
    assert stat.S_IMODE((into / "a").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("target", "allowed"), [("/data", True), ("/data/x", True), ("/database", False), ("/", False), ("//data", False)]
)
def test_absolute_links_lead_below_the_restored_directory(into: Path, target: str, allowed: bool) -> None:
    info, _ = link("a", target)

    assert (can_restore("a", info, Path("/data")) is None) is allowed
    assert can_restore("a", info, None) is not None


@pytest.mark.parametrize("target", ["b", "./b", "../x", "../a/b/c", "."])
def test_links_inside_the_archive_are_kept_as_they_are(into: Path, target: str) -> None:
    unpack(io.BytesIO(pack([link("dir/a", target)])), into, UPDATE)

    assert os.readlink(into / "dir/a") == target


@pytest.mark.parametrize("format", ["gnu", "ustar", "pax"])
def test_what_tar_packs_comes_out_the_same(into: Path, tmp_path: Path, format: str) -> None:
    source = tmp_path / "source"
    (source / "deep/deeper" / ("d" * 90)).mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "deep/deeper" / ("d" * 90) / "file").write_bytes(os.urandom(2 * MIB + 1))
    (source / "none").touch()
    (source / "caf\u00e9 \u2603").write_text("snow")
    (source / "link").symlink_to("deep/deeper")
    (source / "secret").write_text("x")
    (source / "secret").chmod(0o640)
    (source / "shared").mkdir()
    (source / "shared").chmod(0o3775)
    (source / "none").chmod(0o400)
    os.utime(source / "none", (1, 1))
    os.utime(source / "deep", (2, 2))
    argv: list[str | Path] = ["tar", f"--format={format}", "-C", source, "-cf", "-", "."]
    content = subprocess.run(argv, check=True, capture_output=True).stdout

    summary = unpack(io.BytesIO(content), into, RESTORE)

    assert summary.size == 2 * MIB + 6
    diff = subprocess.run(["tar", "--compare", "-C", into, "-f", "-"], input=content, capture_output=True, check=False)
    assert diff.returncode == 0, diff.stdout + diff.stderr
    assert (into / "none").stat().st_mtime == 1 and (into / "deep").stat().st_mtime == 2
    assert stat.S_IMODE((into / "shared").stat().st_mode) == 0o3775


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_are_restored_from_backups_and_not_from_updates(into: Path, tmp_path: Path) -> None:
    content = pack([directory("a", uid=1234, gid=1235), file("a/b", uid=1236, gid=1237), link("a/c", "b")])
    (tmp_path / "other").mkdir()

    unpack(io.BytesIO(content), into, RESTORE)
    unpack(io.BytesIO(content), tmp_path / "other", UPDATE)

    assert [((into / name).stat().st_uid, (into / name).stat().st_gid) for name in ("a", "a/b")] == [
        (1234, 1235),
        (1236, 1237),
    ]
    assert (tmp_path / "other/a/b").stat().st_uid == 0


def test_of_an_update_only_the_permissions_count(into: Path) -> None:
    members = [directory("a", mode=0o3555), file("a/b", mode=0o1555), file("a/c", mode=0o000)]

    unpack(io.BytesIO(pack(members)), into, UPDATE)

    modes = [stat.S_IMODE((into / name).stat().st_mode) for name in ("a", "a/b", "a/c")]
    assert modes == [0o755, 0o755, 0o600]


def test_a_directory_may_come_after_what_is_in_it(into: Path) -> None:
    unpack(io.BytesIO(pack([file("a/b"), directory("a", mode=0o700)])), into, UPDATE)

    assert stat.S_IMODE((into / "a").stat().st_mode) == 0o700


names = st.text(st.characters(exclude_categories=()), min_size=1, max_size=12) | st.from_regex("(\\.|/|a|B|b)+")
anything = st.builds(
    lambda name, type, target, content, mode: member(name, type, content, linkname=target, mode=mode),
    names,
    st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]),
    names,
    st.sampled_from([b"", b"x", b"x" * 600]),
    st.integers(0, 0o7777),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(anything, max_size=6), st.sampled_from([UPDATE, RESTORE]))
def test_whatever_an_archive_holds_nothing_outside_changes(
    tmp_path_factory: pytest.TempPathFactory, members: list[Member], policy: Policy
) -> None:
    sandbox = tmp_path_factory.mktemp("any")
    (sandbox / "a").write_text("old")
    (sandbox / "into").mkdir()

    unpacked = _attempt(pack(members, tarfile.GNU_FORMAT, errors="surrogatepass"), sandbox / "into", policy)

    assert sorted(path.name for path in sandbox.iterdir()) == ["a", "into"]
    assert (sandbox / "a").read_text() == "old"
    resolved = [Path(os.path.realpath(path)) for path in (sandbox / "into").rglob("*") if path.is_symlink()]
    assert all(path.is_relative_to(sandbox / "into") or path.is_relative_to("/data") for path in resolved)
    assert unpacked in (None, len(members))


def _attempt(content: bytes, into: Path, policy: Policy) -> int | None:
    try:
        return unpack(io.BytesIO(content), into, policy).members
    except ArchiveError:
        return None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_damaged_the_only_error_is_that_of_an_archive(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    members = [directory("a"), file("a/b", b"x" * 600), link("a/c", "b"), file("long" * 40)]
    content = bytearray(pack(members, data.draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))))
    start = data.draw(st.integers(0, len(content)))
    content[start : start + data.draw(st.integers(0, 600))] = data.draw(st.binary(max_size=600))

    _attempt(bytes(content), tmp_path_factory.mktemp("any"), UPDATE)


numbers = st.text("0123456789.-+eEnaifx_ \0\n٣", max_size=24) | st.floats().map(str) | st.integers().map(str)
keys = st.sampled_from(
    ["path", "linkpath", "size", "uid", "gid", "mtime", "atime", "ctime", "uname", "hdrcharset", "comment",
     "GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.realsize", "SCHILY.acl.access", "SCHILY.acl.default",
     "SCHILY.xattr.user.a", "SCHILY.xattr.user.\0", "SCHILY.xattr.system.posix_acl_access", "SCHILY.xattr.", ""]
)  # fmt: skip
payloads = st.lists(st.tuples(keys, numbers | st.text(max_size=12)), max_size=5).map(
    lambda records: b"".join(record(key, value) for key, value in records)
)
types = st.sampled_from([b"x", b"X", b"g", b"L", b"K", b"S", b"0", b"5", b"2", b"7"])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    headers=st.lists(st.tuples(types, payloads | st.binary(max_size=40)), max_size=4),
    type=types,
    fields=st.lists(st.tuples(st.integers(100, 511), st.binary(max_size=12)), max_size=3),
    policy=st.sampled_from([UPDATE, RESTORE]),
)
def test_whatever_the_headers_hold_the_only_error_is_that_of_an_archive(
    tmp_path_factory: pytest.TempPathFactory,
    headers: list[tuple[bytes, bytes]],
    type: bytes,
    fields: list[tuple[int, bytes]],
    policy: Policy,
) -> None:
    given: dict[str, Any] = {str(number): (start, value[: 512 - start]) for number, (start, value) in enumerate(fields)}
    own = raw(b"a", type, **given)
    content = b"".join(pax(payload, kind) for kind, payload in headers) + own + END

    _attempt(content, tmp_path_factory.mktemp("any"), policy)


def bomb(members: Iterable[bytes]) -> bytes:
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1) as compressed:
        for each in members:
            compressed.write(each)
    return target.getvalue()


def attack(content: bytes, into: Path, policy: Policy) -> None:
    with ReadAhead(GunzipReader(io.BytesIO(content), policy.max_size + MIB)) as source:
        unpack(source, into, policy)


SMALL = Policy.update(max_size=4 * MIB, max_members=100, free_space=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param([raw(b"a", b"0", b"%011o" % (512 * MIB)), *[bytes(MIB)] * 512], "4194304 bytes", id="one file"),
        pytest.param(
            [raw(b"%d" % number, b"0", b"%011o" % MIB) + bytes(MIB) for number in range(90)],
            "4194304 bytes",
            id="files",
        ),
        pytest.param([raw(b"a"), *[bytes(MIB)] * 256], "5242880 bytes", id="nothing but an end"),
        pytest.param([raw(b"%d" % number) for number in range(2000)], "100 members", id="members"),
    ],
)
def test_a_bomb_is_stopped_at_the_limit(into: Path, content: list[bytes], reason: str) -> None:
    compressed = bomb(content)
    began = time.monotonic()

    with pytest.raises((ArchiveError, GunzipError), match=reason):
        attack(compressed, into, SMALL)

    assert sum(path.stat().st_size for path in into.rglob("*")) <= SMALL.max_size + MIB
    assert len(list(into.rglob("*"))) <= SMALL.max_members
    assert time.monotonic() - began < 5 * slowness()


def test_free_space_is_kept(into: Path) -> None:
    free = os.statvfs(into).f_bavail * os.statvfs(into).f_frsize
    policy = Policy.update(max_size=64 * MIB, max_members=10, free_space=free + (1 << 40))

    with pytest.raises(ArchiveError, match="bytes of disk free"):
        unpack(io.BytesIO(pack([file("a")])), into, policy)

    assert not any(into.iterdir())


@pytest.mark.parametrize(
    "make", [lambda: pack([file("a", bytes(MIB))]), lambda: pack([file(f"{n}") for n in range(9)])]
)
def test_unpacking_can_be_ended_from_outside(into: Path, make: Callable[[], bytes]) -> None:
    calls = iter(range(3))

    def checkpoint() -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt

    policy = Policy.update(max_size=64 * MIB, max_members=10, free_space=0, checkpoint=checkpoint)

    with pytest.raises(KeyboardInterrupt):
        unpack(io.BytesIO(make()), into, policy)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(0, 40), st.integers(1, 600))
def test_gzip_of_several_members_and_padding_is_decompressed(members: list[bytes], padding: int, size: int) -> None:
    reader = GunzipReader(io.BytesIO(b"".join(map(gzip.compress, members)) + bytes(padding)), 10_000)

    assert b"".join(iter(lambda: reader.read(size), b"")) == b"".join(members)


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c[:5], lambda c: c + b"x", lambda c: c[:-8] + bytes(8)])
def test_damaged_gzip_is_told(change: Callable[[bytes], bytes]) -> None:
    reader = GunzipReader(io.BytesIO(change(gzip.compress(b"content" * 100))), 10_000)

    with pytest.raises(GunzipError):
        b"".join(iter(lambda: reader.read(100), b""))


@pytest.mark.parametrize("rest", [b"x", b"garbage" * 100, bytes(30) + b"x", b"\x1f\x8c"])
def test_what_follows_the_compressed_data_is_told(rest: bytes) -> None:
    reader = GunzipReader(io.BytesIO(gzip.compress(b"content") + rest), 10_000)

    with pytest.raises(GunzipError, match="something behind the end of the compressed data"):
        b"".join(iter(lambda: reader.read(100), b""))


def test_a_source_that_fails_ahead_fails_where_it_is_read() -> None:
    with ReadAhead(GunzipReader(io.BytesIO(b"rubbish"), 10)) as source, pytest.raises(GunzipError):
        source.read(1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")
def test_owners_that_a_user_namespace_lacks_are_told_and_keep_nobody_from_a_restore(tmp_path: Path) -> None:
    members = [directory("d", mode=0o2755, uid=1000, gid=1000), file("d/f", mode=0o640, uid=1000, gid=1000),
               link("d/l", "f")]  # fmt: skip
    (tmp_path / "archive.tar").write_bytes(pack(members))
    (tmp_path / "into").mkdir()
    code = f"""
from pathlib import Path
from jidoteki.core.archives.unpacking import Policy, unpack
policy = Policy.restore(links_below=Path("/data"), free_space=0, note=print)
with open({str(tmp_path / "archive.tar")!r}, "rb") as source:
    unpack(source, Path({str(tmp_path / "into")!r}), policy)
"""
    namespace = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("this system has no user namespaces")

    said = subprocess.run([*namespace, sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert "d/f: its owner 1000:1000 cannot be set, so it belongs to the service's user: Invalid argument" in said
    assert stat.S_IMODE((tmp_path / "into/d/f").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "into/d").stat().st_mode) == 0o755


NOISE = random.Random(1).randbytes(9000)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lzma.compress(b"x" * 9), "is no tar archive, but an xz file"),
        (lzma.compress(NOISE), "is no tar archive, but an xz file"),
        (bz2.compress(NOISE), "is no tar archive, but a bzip2 file"),
        (b"Salted__" + NOISE, "is no tar archive, but an encrypted package"),
        (b"#!/bin/sh\necho hello\n", "is no tar archive, but a script"),
        (b'{"storage":{"type":"local"}}\n', "is no tar archive: it must be one"),
        (b"1234567\n" * 5000, "is no tar archive: it must be one"),
    ],
    ids=["short xz", "xz", "bzip2", "package", "script", "settings", "text"],
)
def test_what_is_no_archive_is_not_called_cut_off(content: bytes, told: str) -> None:
    with pytest.raises(ArchiveError, match=told):
        TarReader(io.BytesIO(content)).next()
