"""Who gets in: token, hash, first setup, first-run passphrase, throttling."""

from __future__ import annotations

import hashlib
import hmac
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from pace import slowness

from jidoteki.core.endpoints import setup
from jidoteki.hookspecs import PREFIX
from jidoteki.hookspecs.credentials import request_hash
from jidoteki.testing import MakeAppliance, MakeClient, MakeHost
from jidoteki.testing.fixtures import TOKEN

NOT_SERVED = "Nothing is served here: /docs shows what is"
FORBIDDEN = {"Status": "403 Forbidden", "Error-Message": "Authentication error"}


def openssl_hash(method: str, path: str, token: str) -> str:
    """The hash as the reference makes it, with the openssl command."""
    secret = subprocess.run(["openssl", "dgst", "-sha256"], input=token.encode(), capture_output=True, check=True)
    key = secret.stdout.decode().split()[-1]
    signed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", key], input=f"{method}{path}".encode(), capture_output=True, check=True
    )
    return signed.stdout.decode().split()[-1]


def test_the_hash_is_that_of_the_reference() -> None:
    assert request_hash("GET", "/api/v1/admin/version", "yourtoken") == (
        "b714a60732e096ccef06e360eefe0f1ba4fa5d16ef7da726612e2026e5523241"
    )


async def test_first_setup_needs_no_credential_and_every_later_one_does(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(token=None)

    first = await client.post("/setup", {"newtoken": "yourtoken"})
    second = await client.post("/setup", {"newtoken": "mine"}, source="127.0.0.2")
    signed = await client.get("/version", query=f"hash={openssl_hash('GET', PREFIX + '/version', 'yourtoken')}")

    assert (first.status, first.body) == (200, b'{"Status":"200 OK"}')
    assert (second.status, second.json) == (403, FORBIDDEN)
    assert signed.json == {"version": "1.0.0"}
    token_file = client.appliance.etc / "api.token"
    assert token_file.read_text() == "yourtoken\n"
    assert token_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("query", ["token=yourtoken", f"hash={'0' * 64}", "token="])
async def test_first_setup_may_show_a_credential_as_later_ones_do(jidoteki_client: MakeClient, query: str) -> None:
    client = await jidoteki_client(token=None)

    first = await client.post("/setup", {"newtoken": "yourtoken"}, auth="none", query=query)
    second = await client.post(
        "/setup", {"newtoken": "mine"}, auth="none", query=f"hash={'0' * 64}", source="127.0.0.2"
    )

    assert (first.status, second.status) == (200, 403)


def test_of_two_first_setups_at_once_exactly_one_succeeds(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None)

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: host.post("/setup", "-F", f"newtoken=token{n}", source=f"127.0.1.{n}"), range(1, 9))
        )

    assert sorted(answer.status for answer in answers) == [200] + [403] * 7
    winner = [answer.status for answer in answers].index(200) + 1
    assert (host.appliance.etc / "api.token").read_text() == f"token{winner}\n"


async def test_changing_the_token_makes_the_old_one_worthless(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()

    changed = await client.post("/setup", {"newtoken": "another"})
    old = await client.get("/version", auth="token", source="127.0.0.2")
    client.token = "another"
    new = await client.get("/version", auth="token", source="127.0.0.3")

    assert (changed.status, old.status, new.status) == (200, 403, 200)


@pytest.mark.parametrize("newtoken", ["", "has space", "tab\there", "ümlaut", "x" * 256, "line\nbreak", "nul\x01"])
async def test_a_token_outside_of_the_allowed_characters_is_refused(jidoteki_client: MakeClient, newtoken: str) -> None:
    client = await jidoteki_client()

    answer = await client.post("/setup", {"newtoken": newtoken})

    assert answer.status == 400
    assert "newtoken must be 1 to 255 printable ASCII characters" in answer.json["Error-Message"]
    assert answer.headers["Error-Message"] == answer.json["Error-Message"]
    assert (await client.get("/version")).status == 200


@pytest.mark.parametrize("newtoken", ["x", "x" * 255, "".join(map(chr, range(33, 127)))])
async def test_every_token_of_the_reference_is_accepted(jidoteki_client: MakeClient, newtoken: str) -> None:
    client = await jidoteki_client(token=None)

    answer = await client.post("/setup", {"newtoken": newtoken})
    client.token = newtoken

    assert answer.status == 200
    assert (await client.get("/version")).status == 200


@pytest.mark.parametrize("spelt", ["a+b/c+", "a%2Bb%2Fc%2B", "a+b%2fc%2b"])
async def test_a_plus_in_a_token_may_be_sent_as_it_is(jidoteki_client: MakeClient, spelt: str) -> None:
    client = await jidoteki_client(token="a+b/c+")

    shown = await client.get("/version", auth="none", query=f"token={spelt}")
    spaced = await client.get("/version", auth="none", query="token=a%20b/c%20", source="127.0.0.2")

    assert (shown.status, spaced.status) == (200, 403)


@pytest.mark.parametrize("content", ["first+line\nsecond\n", "first+line\r\nsecond", "first+line\n\n", "first+line"])
async def test_the_first_line_of_a_token_file_counts(
    jidoteki_appliance: MakeAppliance, jidoteki_client: MakeClient, content: str
) -> None:
    appliance = jidoteki_appliance("first+line")
    (appliance.etc / "api.token").write_bytes(content.encode())
    client = await jidoteki_client(appliance=appliance, token="first+line")

    assert (await client.get("/version")).status == 200
    assert (await client.get("/version", auth="token")).status == 200
    assert (await client.get("/version", auth="none", query="token=second", source="127.0.0.2")).status == 403


async def test_a_token_file_whose_first_line_is_empty_lets_nobody_in(
    jidoteki_appliance: MakeAppliance, jidoteki_client: MakeClient
) -> None:
    appliance = jidoteki_appliance("second")
    (appliance.etc / "api.token").write_text("\nsecond\n")
    client = await jidoteki_client(appliance=appliance, token="second")

    assert (await client.get("/version", auth="token")).status == 403


async def test_a_change_of_the_token_is_in_the_log_of_the_original(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()
    log = client.appliance.log / "update_token.log"

    await client.post("/setup", {"newtoken": "dry"}, query="dry-run=1")
    before = log.exists()
    await client.post("/setup", {"newtoken": "another"})
    lines = log.read_text().splitlines()

    assert not before
    assert [re.sub(r"^\[[0-9]+\]", "[time]", line) for line in lines] == [
        "[time][SYSTEM] Updating API token. Please wait..",
        "[time][SYSTEM] Updating API token successful",
    ]


def test_a_token_that_cannot_be_stored_is_in_the_log_of_the_original(tmp_path: Path) -> None:
    class Full:
        def set_token(self, token: str, holder: object) -> None:
            raise OSError(28, "No space left on device")

    request = SimpleNamespace(
        appliance=SimpleNamespace(log=tmp_path, group=None),
        service=SimpleNamespace(generation=SimpleNamespace(authenticator=Full())),
        holder=None,
    )

    with pytest.raises(OSError, match="No space left"):
        setup._set_token(request, "token")  # type: ignore[arg-type]  # all that it uses of one

    lines = (tmp_path / "update_token.log").read_text().splitlines()
    assert lines[-2].endswith("[SYSTEM] The token cannot be stored: No space left on device")
    assert lines[-1].endswith("[SYSTEM] Invalid or missing API token file")


async def test_the_log_of_token_changes_begins_anew_when_it_is_long(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()
    log = client.appliance.log / "update_token.log"
    log.write_text("x" * 2_000_000)

    await client.post("/setup", {"newtoken": "another"})

    assert len(log.read_text().splitlines()) == 2
    assert log.with_name("update_token.log.1").stat().st_size == 2_000_000


async def test_a_log_that_cannot_be_written_keeps_nobody_from_a_new_token(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()
    (client.appliance.log / "update_token.log").mkdir()

    answer = await client.post("/setup", {"newtoken": "another"})
    client.token = "another"

    assert (answer.status, (await client.get("/version")).status) == (200, 200)


async def test_a_bearer_token_keeps_the_token_out_of_the_url(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()

    bearer = await client.get("/version", headers={"Authorization": f"Bearer {TOKEN}"}, auth="none")
    both = await client.get("/version", headers={"Authorization": f"Bearer {TOKEN}"}, auth="token")
    wrong = await client.get("/version", headers={"Authorization": "Bearer nonsense"}, auth="none", source="127.0.0.2")

    assert (bearer.status, both.status, wrong.status) == (200, 400, 403)


async def test_with_a_token_and_a_hash_the_hash_decides(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()
    good = request_hash("GET", f"{PREFIX}/version", TOKEN)

    hash_good = await client.get("/version", auth="none", query=f"token=wrong&hash={good}")
    hash_bad = await client.get("/version", auth="token", query="hash=wrong", source="127.0.0.2")

    assert (hash_good.status, hash_bad.status) == (200, 403)


@pytest.mark.parametrize("content", ["", "\n", "has space\n", "two\nlines\n", "ünprintable\n"])
async def test_a_damaged_token_file_authenticates_nobody(jidoteki_client: MakeClient, content: str) -> None:
    client = await jidoteki_client()
    (client.appliance.etc / "api.token").write_text(content)
    empty = hmac.new(hashlib.sha256(b"").hexdigest().encode(), f"GET{PREFIX}/version".encode(), hashlib.sha256)

    by_hash = await client.get("/version", auth="none", query=f"hash={empty.hexdigest()}")
    by_token = await client.get("/version", auth="none", query="token=", source="127.0.0.2")
    setup = await client.post("/setup", {"newtoken": "mine"}, auth="none", source="127.0.0.3")

    assert (by_hash.status, by_token.status, setup.status) == (403, 403, 403)


async def test_a_token_written_by_another_tool_counts_at_once(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()
    assert (await client.get("/version")).status == 200

    (client.appliance.etc / "api.token").write_text("fromshell\n")
    client.token = "fromshell"

    assert (await client.get("/version")).status == 200


async def test_first_run_passphrase_is_needed_once_and_for_the_setup_alone(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(token=None, first_run={"enabled": True, "word-length": 5})
    setup_file = client.appliance.etc / "api.token.setup"
    passphrase = setup_file.read_text().strip()

    early = await client.get("/version", auth="none")
    bare = await client.post("/setup", {"newtoken": "mine"}, source="127.0.0.2")
    wrong = await client.post("/setup", {"newtoken": "mine"}, query="token=guess", source="127.0.0.3")
    other = await client.get("/version", query=f"token={passphrase}", source="127.0.0.4")
    right = await client.post("/setup", {"newtoken": "mine"}, query=f"token={passphrase}", source="127.0.0.5")
    again = await client.post("/setup", {"newtoken": "evil"}, query=f"token={passphrase}", source="127.0.0.6")
    client.token = "mine"
    missing = await client.get("/changelog/nothing", source="127.0.0.7")
    later = await client.get("/version", source="127.0.0.7")

    assert re.fullmatch(r"[a-z]+(-[a-z]+){4,}", passphrase)
    assert early.json == {**FORBIDDEN, "First-Run": True}
    assert [each.status for each in (bare, wrong, other, right, again)] == [403, 403, 403, 200, 403]
    assert again.json["First-Run"] is False
    assert missing.json == {"Status": "404 Not Found", "Error-Message": NOT_SERVED, "First-Run": False}
    assert later.status == 200
    assert not setup_file.exists()


async def test_unknown_paths_are_404_without_authentication(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()

    answers = [await client.get(path, auth="none") for path in ("/nothing", "/update/nothing", "/", "/version//")]

    assert [answer.json for answer in answers] == [{"Status": "404 Not Found", "Error-Message": NOT_SERVED}] * 4


async def test_a_slash_at_the_end_of_a_path_is_part_of_what_is_hashed_and_else_makes_no_difference(
    jidoteki_client: MakeClient,
) -> None:
    client = await jidoteki_client()

    with_slash, without = (openssl_hash("GET", f"{PREFIX}/version{slash}", TOKEN) for slash in ("/", ""))

    assert (await client.get("/version/", auth="token")).json == {"version": "1.0.0"}
    assert (await client.get("/version/", auth="none", query=f"hash={with_slash}")).status == 200
    assert (await client.get("/version/", auth="none", query=f"hash={without}")).status == 403


async def test_an_empty_hash_is_none(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client()

    assert (await client.get("/version", auth="none", query=f"token={TOKEN}&hash=")).status == 200
    assert (await client.get("/version", auth="none", query="token=&hash=")).status == 403


def test_failed_guesses_take_turns_over_any_number_of_connections_and_nobody_else_waits(
    jidoteki_host: MakeHost,
) -> None:
    host = jidoteki_host()
    ends: list[float] = []
    began = time.monotonic()

    def guess(number: int) -> int:
        status = host.get("/version", query=f"token=guess{number}", auth="none", source="127.0.0.66").status
        ends.append(time.monotonic())
        return status

    with ThreadPoolExecutor(12) as pool:
        guesses = [pool.submit(guess, number) for number in range(4)]
        time.sleep(0.3)
        others = []
        for number in range(10):
            before = time.monotonic()
            assert host.get("/version", source=f"127.0.2.{number + 1}").status == 200
            others.append(time.monotonic() - before)
        statuses = [each.result() for each in guesses]

    assert statuses == [403] * 4
    assert max(others) < 1.0 * slowness()
    assert all(end - began >= 2 * turns for turns, end in enumerate(sorted(ends)))


def test_too_many_waiting_guesses_are_refused_unheard(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(limits={"failed-authentication-pause": 0.5})

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda n: host.get("/version", query=f"token=x{n}", auth="none"), range(30)))

    assert {answer.status for answer in answers} == {403, 429}
    assert all(int(each.headers["Retry-After"]) >= 1 for each in answers if each.status == 429)


def test_a_wrong_token_is_refused_before_the_body_is_sent(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    big = host.appliance.root / "big"
    with big.open("wb") as file:
        file.truncate(3 * 1024**3)

    before = time.monotonic()
    answer = host.post("/update", "-F", f"update=@{big}", query="token=wrong", auth="none")
    taken = time.monotonic() - before
    url = f"{host.url}{PREFIX}/update?token=wrong"
    sent = [
        subprocess.run(
            ["curl", "-ks", "--interface", source, *headers, "-F", f"update=@{big}", "-o", "/dev/null",
             "-w", "%{http_code} %{size_upload}", url], capture_output=True, text=True, check=False, timeout=60,
        ).stdout.split()
        for source, headers in (("127.0.0.2", ()), ("127.0.0.3", ("-H", "Expect:")))
    ]  # fmt: skip

    assert answer.status == 403
    assert taken < 2 * slowness()
    assert [status for status, _ in sent] == ["403", "403"]
    assert int(sent[0][1]) <= 64 * 1024
    assert int(sent[1][1]) < 16 * 1024**2, "sent without asking: what the buffers of both ends hold, and no more"
    assert list(host.appliance.spool.glob(".jidoteki-*")) == []


def test_credentials_reach_no_log_and_no_answer(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    secret = "planted-secret-4711"

    host.get("/version", auth="token")
    signed = request_hash("GET", f"{PREFIX}/version", TOKEN)
    host.get("/version")
    host.get("/version", auth="none", query=f"token={secret}", source="127.0.0.9")
    answer = host.post("/setup", "-F", f"newtoken={secret} with space")
    host.get("/nothing", auth="token")
    host.stop()

    logs = b"".join(path.read_bytes() for path in host.appliance.log.iterdir()) + host.errors().encode()
    for each in (TOKEN, signed, secret):
        assert each.encode() not in logs
    assert secret not in answer.text


def test_a_token_file_that_cannot_be_read_is_told_once_in_the_log(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    token = host.appliance.etc / "api.token"
    token.unlink()
    token.mkdir()

    answers = [host.get("/version").status for _ in range(3)]

    log = (host.appliance.log / "jidoteki-admin-api.log").read_text()
    assert answers == [403] * 3
    assert log.count(f"{token} cannot be read: ") == 1
