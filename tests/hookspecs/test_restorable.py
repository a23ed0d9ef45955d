"""The members of an archive that can be restored safely: names, types, numbers and links."""

from __future__ import annotations

import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jidoteki.hookspecs.restorable import IMPLIED, can_restore, is_reserved, parts

DATA = Path("/data")
TYPES = {
    "file": tarfile.REGTYPE,
    "old file": tarfile.AREGTYPE,
    "directory": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "named pipe": tarfile.FIFOTYPE,
    "old sparse file": tarfile.GNUTYPE_SPARSE,
    "contiguous file": tarfile.CONTTYPE,
    "anything": b"V",
}


def reason(
    name: str = "a/b", type: str = "file", below: Path | None = None, own: bool = False, **fields: object
) -> str | None:
    info = tarfile.TarInfo("of another name")
    info.type = TYPES[type]
    info.mode = 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return can_restore(name, info, below, own=own)


def link(name: str, target: str, below: Path | None = None, own: bool = False) -> str | None:
    return reason(name, "link", below, own, linkname=target)


@pytest.mark.parametrize(
    "name", ["a", "./a", "a//b/./c", "a/...", "..a", "a..", ".", "x" * 255, "café", "a b", ".hidden"]
)
@pytest.mark.parametrize("own", [False, True])
def test_an_ordinary_name_can_be_restored(name: str, own: bool) -> None:
    assert reason(name, "directory", own=own) is None
    if name != ".":
        assert reason(name, own=own) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "has no name"),
        ("/", "has an absolute name"),
        ("/a", "has an absolute name"),
        ("//a", "has an absolute name"),
        ("..", "has '..' in its name"),
        ("../a", "has '..' in its name"),
        ("a/../b", "has '..' in its name"),
        ("a/./..", "has '..' in its name"),
        ("x" * 256, "has a name with a component longer than 255 bytes"),
        ("a/" + "é" * 128, "has a name with a component longer than 255 bytes"),
        ("a/" * 2048 + "a", "has a name longer than 4096 bytes"),
        ("a/" * 256 + "a", "lies more than 256 directories deep"),
    ],
)
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("type", ["file", "directory", "link"])
def test_a_name_that_leads_elsewhere_or_too_far_cannot(name: str, told: str, own: bool, type: str) -> None:
    assert reason(name, type, DATA, own, linkname="b") == told


def test_the_longest_names_can() -> None:
    assert reason("a/" * 255 + "a") is None
    assert reason("a/" + "é" * 127) is None
    long = "/".join(["x" * 255] * 16)
    assert len(long) == 4095
    assert reason(long) is None
    assert reason(long + "/", "directory") is None
    assert reason(long + "//", "directory") == "has a name longer than 4096 bytes"


@pytest.mark.parametrize(
    ("character", "told"),
    [
        *((each, "has a control character in its name") for each in "\0\n\t\x1b\x1f\x7f\x80\x9f\u2028\u2029"),
        ("\udcff", "has a name that is not UTF-8"),
    ],
)
def test_control_characters_and_other_encodings_come_from_this_appliance_alone(character: str, told: str) -> None:
    assert reason(f"a{character}b") == told
    assert reason(f"a{character}b", own=True) is None


@pytest.mark.parametrize("character", [" ", "~", "\xa0", "\u2027", "\u2030", "\u202e"])
def test_other_characters_may_come(character: str) -> None:
    assert reason(f"a{character}b") is None


@pytest.mark.parametrize(
    ("type", "told"),
    [
        ("hard link", "is a hard link"),
        ("character device", "is a character device"),
        ("block device", "is a block device"),
        ("named pipe", "is a named pipe"),
        ("old sparse file", "is a sparse file"),
        ("contiguous file", "is neither a file nor a directory nor a symbolic link"),
        ("anything", "is neither a file nor a directory nor a symbolic link"),
        ("file", None),
        ("old file", None),
        ("directory", None),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_files_directories_and_links_can_and_nothing_else(type: str, told: str | None, own: bool) -> None:
    assert reason(type=type, own=own) == told


def test_a_sparse_file_of_any_format_cannot() -> None:
    assert reason(sparse=[(0, 1)]) == "is a sparse file"


@pytest.mark.parametrize("name", ["a/", ".", "./", "./."])
@pytest.mark.parametrize("type", ["file", "link"])
def test_a_name_of_a_directory_is_for_directories(name: str, type: str) -> None:
    assert reason(name, type, linkname="b") == "has a directory's name and is none"
    assert reason(name, "directory") is None


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("type", "mode", "told"),
    [
        ("file", 0o4755, "is set-user-id"),
        ("file", 0o4000, "is set-user-id"),
        ("directory", 0o4755, "is set-user-id"),
        ("file", 0o2755, "is set-group-id"),
        ("directory", 0o2755, None),
        ("file", 0o1777, None),
        ("file", 0o777, None),
        ("file", 0o3777, "is set-group-id"),
        ("link", 0o7777, None),
        ("file", 0, None),
        ("file", -1, "is set-user-id"),
        ("link", -1, "has an impossible mode"),
        ("directory", -0o7777, "has an impossible mode"),
    ],
)
def test_no_archive_brings_privileges(type: str, mode: int, told: str | None, own: bool) -> None:
    found = reason(type=type, mode=mode, own=own, linkname="b")

    assert found is None if told is None else found is not None and found.startswith(told)


def test_the_mark_of_a_directory_that_is_not_in_the_archive_is_a_bit_that_no_member_has() -> None:
    assert IMPLIED == stat.S_ISUID
    assert all(reason(type=type, mode=IMPLIED, own=True) for type in ("file", "directory"))


def test_an_archive_is_somebody_elses_unless_that_is_known() -> None:
    info = tarfile.TarInfo("a")

    assert can_restore("a\nb", info, None) == "has a control character in its name"
    assert can_restore("a\nb", info, None, own=True) is None


@pytest.mark.parametrize("field", ["uid", "gid"])
@pytest.mark.parametrize(("id", "can"), [(0, True), (2**32 - 2, True), (-1, False), (2**32 - 1, False), (2**32, False)])
@pytest.mark.parametrize("own", [False, True])
def test_owners_are_ids_that_chown_takes(field: str, id: int, can: bool, own: bool) -> None:
    assert reason(own=own, uid=id if field == "uid" else 0, gid=id if field == "gid" else 0) == (
        None if can else "has an impossible owner"
    )


@pytest.mark.parametrize(
    ("time", "can"),
    [(0, True), (-(2**31), True), (2**34 - 1, True), (2**34 - 0.5, True), (-(2**31) - 1, False), (2**34, False)],
)
def test_times_of_any_age_come_from_this_appliance_alone(time: float, can: bool) -> None:
    assert reason(mtime=time) == (None if can else "has an impossible time")
    assert reason(mtime=time, own=True) is None


@pytest.mark.parametrize(
    ("type", "size", "can"),
    [
        ("file", 0, True), ("file", 1, True), ("file", 2**60, True), ("old file", 1, True), ("file", -1, False),
        ("directory", 0, True), ("directory", 1, False), ("link", 1, False), ("link", -1, False), ("link", 0, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("own", [False, True])
def test_files_alone_have_a_size(type: str, size: int, can: bool, own: bool) -> None:
    assert reason(type=type, size=size, own=own, linkname="b") == (None if can else "has an impossible size")


@pytest.mark.parametrize("own", [False, True])
def test_a_link_leads_somewhere(own: bool) -> None:
    assert link("a", "", own=own) == "is a symbolic link to nothing"
    assert link("a", "x" * 4096, own=own) is None
    assert link("a", "x" * 4097, own=own) == "is a symbolic link to a name longer than 4096 bytes"
    assert link("a", "é" * 2049, own=own) == "is a symbolic link to a name longer than 4096 bytes"


@pytest.mark.parametrize(
    ("target", "below", "told"),
    [
        ("/data", DATA, None),
        ("/data/", DATA, None),
        ("/data/x/y", DATA, None),
        ("/", DATA, "is a symbolic link that leads out of /data"),
        ("/database", DATA, "is a symbolic link that leads out of /data"),
        ("/etc/passwd", DATA, "is a symbolic link that leads out of /data"),
        ("/data/../etc", DATA, "is a symbolic link that leads out of /data"),
        ("/data/x/..", DATA, "is a symbolic link that leads out of /data"),
        ("/data", None, "is a symbolic link to an absolute name"),
        ("/", None, "is a symbolic link to an absolute name"),
    ],
)
def test_an_absolute_link_leads_below_the_one_directory_if_there_is_one(
    target: str, below: Path | None, told: str | None
) -> None:
    assert link("a/b/c", target, below) == told
    assert link("a/b/c", target, below, own=True) is None


@pytest.mark.parametrize(
    ("name", "target", "can"),
    [
        ("a", "b", True),
        ("a", "b/c", True),
        ("a", ".", True),
        ("a", "..", False),
        ("a", "../a", False),
        ("a/b", "..", True),
        ("a/b", "../c", True),
        ("a/b", "./../c", True),
        ("a/b", "../..", False),
        ("a/b/c", "../../d", True),
        ("./a/.//b", "../c", True),
        ("./a", "../c", False),
        ("a/b/c", "d/..", False),
        ("a/b/c", "../d/../e", False),
        ("a/b", "...", True),
        ("a/b", "..c/d", True),
    ],
)
@pytest.mark.parametrize("below", [None, DATA])
def test_a_relative_link_leads_up_within_the_archive_and_down_for_good(
    name: str, target: str, can: bool, below: Path | None
) -> None:
    assert link(name, target, below) == (None if can else "is a symbolic link that leads out of the archive")
    assert link(name, target, below, own=True) is None


@pytest.mark.parametrize(
    ("target", "told"),
    [("a\nb", "has a control character in its link's target"), ("a\udcff", "has a link's target that is not UTF-8")],
)
def test_the_target_of_a_link_is_text_unless_this_appliance_made_it(target: str, told: str) -> None:
    assert link("a", target) == told
    assert link("a", target, own=True) is None


def test_the_target_of_what_is_no_link_is_nobodys() -> None:
    assert reason(linkname="/etc/passwd") is None
    assert reason(type="directory", linkname="../..") is None


COMPONENT = st.sampled_from(["a", "b", "..", ".", "", "c"])


@settings(max_examples=200, deadline=None)
@given(st.lists(COMPONENT, max_size=5), st.lists(COMPONENT, max_size=5))
def test_no_link_that_can_be_restored_leads_out(name: list[str], target: list[str]) -> None:
    """Resolve the link lexically, from its directory."""
    if link("/".join(name), "/".join(target)) is not None:
        return
    depth = len(parts("/".join(name))) - 1
    for part in parts("/".join(target)):
        depth += -1 if part == ".." else 1
        assert depth >= 0


@pytest.mark.parametrize(
    ("component", "reserved"),
    [
        (".jidoteki-", True),
        (".jidoteki-left-out", True),
        (".JIDOTEKI-x", True),
        (".Jidoteki-x", True),
        (".jidoteki", False),
        ("x.jidoteki-", False),
        ("jidoteki-", False),
        ("", False),
        (".ｊidoteki-x", True),
        (".jido\u200bteki-x", True),
        (".jidotekı-x", False),
        (".jidoteKi-\u00e9", True),
        ("é.jidoteki-", False),
        ("é", False),
    ],
)
def test_which_names_are_the_programs_own(component: str, reserved: bool) -> None:
    assert is_reserved(component) is reserved


@pytest.mark.parametrize(
    ("name", "found"), [("", []), ("a", ["a"]), ("/a//b/./c/", ["a", "b", "c"]), (".", []), ("..", [".."])]
)
def test_the_components_of_a_name(name: str, found: list[str]) -> None:
    assert parts(name) == found
