"""The first setup stays guarded, whatever happens to the token and to the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import TOKEN, MakeHost

FIRST_RUN = {"enabled": True, "word-length": 4}


def passphrase_of(host: Host) -> str:
    return (host.appliance.etc / "api.token.setup").read_text().strip()


def set_up(host: Host, passphrase: str | None, token: str, source: str) -> int:
    query = f"token={passphrase}" if passphrase else ""
    return host.post("/setup", "-F", f"newtoken={token}", auth="none", query=query, source=source).status


def test_a_removed_token_needs_a_new_passphrase_which_is_made_at_once(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, first_run=FIRST_RUN)
    former = passphrase_of(host)
    assert set_up(host, former, "mine", "127.0.0.2") == 200

    (host.appliance.etc / "api.token").unlink()
    stranger = set_up(host, None, "evil", "127.0.0.3")
    wait_until((host.appliance.etc / "api.token.setup").exists, 5)
    still = set_up(host, None, "evil", "127.0.0.4")
    with_former = set_up(host, former, "evil", "127.0.0.5")
    owner = set_up(host, passphrase_of(host), "mine-again", "127.0.0.6")

    assert (stranger, still, with_former, owner) == (403, 403, 403, 200)


def test_a_token_that_is_replaced_by_removing_it_first_begins_no_first_run(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(first_run=FIRST_RUN)
    token = host.appliance.etc / "api.token"

    token.unlink()
    without = host.get("/version").status
    token.write_text(TOKEN + "\n")
    again = host.get("/version", source="127.0.0.2")

    assert (without, again.status) == (403, 200)
    assert not (host.appliance.etc / "api.token.setup").exists()


@pytest.mark.parametrize("left", ["", "\n", "not a passphrase: it has spaces\n"])
def test_a_valid_token_beside_a_setup_file_without_a_passphrase_is_in_force(jidoteki_host: MakeHost, left: str) -> None:
    host = jidoteki_host(start=False, first_run=FIRST_RUN)
    (host.appliance.etc / "api.token.setup").write_text(left)

    host.start()

    assert host.get("/version").json == {"version": "1.0.0"}


def test_an_empty_setup_file_without_a_token_is_filled_at_the_start(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, start=False, first_run=FIRST_RUN)
    (host.appliance.etc / "api.token.setup").write_text("")

    host.start()

    assert set_up(host, None, "evil", "127.0.0.2") == 403
    assert set_up(host, passphrase_of(host), "mine", "127.0.0.3") == 200


def break_it(path: Path) -> None:
    path.write_text('{"endpoints": [')


def empty_it(path: Path) -> None:
    path.write_text("")


def fill_with_nul(path: Path) -> None:
    path.write_bytes(bytes(4096))


def make_it_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_it_a_list(path: Path) -> None:
    path.write_text("[]")


BROKEN: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (break_it, empty_it, fill_with_nul, make_it_a_directory, make_it_a_list)
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("known", [True, False], ids=["served before", "never served"])
def test_no_broken_configuration_lets_anybody_set_the_token(jidoteki_host: MakeHost, how: str, known: bool) -> None:
    host = jidoteki_host(token=None, start=False, first_run=FIRST_RUN)
    if known:
        host.start()
        host.stop()
    BROKEN[how](host.appliance.configuration)

    host.start()
    stranger = set_up(host, None, "evil", "127.0.0.2")
    owner = set_up(host, passphrase_of(host), "mine", "127.0.0.3")
    host.token = "mine"

    assert (stranger, owner) == (403, 200)
    assert ("/api/v1/admin/settings" in host.get("/endpoints").json["endpoints"]) == known


def test_a_reload_of_a_broken_configuration_leaves_the_guard_and_the_endpoints(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, first_run=FIRST_RUN)

    break_it(host.appliance.configuration)
    host.reload()

    assert set_up(host, None, "evil", "127.0.0.2") == 403
    assert set_up(host, passphrase_of(host), "mine", "127.0.0.3") == 200
    host.token = "mine"
    assert "/api/v1/admin/settings" in host.get("/endpoints").json["endpoints"]
    wait_until(lambda: "the last good configuration is in force" in host.errors())


def test_a_passphrase_that_is_there_counts_where_first_runs_are_not_enabled(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, start=False)
    (host.appliance.etc / "api.token.setup").write_text("made-by-the-vendor\n")

    host.start()

    assert set_up(host, None, "evil", "127.0.0.2") == 403
    assert set_up(host, "made-by-the-vendor", "mine", "127.0.0.3") == 200


def test_without_first_run_an_appliance_without_a_token_is_set_up_by_whoever_comes_first(
    jidoteki_host: MakeHost,
) -> None:
    host = jidoteki_host()

    (host.appliance.etc / "api.token").unlink()

    assert set_up(host, None, "mine", "127.0.0.2") == 200
