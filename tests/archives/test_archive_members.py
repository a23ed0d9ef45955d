"""What of an archive is unpacked: names that are used up, what a backup may hold beyond others, and hard links."""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jidoteki.core.archives import links, names, rules
from jidoteki.core.archives.directories import Directories
from jidoteki.core.archives.names import Names
from jidoteki.core.archives.tar import ArchiveError

DATA = Path("/data")


def info(name: str = "a", type: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = type
    for field, value in fields.items():
        setattr(made, field, value)
    return made


# Names


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=3) | st.just("\udcff")))
def test_a_name_is_new_once(texts: list[str]) -> None:
    found = Names()

    assert [found.add(each) for each in texts] == [each not in texts[:number] for number, each in enumerate(texts)]


def test_so_are_ten_thousand_in_little_memory() -> None:
    found = Names()

    assert all(found.add(f"a/{number}") for number in range(10_000))
    assert not any(found.add(f"a/{number}") for number in range(10_000))
    assert all(found.add(f"b/{number}") for number in range(10_000))
    assert 16 * 20_000 <= len(found._slots) * found._slots.itemsize <= 32 * 20_000


def test_a_set_grows_when_it_is_half_full_and_not_before() -> None:
    found = Names()
    assert len(found._slots) == 1024

    for number in range(512):
        found.add(str(number))
    assert len(found._slots) == 1024
    found.add("one more")

    assert (len(found._slots), found._used) == (2048, 513)
    found.add("one more")
    assert found._used == 513


class Digest:
    """A digest that the test chooses: the number that is the name."""

    def __init__(self, content: bytes, digest_size: int) -> None:
        assert digest_size == 8
        self._content = content

    def digest(self) -> bytes:
        return int(self._content).to_bytes(8, "little")


def test_names_whose_places_are_taken_find_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "blake2b", Digest)
    found = Names()
    # All of one place; the last places go on at the first.
    texts = [str(1023 + number * 1024) for number in range(300)] + ["5", "1022"]

    assert all(map(found.add, texts)) and not any(map(found.add, texts))
    assert all(found.add(str(number * 4096 + 2047)) for number in range(1000, 1400))
    assert not any(map(found.add, texts)), "after it has grown"
    assert len(found._slots) == 2048


def test_the_digest_that_marks_a_free_place_is_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "blake2b", Digest)
    found = Names()

    assert [found.add(each) for each in ("0", "0", "1", "2")] == [True, False, False, True]


# Rules


def refusal(member: tarfile.TarInfo, backup: bool = True, own: bool = False) -> str | None:
    asked: list[None] = []

    def is_own() -> bool:
        asked.append(None)
        return own

    try:
        rules.check(member, DATA, backup=backup, own=is_own)
    except ArchiveError as error:
        return str(error).partition("' ")[2]
    assert len(asked) <= 1
    return None


@pytest.mark.parametrize("type", [tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_hard_links_and_named_pipes_come_from_backups_alone(type: bytes) -> None:
    assert refusal(info(type=type)) is None
    assert refusal(info(type=type), backup=False) in ("is a hard link", "is a named pipe")
    assert refusal(info(type=type, size=1)) == "has an impossible size"
    assert refusal(info(type=type, mode=0o4755), own=True) == (
        "is set-user-id: no archive brings privileges, a script has to give them"
    )
    assert refusal(info("../a", type), own=True) == "has '..' in its name"
    assert refusal(info(type=type, uid=-1), own=True) == "has an impossible owner"


def test_files_with_holes_come_from_backups_alone_and_in_the_one_format() -> None:
    assert refusal(info(sparse=[(0, 1)], size=1)) is None
    assert refusal(info(sparse=[(0, 1)], size=1), backup=False) == "is a sparse file"
    assert refusal(info(type=tarfile.GNUTYPE_SPARSE, sparse=[(0, 1)], size=1), own=True) == "is a sparse file"
    assert refusal(info("/a", sparse=[(0, 1)], size=1), own=True) == "has an absolute name"


def test_nothing_is_changed_by_judging() -> None:
    for member in (info(type=tarfile.LNKTYPE), info(sparse=[(0, 1)], size=1)):
        before = member.type, member.sparse
        assert refusal(member) is None
        assert (member.type, member.sparse) == before


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (info("a\nb"), "has a control character in its name"),
        (info("a", mtime=2**40), "has an impossible time"),
        (info("a", tarfile.SYMTYPE, linkname="/etc"), "is a symbolic link that leads out of /data"),
    ],
)
@pytest.mark.parametrize("backup", [True, False])
def test_what_this_appliance_made_may_be_odd_and_what_another_did_may_not(
    member: tarfile.TarInfo, told: str, backup: bool
) -> None:
    assert refusal(member, backup) == told
    assert refusal(member, backup, own=True) is None


@pytest.mark.parametrize("member", [info("../a"), info("a", tarfile.CHRTYPE), info("a", mode=0o4755)])
def test_whose_it_is_is_not_asked_where_that_does_not_matter(member: tarfile.TarInfo) -> None:
    def ask() -> bool:
        raise AssertionError

    with pytest.raises(ArchiveError):
        rules.check(member, DATA, backup=True, own=ask)
    rules.check(info(), DATA, backup=True, own=ask)


@pytest.mark.parametrize(
    ("member", "can"),
    [
        (info(".jidoteki-x"), False),
        (info("a/.jidoteki-x/b"), False),
        (info("a/.JIDOTEKI-x", tarfile.DIRTYPE), False),
        (info(".jidoteki-left-out"), True),
        (info("./.jidoteki-left-out"), True),
        (info("a/.jidoteki-left-out"), False),
        (info(".jidoteki-left-out", tarfile.DIRTYPE), False),
        (info(".jidoteki-left-out", tarfile.SYMTYPE, linkname="b"), False),
        (info(".jidoteki-left-out", tarfile.LNKTYPE, linkname="b"), False),
        (info(".jidoteki-left-out-2"), False),
        (info(".jidoteki"), True),
    ],
)
def test_of_the_programs_own_names_a_backup_brings_its_list_alone(member: tarfile.TarInfo, can: bool) -> None:
    assert refusal(member, own=True) == (None if can else "has a name that is the program's own")
    assert refusal(member, backup=False, own=True) in (None, "is a hard link")


# Hard links


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[tuple[Path, Directories]]:
    """What was unpacked so far."""
    root = tmp_path / "into"
    (root / "dir").mkdir(parents=True)
    (root / "file").write_text("content")
    (root / "dir/inner").write_text("inner")
    (root / "link").symlink_to("file")
    (root / "away").symlink_to("..")
    (tmp_path / "outside").write_text("secret")
    (root / ".jidoteki-own").write_text("own")
    directories = Directories(os.open(root, os.O_RDONLY), False, lambda name: None)
    yield root, directories
    directories.close()


def nothing(source: int) -> None:
    """Copy nothing."""


def hard_link(
    tree: tuple[Path, Directories], target: str, name: str = "new", copy_of: links.Copy = nothing
) -> tarfile.TarInfo | None:
    root, directories = tree
    before = len(os.listdir("/proc/self/fd"))
    try:
        return links.link(info(name, tarfile.LNKTYPE, linkname=target), directories, directories.root, copy_of)
    finally:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("target", ["file", "./file", "dir/inner", "dir//inner"])
def test_a_hard_link_is_a_second_name_of_a_file(tree: tuple[Path, Directories], target: str) -> None:
    assert hard_link(tree, target) is None
    assert (tree[0] / "new").samefile(tree[0] / target)
    assert hard_link(tree, target, "other/last") is None
    assert (tree[0] / "last").samefile(tree[0] / target), "put into the directory that was given"


def test_of_a_symbolic_link_it_is_one_that_leads_to_the_same(tree: tuple[Path, Directories]) -> None:
    made = hard_link(tree, "link", "dir/new")

    assert made is not None
    assert (made.name, made.type, made.linkname) == ("dir/new", tarfile.SYMTYPE, "file")
    assert not (tree[0] / "new").is_symlink()


@pytest.mark.parametrize(
    ("target", "told"),
    [
        *((each, "leads elsewhere") for each in ("", ".", "/", "/file", "../outside", "dir/../file", "..", "a\nb")),
        *((each, "leads elsewhere") for each in (".jidoteki-own", "dir/.jidoteki-x", "x" * 256)),
        *(
            (each, "does not hold before it")
            for each in ("nothing", "nowhere/file", "file/x", "link/x", "away/outside")
        ),
        ("dir", "something that is no file"),
    ],
)
def test_it_leads_to_nothing_but_what_the_archive_brought(
    tree: tuple[Path, Directories], target: str, told: str
) -> None:
    with pytest.raises(ArchiveError, match=told):
        hard_link(tree, target)
    assert not (tree[0] / "new").exists()


def test_a_file_that_becomes_a_link_meanwhile_gives_nothing_of_what_that_leads_to(
    tree: tuple[Path, Directories], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.stat

    def and_swap(*arguments: Any, **options: Any) -> os.stat_result:
        status = look(*arguments, **options)
        (tree[0] / "file").unlink()
        (tree[0] / "file").symlink_to("../outside")
        return status

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", and_swap)
        hard_link(tree, "file")

    assert (tree[0] / "new").is_symlink()
    assert (tree[0].parent / "outside").lstat().st_nlink == 1


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM])
def test_where_no_link_can_be_the_file_is_copied(
    tree: tuple[Path, Directories], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    copied: list[bytes] = []
    monkeypatch.setattr(os, "link", failing(number))

    hard_link(tree, "dir/inner", copy_of=lambda source: copied.append(os.read(source, 100)))

    assert copied == [b"inner"]


def test_the_names_beyond_those_that_a_file_may_have_are_shared_by_one_copy(
    tree: tuple[Path, Directories], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, link = tree[0], os.link
    copies = []

    def at_most_three_names(source: str, *arguments: Any, **options: Any) -> None:
        if os.stat(source, dir_fd=options["src_dir_fd"]).st_nlink >= 3:
            raise OSError(errno.EMLINK, "Too many links")
        link(source, *arguments, **options)

    monkeypatch.setattr(os, "link", at_most_three_names)
    for number in range(7):

        def copy_of(source: int, name: str = str(number)) -> None:
            copies.append(name)
            (root / name).write_bytes(os.read(source, 100))

        assert hard_link(tree, "dir/inner", str(number), copy_of) is None

    assert {(root / str(number)).read_bytes() for number in range(7)} == {b"inner"}
    assert copies == ["2", "4", "6"]
    assert len({(root / str(number)).stat().st_ino for number in range(7)} | {(root / "dir/inner").stat().st_ino}) == 4


def test_what_else_keeps_a_link_from_being_made_is_told(
    tree: tuple[Path, Directories], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.ENOSPC))

    with pytest.raises(OSError, match="refused"):
        hard_link(tree, "file")


def failing(number: int) -> Callable[..., None]:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, "refused")

    return fail


def test_a_name_that_is_there_is_not_replaced(tree: tuple[Path, Directories]) -> None:
    with pytest.raises(FileExistsError):
        hard_link(tree, "file", "link")
