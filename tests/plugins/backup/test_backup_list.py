"""What `backup.txt` lists: the words that a shell makes of it, and what they find in the data directory."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from backupkit import Job, back_up, listing, write
from hypothesis import given, settings
from hypothesis import strategies as st

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import JobError
from jidoteki.plugins.backup import jobs, matching, stored_backup
from jidoteki.plugins.backup.backup_list import Selection, selection
from jidoteki.plugins.backup.matching import find, outermost
from jidoteki.plugins.backup.selection import selected


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    made = Appliance(tmp_path / "root", tmp_path / "root/admin")
    made.prepare()
    made.data.mkdir()
    return made


def names_in(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return sorted(tar.getnames())


def packed(appliance: Appliance, listed: bytes) -> list[str]:
    (appliance.etc / "backup.txt").write_bytes(listed)
    back_up(appliance)
    return names_in(stored_backup.archive(appliance))


# As a shell and find take it


NAMES = ["a", "b", "ab", "a b", ".a", ".ab", "a[b]", "a*", "b!", "a-b", "["]
TREE = st.dictionaries(
    st.sampled_from(NAMES),
    st.sampled_from(["file", "link"]) | st.frozensets(st.sampled_from(NAMES), max_size=5),
    max_size=6,
)
COMPONENT = st.text(st.sampled_from("ab.*?[]!- *"), min_size=1, max_size=5).map(lambda text: text.replace(" ", ""))
WORD = st.lists(COMPONENT, min_size=1, max_size=3).map("/".join) | st.lists(COMPONENT, min_size=1).map(
    lambda each: "/".join(each) + "/"
)


def is_portable(word: str) -> bool:
    """Whether `find` takes a word as a path below the directory, which a pattern never leaves."""
    components = word.rstrip("/").split("/")
    dots = any(fnmatch.fnmatchcase(dot, each) for each in components for dot in (".", "..") if each.startswith("."))
    return all(components) and not dots and word[0] not in "-!(),/"


def grow(data: Path, tree: dict[str, object]) -> None:
    for name, kind in tree.items():
        if kind == "file":
            (data / name).touch()
        elif kind == "link":
            (data / name).symlink_to("nowhere")
        else:
            (data / name).mkdir()
            for inner in kind:  # type: ignore[attr-defined]  # the other kinds are strings
                (data / name / inner).touch()


def found_by_shell(data: Path, words: str) -> set[str]:
    command: list[str | Path] = ["sh", "-c", 'cd "$1"; find $2 -maxdepth 0 -print0', "sh", data, words]
    done = subprocess.run(command, capture_output=True, env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]})
    return {os.fsdecode(path).rstrip("/") for path in done.stdout.split(b"\0") if path}


@settings(max_examples=150, deadline=None)
@given(tree=TREE, words=st.lists(WORD.filter(is_portable), min_size=1, max_size=3, unique=True))
def test_words_and_patterns_find_what_a_shell_and_find_do(tree: dict[str, object], words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        appliance = Appliance(Path(directory), Path(directory) / "admin")
        appliance.prepare()
        appliance.data.mkdir()
        grow(appliance.data, tree)
        (appliance.etc / "backup.txt").write_text(" \t\n".join(words))
        wanted = {word: found_by_shell(appliance.data, word) for word in words}

        found = find(selection(appliance).words, appliance.data)

    assert found.names == outermost(set().union(*wanted.values()))
    assert found.missing == [word for word in words if not wanted[word]]


@pytest.mark.parametrize(
    "listed",
    [
        b"app db\n", b"app\tdb", b"app\r\ndb\r\n", b"\xef\xbb\xbfapp\ndb\n",
        b"\xef\xbb\xbf# what to keep\r\n\r\napp db\r\n",
        b"  app/   ./db  \n", b"app\n# db\n#app\ndb", b"a* d?\n", b"[ad]* \n", b"/data/app /data/db/\n", b"/app /db\n",
    ],
)  # fmt: skip
def test_a_list_as_vendors_have_it_packs_what_it_names(appliance: Appliance, listed: bytes) -> None:
    for name in ("app/x", "db/y", "other/z", ".hidden/w"):
        write(appliance.data / name)

    assert packed(appliance, listed) == ["app", "app/x", "db", "db/y"]


def test_a_path_that_begins_with_the_data_directory_of_this_machine_lies_below_it(appliance: Appliance) -> None:
    write(appliance.data / "app/x")

    assert packed(appliance, f"{appliance.data}/app".encode()) == ["app", "app/x"]


@pytest.mark.parametrize("listed", [b"/data\n", b"/data/\n", b".\n", b"./\n"])
def test_the_data_directory_itself_is_all_of_it(appliance: Appliance, listed: bytes) -> None:
    write(appliance.data / "app/x")
    write(appliance.data / ".hidden")

    assert packed(appliance, listed) == [".hidden", "app", "app/x"]


def test_hidden_names_are_meant_only_by_the_dot_and_never_the_directories_above(appliance: Appliance) -> None:
    for name in ("shown", ".hidden", ".jidoteki-restore-1/x"):
        write(appliance.data / name)

    assert packed(appliance, b"*\n") == ["shown"]
    assert packed(appliance, b".*\n") == [".hidden"]


def test_a_name_that_is_not_utf_8_can_be_listed(appliance: Appliance) -> None:
    write(appliance.data / "plain")
    (appliance.data / os.fsdecode(b"caf\xe9")).touch()

    (appliance.etc / "backup.txt").write_bytes(b"caf\xe9 plain\n")

    assert find(selection(appliance).words, appliance.data).names == [os.fsdecode(b"caf\xe9"), "plain"]


@pytest.mark.parametrize("listed", ["app/../../etc *", "/data/../etc", "..", "app .jidoteki-restore-1", "a\0b"])
def test_a_word_that_leads_elsewhere_fails_the_backup(appliance: Appliance, listed: str) -> None:
    write(appliance.data / "app")
    (appliance.etc / "backup.txt").write_text(listed)

    with pytest.raises(JobError, match="not a path below the data directory"):
        back_up(appliance)


def test_no_pattern_follows_a_link(appliance: Appliance, tmp_path: Path) -> None:
    write(tmp_path / "outside/secret")
    write(appliance.data / "app/secret")
    (appliance.data / "link").symlink_to(tmp_path / "outside")
    (appliance.data / "file").symlink_to(tmp_path / "outside/secret")
    (appliance.etc / "backup.txt").write_text("*/secret")

    found = find(selection(appliance).words, appliance.data)

    assert found.names == ["app/secret"]
    assert list(found.blocked) == ["link"]


def test_a_link_that_is_named_on_the_way_fails_the_backup_and_the_one_from_before_stays(
    appliance: Appliance, tmp_path: Path
) -> None:
    write(appliance.data / "app/x")
    packed(appliance, b"app")
    write(tmp_path / "outside/secret")
    (appliance.data / "link").symlink_to(tmp_path / "outside")

    with pytest.raises(JobError, match="link, which is a symbolic link"):
        packed(appliance, b"app link/*")

    assert names_in(stored_backup.archive(appliance)) == ["app", "app/x"]


def test_patterns_that_match_more_than_a_command_line_holds_are_refused(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MAX_MATCHES", 3)
    for name in "abcd":
        write(appliance.data / name)

    with pytest.raises(JobError, match="matches too much"):
        packed(appliance, b"*")


# What is not there


def test_what_is_missing_is_told_in_the_log_and_the_answer(appliance: Appliance) -> None:
    write(appliance.data / "app/x")
    listing(appliance, "app nothing", "no*", "app/y")

    lines = back_up(appliance)

    status = stored_backup.status(appliance) or {}
    assert (status["status"], status["missing"]) == ("success", ["nothing", "no*", "app/y"])
    assert [line for line in lines if line.endswith("is missing")] == [
        "nothing is missing", "no* is missing", "app/y is missing",
    ]  # fmt: skip


def test_a_hundred_missing_words_are_told(appliance: Appliance) -> None:
    write(appliance.data / "app")
    listing(appliance, "app", *(f"missing{number}" for number in range(150)), "x" * 5000)

    lines = back_up(appliance)

    status = stored_backup.status(appliance) or {}
    assert status["missing"] == [f"missing{number}" for number in range(100)]
    assert "51 more lines like these are left out" in lines


def nothing_listed(appliance: Appliance) -> None:
    listing(appliance, "# app")


def typo(appliance: Appliance) -> None:
    listing(appliance, "ap", "x*")


def not_mounted(appliance: Appliance) -> None:
    subprocess.run(["rm", "-r", appliance.data], check=True)
    appliance.data.mkdir()


def everything_of_nothing(appliance: Appliance) -> None:
    not_mounted(appliance)
    listing(appliance, ".")


def no_data_directory(appliance: Appliance) -> None:
    subprocess.run(["rm", "-r", appliance.data], check=True)


def no_list(appliance: Appliance) -> None:
    (appliance.etc / "backup.txt").unlink()


def a_directory_for_a_list(appliance: Appliance) -> None:
    (appliance.etc / "backup.txt").unlink()
    (appliance.etc / "backup.txt").mkdir()


NOTHING = [
    nothing_listed, typo, not_mounted, everything_of_nothing, no_data_directory, no_list, a_directory_for_a_list,
]  # fmt: skip


@pytest.mark.parametrize("why", NOTHING)
def test_a_backup_of_nothing_fails_and_the_one_from_before_stays(appliance: Appliance, why: object) -> None:
    write(appliance.data / "app/x")
    listing(appliance, "app")
    back_up(appliance)
    before = stored_backup.archive(appliance).read_bytes()
    assert callable(why)
    why(appliance)
    job = Job(appliance)

    with pytest.raises(JobError):
        jobs.back_up(job)

    status = stored_backup.status(appliance) or {}
    assert status["status"] == "failed"
    assert job.lines[-2:] == [status["error-message"], "Backup failed"]
    for place in (appliance.spool, appliance.uploads):
        assert (place / "backup.tar").read_bytes() == before
    with stored_backup.open_archive(appliance) as file:
        assert file.read() == before


# What a restore asks


@pytest.mark.parametrize(
    ("listed", "path", "covered", "on_the_way"),
    [
        ("app", "app", True, False), ("app", "app/x/y", True, False), ("app", "apple", False, False),
        ("app/x", "app", False, True), ("app/x", "app/y", False, False), ("a*/x", "app", False, True),
        ("a*/x", "app/x/y", True, False), ("a*/x", "b/x", False, False), ("*", ".hidden", False, False),
        (".*", ".hidden/x", True, False), (".", "anything", True, False), ("a[1]", "a[1]", True, False),
        ("a[1]", "a1", True, False), ("db app", "app", True, False), ("db app", "other", False, False),
    ],
)  # fmt: skip
def test_what_an_archive_holds_is_listed_whether_it_is_there_or_not(
    appliance: Appliance, listed: str, path: str, covered: bool, on_the_way: bool
) -> None:
    listing(appliance, listed)
    found: Selection = selection(appliance)

    assert (found.covers(path), found.leads_to(path)) == (covered, on_the_way)


def test_the_paths_of_a_list_are_plain_whether_they_are_there_or_not(appliance: Appliance) -> None:
    write(appliance.data / "app/1/conf")
    write(appliance.data / "app/2/conf")
    listing(appliance, "app/*/conf", "gone", "gone/deeper", "x*")

    assert selected(appliance) == ["app/1/conf", "app/2/conf", "gone"]
