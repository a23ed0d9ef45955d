"""Whose credential it is, by what lies in the token files: before the first setup, during a first run, and after."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from jidoteki.core import files
from jidoteki.core.appliance import Appliance
from jidoteki.core.auth import authentication
from jidoteki.core.auth.authentication import FIRST_RUN, FIRST_SETUP, Authenticator
from jidoteki.core.auth.credentials import ADMIN, Credential, key_of
from jidoteki.core.auth.users import Holder, User
from jidoteki.hookspecs import PREFIX, ApiError, paths
from jidoteki.hookspecs.credentials import request_hash, secret_of

TOKEN = Credential("token", b"secret")
WRONG = Credential("token", b"guess")
PHRASE = Credential("token", b"one-two-three")
SETUP = ("POST", "/setup")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to somebody else")


@pytest.fixture
def appliance(tmp_path: Path) -> Appliance:
    made = Appliance(tmp_path, tmp_path / "admin")
    made.etc.mkdir(parents=True)
    return made


def write(appliance: Appliance, name: str, content: str, owner: int | None = None) -> Path:
    path = appliance.etc / name
    path.write_text(content)
    if owner is not None:
        os.chown(path, owner, owner)
    return path


def with_token(appliance: Appliance, **options: Any) -> Authenticator:
    write(appliance, "api.token", "secret\n")
    return made(appliance, **options)


def made(appliance: Appliance, first_run: bool = False, named_tokens: bool = False) -> Authenticator:
    return Authenticator(appliance, first_run, 5, named_tokens)


def entry(token: str, *scopes: str) -> dict[str, object]:
    return {"key": secret_of(token.encode()).decode(), "scopes": list(scopes)}


def hashed(method: str, path: str, token: str) -> Credential:
    return Credential("hash", request_hash(method, PREFIX + path, token).encode())


async def step() -> None:
    """Let the event loop take another step, in which files are looked at again."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_the_token_and_its_hashes_are_the_administrators(appliance: Appliance) -> None:
    authenticator = with_token(appliance)
    expected = Holder(secret_of(b"secret"), ADMIN)

    assert authenticator.authenticate("GET", "/version", TOKEN) == expected
    assert authenticator.authenticate("POST", "/setup", TOKEN) == expected
    assert authenticator.authenticate("GET", "/version", hashed("GET", "/version", "secret")) == expected
    assert (
        authenticator.holder("admin")
        == authenticator.signer("admin")
        == authenticator.holder_on_disk("admin")
        == expected
    )
    assert not authenticator.is_unset() and not authenticator.first_run_pending()
    assert authenticator.first_run_shown() is None


@pytest.mark.parametrize("shown", [None, WRONG, Credential("token", b""), hashed("POST", "/version", "secret")])
async def test_nothing_else_is_anybodys(appliance: Appliance, shown: Credential | None) -> None:
    authenticator = with_token(appliance)

    assert authenticator.authenticate("GET", "/version", shown) is None
    assert authenticator.authenticate(*SETUP, shown) is None


@pytest.mark.parametrize("name", ["first-run", "first-setup", "robot", "local", ""])
async def test_where_there_is_a_token_nobody_else_holds_one(appliance: Appliance, name: str) -> None:
    authenticator = with_token(appliance)

    assert authenticator.holder(name) is authenticator.holder_on_disk(name) is authenticator.signer(name) is None


@pytest.mark.parametrize("shown", [None, WRONG])
@pytest.mark.parametrize("path", ["/setup", "/setup/"])
async def test_where_no_token_ever_was_anybody_may_make_the_first_setup(
    appliance: Appliance, shown: Credential | None, path: str
) -> None:
    authenticator = made(appliance)

    assert authenticator.authenticate("POST", path, shown) == FIRST_SETUP
    assert authenticator.is_unset()
    assert authenticator.holder("first-setup") == authenticator.holder_on_disk("first-setup") == FIRST_SETUP
    assert (
        authenticator.signer("first-setup")
        is authenticator.holder("admin")
        is authenticator.holder_on_disk("admin")
        is None
    )
    assert not authenticator.first_run_pending()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/setup"), ("POST", "/version"), ("GET", "/version"), ("POST", "/setup/x")]
)
async def test_and_nothing_else(appliance: Appliance, method: str, path: str) -> None:
    assert made(appliance).authenticate(method, path, None) is None


@pytest.mark.parametrize("content", ["", "\n", "has space\n"])
async def test_a_token_file_that_holds_no_token_may_be_an_accident_and_opens_nothing(
    appliance: Appliance, content: str
) -> None:
    write(appliance, "api.token", content)
    authenticator = made(appliance)

    assert authenticator.authenticate(*SETUP, None) is authenticator.authenticate(*SETUP, WRONG) is None
    assert not authenticator.is_unset()
    assert authenticator.holder("first-setup") is None


async def test_a_token_file_that_cannot_be_looked_for_opens_nothing(appliance: Appliance) -> None:
    appliance.etc.rmdir()
    appliance.etc.symlink_to(appliance.etc)
    authenticator = made(appliance)

    assert authenticator.authenticate(*SETUP, None) is None
    assert not authenticator.is_unset()


async def test_a_token_that_is_a_link_to_nothing_opens_nothing(appliance: Appliance) -> None:
    (appliance.etc / "api.token").symlink_to("nothing")

    assert made(appliance).authenticate(*SETUP, None) is None


async def test_a_token_of_another_tool_counts_at_the_next_step_of_the_loop(appliance: Appliance) -> None:
    authenticator = with_token(appliance)
    assert authenticator.authenticate("GET", "/version", TOKEN)

    write(appliance, "api.token", "changed\n")
    await step()

    assert authenticator.authenticate("GET", "/version", TOKEN) is None
    assert authenticator.authenticate("GET", "/version", Credential("token", b"changed"))


@as_root
async def test_a_token_that_a_tool_of_another_user_wrote_counts(appliance: Appliance) -> None:
    write(appliance, "api.token", "secret\n", owner=1234)
    authenticator = made(appliance, first_run=True)
    authenticator.prepare()

    assert [each.name for each in appliance.etc.iterdir()] == ["api.token"]
    assert authenticator.authenticate("GET", "/version", TOKEN) == authenticator.holder_on_disk("admin") is not None


async def test_a_token_file_may_be_a_link(appliance: Appliance) -> None:
    write(appliance, "elsewhere", "secret\n")
    (appliance.etc / "api.token").symlink_to("elsewhere")
    authenticator = made(appliance)

    assert authenticator.authenticate("GET", "/version", TOKEN) == authenticator.holder_on_disk("admin") is not None


async def test_named_tokens_count_only_where_that_is_said(appliance: Appliance) -> None:
    write(appliance, "api.tokens.json", json.dumps({"tokens": {"robot": entry("r2", "all")}}))
    write(appliance, "api.token", "secret\n")

    assert Authenticator(appliance, False, 5).authenticate("GET", "/version", Credential("token", b"r2")) is None


async def test_a_token_file_may_have_4096_bytes(appliance: Appliance) -> None:
    write(appliance, "api.token", "secret\n" + "x" * (4096 - 7))
    authenticator = made(appliance)
    assert authenticator.authenticate("GET", "/version", TOKEN)
    assert authenticator.holder_on_disk("admin")

    write(appliance, "api.token", "secret\n" + "x" * (4096 - 6))
    await step()

    assert authenticator.authenticate("GET", "/version", TOKEN) is None
    with pytest.raises(OSError, match="longer than 4096"):
        authenticator.holder_on_disk("admin")


# First runs


async def test_a_passphrase_is_made_where_first_runs_are_enabled_and_no_token_is(appliance: Appliance) -> None:
    made(appliance).prepare()
    assert list(appliance.etc.iterdir()) == []

    made(appliance, first_run=True).prepare()

    path = appliance.etc / "api.token.setup"
    assert len(path.read_text().split("-")) >= 5 and path.read_text().endswith("\n")
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_text()
    made(appliance, first_run=True).prepare()
    assert path.read_text() == before


@as_root
@pytest.mark.parametrize("content", [None, "no passphrase\n"])
async def test_the_group_of_files_reads_the_passphrase_and_may_change_the_token(
    tmp_path: Path, appliance: Appliance, content: str | None
) -> None:
    ours = Appliance(tmp_path, appliance.admin, 1234)
    if content:
        write(ours, "api.token.setup", content)
        os.chown(ours.etc / "api.token.setup", 0, 1234)
        (ours.etc / "api.token.setup").chmod(0o640)
    authenticator = made(ours, first_run=True)
    authenticator.prepare()
    status = (ours.etc / "api.token.setup").stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o640, 1234)

    holder = authenticator.holder("first-run")
    assert holder is not None
    authenticator.set_token("mine", holder)

    status = (ours.etc / "api.token").stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o660, 1234)


@as_root
async def test_the_group_of_files_may_change_the_token_of_a_first_setup(tmp_path: Path, appliance: Appliance) -> None:
    ours = Appliance(tmp_path, appliance.admin, 1234)

    made(ours).set_token("mine", FIRST_SETUP)

    status = (ours.etc / "api.token").stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o660, 1234)


async def test_no_passphrase_is_made_where_there_is_a_token(appliance: Appliance) -> None:
    with_token(appliance, first_run=True).prepare()

    assert [each.name for each in appliance.etc.iterdir()] == ["api.token"]


@pytest.mark.parametrize("content", ["", "two words\n"])
async def test_what_is_no_passphrase_is_replaced(appliance: Appliance, content: str) -> None:
    path = write(appliance, "api.token.setup", content)

    made(appliance, first_run=True).prepare()

    assert key_of(path.read_bytes())
    assert path.stat().st_uid == os.geteuid()


@as_root
async def test_a_passphrase_that_somebody_else_wrote_is_replaced_and_counts_nowhere(appliance: Appliance) -> None:
    path = write(appliance, "api.token.setup", "one-two-three\n", owner=1234)
    authenticator = made(appliance, first_run=True)

    assert authenticator.lacks_passphrase()
    assert authenticator.authenticate(*SETUP, PHRASE) is None
    assert authenticator.holder("first-run") is authenticator.holder_on_disk("first-run") is None
    authenticator.prepare()
    await step()

    assert "one-two-three" not in path.read_text()
    assert not authenticator.lacks_passphrase()


@as_root
async def test_a_passphrase_of_somebody_else_counts_where_the_token_is_the_same(appliance: Appliance) -> None:
    write(appliance, "api.token.setup", "one-two-three\n", owner=1234)
    write(appliance, "api.token", "one-two-three\n")
    authenticator = made(appliance, first_run=True)
    holder = Holder(secret_of(b"one-two-three"), FIRST_RUN)

    assert authenticator.authenticate(*SETUP, PHRASE) == holder
    assert authenticator.holder("first-run") == authenticator.holder_on_disk("first-run") == holder


@as_root
async def test_a_passphrase_of_somebody_else_keeps_nobody_from_another_token(appliance: Appliance) -> None:
    write(appliance, "api.token.setup", "one-two-three\n", owner=1234)
    authenticator = with_token(appliance, first_run=True)

    assert authenticator.authenticate("GET", "/version", TOKEN)
    assert authenticator.authenticate(*SETUP, PHRASE) is None
    assert not authenticator.first_run_pending()
    assert authenticator.holder_on_disk("admin") and authenticator.holder("admin")


@pytest.mark.parametrize("token", ["", "secret\n"])
async def test_while_the_passphrase_waits_it_opens_the_setup_and_nothing_else_opens_anything(
    appliance: Appliance, token: str
) -> None:
    write(appliance, "api.token.setup", "one-two-three\n")
    if token:
        write(appliance, "api.token", token)
    authenticator = made(appliance, first_run=True)
    holder = Holder(secret_of(b"one-two-three"), FIRST_RUN)

    assert authenticator.authenticate(*SETUP, PHRASE) == holder
    assert authenticator.authenticate(*SETUP, hashed(*SETUP, "one-two-three")) == holder
    for shown in (None, WRONG, TOKEN):
        assert authenticator.authenticate(*SETUP, shown) is None
    for shown in (None, PHRASE, TOKEN):
        assert authenticator.authenticate("GET", "/version", shown) is None
        assert authenticator.authenticate("GET", "/setup", shown) is None
    assert authenticator.holder("first-run") == authenticator.holder_on_disk("first-run") == holder
    for name in ("admin", "first-setup"):
        assert authenticator.holder(name) is authenticator.holder_on_disk(name) is authenticator.signer(name) is None
    assert authenticator.signer("first-run") is None
    assert authenticator.first_run_pending() and authenticator.first_run_shown() is True
    assert not authenticator.is_unset()


async def test_a_passphrase_counts_even_where_first_runs_are_disabled_until_there_is_a_token(
    appliance: Appliance,
) -> None:
    write(appliance, "api.token.setup", "one-two-three\n")
    authenticator = made(appliance)

    assert authenticator.authenticate(*SETUP, PHRASE) == Holder(secret_of(b"one-two-three"), FIRST_RUN)
    assert authenticator.authenticate(*SETUP, None) is None
    assert authenticator.first_run_pending() and authenticator.first_run_shown() is None
    assert not authenticator.is_unset()
    write(appliance, "api.token", "secret\n")
    await step()

    assert authenticator.authenticate(*SETUP, PHRASE) is None
    assert authenticator.authenticate("GET", "/version", TOKEN) == Holder(secret_of(b"secret"), ADMIN)
    assert not authenticator.first_run_pending()
    assert authenticator.holder("admin") == authenticator.holder_on_disk("admin")


async def test_a_first_run_without_passphrase_and_token_lets_nobody_in(appliance: Appliance) -> None:
    authenticator = made(appliance, first_run=True)

    assert (
        authenticator.lacks_passphrase()
        and authenticator.first_run_pending()
        and authenticator.first_run_shown() is True
    )
    for shown in (None, WRONG):
        assert authenticator.authenticate(*SETUP, shown) is None
    assert (
        authenticator.holder("first-run")
        is authenticator.holder_on_disk("first-run")
        is authenticator.holder("first-setup")
        is None
    )
    assert not authenticator.is_unset()


async def test_after_a_first_run_the_token_counts(appliance: Appliance) -> None:
    authenticator = with_token(appliance, first_run=True)

    assert (
        authenticator.authenticate("GET", "/version", TOKEN)
        == authenticator.holder("admin")
        == authenticator.holder_on_disk("admin")
    )
    assert authenticator.first_run_shown() is False
    assert not authenticator.lacks_passphrase()


@pytest.mark.parametrize("name", ["api.token", "api.token.setup"])
async def test_a_file_that_cannot_be_read_is_not_taken_for_a_missing_one(appliance: Appliance, name: str) -> None:
    (appliance.etc / name).mkdir()
    authenticator = made(appliance, first_run=True)

    assert not authenticator.lacks_passphrase()
    with pytest.raises(OSError, match="not a regular file"):
        authenticator.prepare()
    with pytest.raises(OSError, match="not a regular file"):
        authenticator.holder_on_disk("admin")
    assert authenticator.authenticate(*SETUP, None) is None
    assert authenticator.authenticate("GET", "/version", TOKEN) is None


async def test_a_passphrase_is_not_lacking_where_first_runs_are_disabled(appliance: Appliance) -> None:
    assert not made(appliance).lacks_passphrase()


async def test_a_passphrase_that_waits_is_not_lacking(appliance: Appliance) -> None:
    write(appliance, "api.token.setup", "one-two-three\n")

    assert not made(appliance, first_run=True).lacks_passphrase()


# Named tokens


async def test_a_named_token_and_its_hashes_are_its_holders(appliance: Appliance) -> None:
    tokens = {"robot": entry("r2", "read"), "mate": entry("m3", "all"), "last": entry("l4")}
    write(appliance, "api.tokens.json", json.dumps({"tokens": tokens}))
    authenticator = with_token(appliance, named_tokens=True)
    expected = Holder(secret_of(b"m3"), User("mate", ("all",)))

    assert authenticator.authenticate("GET", "/version", Credential("token", b"m3")) == expected
    assert authenticator.authenticate("GET", "/version", hashed("GET", "/version", "m3")) == expected
    assert authenticator.authenticate("GET", "/version", hashed("POST", "/version", "m3")) is None
    assert authenticator.authenticate("GET", "/version", Credential("token", secret_of(b"m3"))) is None
    assert authenticator.authenticate("GET", "/version", WRONG) is None
    assert authenticator.authenticate("GET", "/version", TOKEN) == authenticator.signer("admin")
    assert (
        authenticator.holder("mate") == authenticator.signer("mate") == authenticator.holder_on_disk("mate") == expected
    )
    assert authenticator.holder("nobody") is authenticator.holder_on_disk("nobody") is None


async def test_named_tokens_count_only_where_they_are_enabled(appliance: Appliance) -> None:
    write(appliance, "api.tokens.json", json.dumps({"tokens": {"robot": entry("r2", "all")}}))
    authenticator = with_token(appliance)

    assert authenticator.authenticate("GET", "/version", Credential("token", b"r2")) is None
    assert authenticator.holder("robot") is authenticator.holder_on_disk("robot") is None


async def test_no_named_token_counts_before_the_first_setup_or_while_a_passphrase_waits(appliance: Appliance) -> None:
    write(appliance, "api.tokens.json", json.dumps({"tokens": {"robot": entry("r2", "all")}}))
    authenticator = made(appliance, named_tokens=True)
    robot = Credential("token", b"r2")

    assert authenticator.authenticate("GET", "/version", robot) is None
    write(appliance, "api.token.setup", "one-two-three\n")
    await step()
    assert authenticator.authenticate("GET", "/version", robot) is authenticator.authenticate(*SETUP, robot) is None
    assert (
        authenticator.holder("robot") is authenticator.signer("robot") is authenticator.holder_on_disk("robot") is None
    )


@as_root
async def test_named_tokens_that_somebody_else_wrote_are_nobodys(appliance: Appliance) -> None:
    write(appliance, "api.tokens.json", json.dumps({"tokens": {"robot": entry("r2", "all")}}), owner=1234)
    authenticator = with_token(appliance, named_tokens=True)

    assert authenticator.authenticate("GET", "/version", Credential("token", b"r2")) is None
    assert authenticator.holder("robot") is None
    with pytest.raises(PermissionError):
        authenticator.holder_on_disk("robot")


async def test_a_file_of_named_tokens_may_have_a_mebibyte(appliance: Appliance) -> None:
    content = json.dumps({"tokens": {"robot": entry("r2", "all")}})
    write(appliance, "api.tokens.json", content.ljust(1024 * 1024))
    authenticator = with_token(appliance, named_tokens=True)
    assert authenticator.holder_on_disk("robot") == authenticator.holder("robot") is not None

    write(appliance, "api.tokens.json", content.ljust(1024 * 1024 + 1))
    await step()

    assert authenticator.holder("robot") is None
    with pytest.raises(OSError, match="longer than"):
        authenticator.holder_on_disk("robot")


# Changes of the token


async def test_a_first_setup_makes_the_token_once(appliance: Appliance) -> None:
    authenticator = made(appliance)

    authenticator.set_token("mine", FIRST_SETUP)

    path = appliance.etc / "api.token"
    assert path.read_text() == "mine\n"
    with pytest.raises(ApiError) as refused:
        authenticator.set_token("yours", FIRST_SETUP)
    assert (refused.value.status, refused.value.message) == (403, "Authentication error")
    assert path.read_text() == "mine\n"


async def test_of_two_first_setups_the_second_is_refused_even_at_the_last_moment(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = made(appliance)
    create = files.create_file

    def after_another(path: Path, *arguments: Any) -> bool:
        path.write_text("theirs\n")
        return create(path, *arguments)

    monkeypatch.setattr(files, "create_file", after_another)
    with pytest.raises(ApiError) as refused:
        authenticator.set_token("mine", FIRST_SETUP)

    assert refused.value.status == 403
    assert (appliance.etc / "api.token").read_text() == "theirs\n"


async def test_the_administrator_changes_the_token_until_it_was_changed(appliance: Appliance) -> None:
    authenticator = with_token(appliance)
    holder = authenticator.authenticate("POST", "/setup", TOKEN)
    assert holder is not None

    authenticator.set_token("second", holder)
    with pytest.raises(ApiError) as refused:
        authenticator.set_token("third", holder)

    assert refused.value.status == 403
    assert (appliance.etc / "api.token").read_text() == "second\n"
    assert [each.name for each in appliance.etc.iterdir()] == ["api.token"]


@pytest.mark.parametrize("old", ["", "old\n"])
async def test_the_passphrase_of_a_first_run_is_used_up(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch, old: str
) -> None:
    write(appliance, "api.token.setup", "one-two-three\n")
    if old:
        write(appliance, "api.token", old)
    authenticator = made(appliance, first_run=True)
    holder = authenticator.authenticate(*SETUP, PHRASE)
    assert holder is not None
    synced: list[Path] = []
    monkeypatch.setattr(paths, "sync_directory", synced.append)

    authenticator.set_token("mine", holder)

    assert [(each.name, each.read_text()) for each in appliance.etc.iterdir()] == [("api.token", "mine\n")]
    assert synced[-1] == appliance.etc, "the removal is durable"
    await step()
    assert authenticator.authenticate("GET", "/version", Credential("token", b"mine"))
    assert authenticator.authenticate(*SETUP, PHRASE) is None
    with pytest.raises(ApiError):
        authenticator.set_token("again", holder)


async def test_a_passphrase_that_is_gone_meanwhile_is_used_up_as_well(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(appliance, "api.token.setup", "one-two-three\n")
    authenticator = made(appliance, first_run=True)
    holder = authenticator.authenticate(*SETUP, PHRASE)
    assert holder is not None
    replace = files.replace_file

    def and_remove(*arguments: Any, **options: Any) -> None:
        replace(*arguments, **options)
        path.unlink()

    monkeypatch.setattr(files, "replace_file", and_remove)
    authenticator.set_token("mine", holder)

    assert (appliance.etc / "api.token").read_text() == "mine\n"


async def test_the_administrators_change_leaves_a_passphrase_that_is_not_in_force(appliance: Appliance) -> None:
    write(appliance, "api.token.setup", "one-two-three\n")
    authenticator = with_token(appliance)
    holder = authenticator.authenticate(*SETUP, TOKEN)
    assert holder is not None

    authenticator.set_token("mine", holder)

    assert (appliance.etc / "api.token.setup").exists()


async def test_a_token_that_cannot_be_stored_leaves_the_old_one_and_the_next_change_possible(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = with_token(appliance)
    holder = authenticator.authenticate(*SETUP, TOKEN)
    assert holder is not None

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "replace_file", full)
        with pytest.raises(OSError, match="No space"):
            authenticator.set_token("mine", holder)
    assert (appliance.etc / "api.token").read_text() == "secret\n"
    authenticator.set_token("mine", holder)


@pytest.mark.parametrize("words", [1, 5, 8])
def test_a_passphrase_is_drawn_from_the_whole_long_list(monkeypatch: pytest.MonkeyPatch, words: int) -> None:
    lists: list[list[str]] = []

    def first_but(words: list[str]) -> str:
        lists.append(words)
        return f"word{len(lists)}"

    monkeypatch.setattr("secrets.choice", first_but)

    assert authentication.new_passphrase(words) == "-".join(f"word{number}" for number in range(1, words + 1))
    assert {len(each) for each in lists} == {7776}
    assert {"aardvark", "zoom", "yo-yo"} & {*lists[0]}


def test_no_passphrase_is_made_twice() -> None:
    assert len({authentication.new_passphrase(5) for _ in range(5)}) == 5
