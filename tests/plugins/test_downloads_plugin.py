"""`POST /downloads`: a URL that works once, within a minute, for one path, and contains no credential."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from jidoteki.core.auth import tickets
from jidoteki.core.auth.tickets import Tickets, TooManyTicketsError
from jidoteki.core.auth.users import Holder, User
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Answer, Host, MakeHost, wait_until
from jidoteki.testing.fixtures import TOKEN


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    host = jidoteki_host(enable=("downloads", "backup", "tokens"), authentication={"named-tokens": True})
    (host.appliance.data / "app/more").write_bytes(bytes(range(256)) * 40_000)
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")
    return host


def ticket(host: Host, path: str = "/backup/download", token: str = TOKEN) -> Answer:
    bearer = ("-H", f"Authorization: Bearer {token}")
    return host.curl("POST", "/downloads", "-F", f"path={path}", *bearer, auth="none")


def use(host: Host, url: str, *arguments: str, method: str = "GET") -> Answer:
    path, _, query = url.removeprefix(PREFIX).partition("?")
    return host.curl(method, path, *arguments, auth="none", query=query)


def test_an_address_works_once(host: Host) -> None:
    made = ticket(host).json

    first, second = (use(host, made["url"]) for _ in range(2))

    assert made["seconds"] == 60
    assert first.status == 200
    assert first.body == host.get("/backup/download").body
    assert first.headers["Content-Disposition"] == 'attachment; filename="backup.tar"'
    assert second.status == 403
    host.assert_audited("download", f"GET {PREFIX}/backup/download")
    assert ("admin", "download") in [(line[3], line[4]) for line in host.audit()]


def test_the_file_has_the_name_that_was_asked_for_whatever_else_the_address_says(host: Host) -> None:
    asked = ("-F", "path=/backup/download", "-F", "filename=shop-2026-11-28-backup.tar")

    url = host.post("/downloads", *asked).json["url"]

    named = use(host, f"{url}&filename=evil").headers["Content-Disposition"]
    assert named == 'attachment; filename="shop-2026-11-28-backup.tar"'
    assert "backup.tar" in host.get("/backup/download", query="filename=evil").headers["Content-Disposition"]
    refused = host.post("/downloads", "-F", "path=/backup/download", "-F", 'filename=a"; b/..')
    assert (refused.status, refused.json["error-field"]) == (400, "/filename")


@pytest.mark.parametrize("path", ["/backup/log", f"{PREFIX}/backup/download"])
def test_texts_and_full_paths_are_served_too(host: Host, path: str) -> None:
    assert use(host, ticket(host, path).json["url"]).status == 200


def test_it_works_for_its_path_alone_and_is_not_used_up_elsewhere(host: Host) -> None:
    url = ticket(host).json["url"]
    query = url.partition("?")[2]

    assert host.curl("GET", "/logs", auth="none", query=query).status == 403
    assert host.curl("GET", "/version", auth="none", query=query).status == 403
    assert host.curl("POST", "/backup", "-F", "action=STOP", auth="none", query=query).status == 403
    assert use(host, url, method="HEAD").status == 403
    assert use(host, url).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/version", 400), ("/tokens", 400), ("/reboot", 400), ("/nothing", 404), ("/backup/restore", 404),
        ("/logs?x=1", 400), ("logs", 400), ("/../logs", 404), ("https://elsewhere/logs", 400), ("//elsewhere", 400),
    ],
)  # fmt: skip
def test_what_is_no_download_gets_no_ticket(host: Host, path: str, status: int) -> None:
    assert ticket(host, path).status == status


def test_a_part_may_be_asked_for_in_the_one_request(host: Host) -> None:
    whole = host.get("/backup/download").body

    answer = use(host, ticket(host).json["url"], "-H", "Range: bytes=100-199")

    assert (answer.status, answer.body) == (206, whole[100:200])


def test_curl_needs_nothing_but_the_address(host: Host, tmp_path: Path) -> None:
    made = ticket(host).json
    argv = ["curl", "-sSf", "--cacert", str(host.certificate), "-OJ", f"{host.url}{made['url']}"]

    subprocess.run(argv, cwd=tmp_path, check=True)

    assert (tmp_path / "backup.tar").read_bytes() == host.get("/backup/download").body


def named(host: Host, scopes: str) -> str:
    made = host.post("/tokens", "-F", "name=some", "-F", f"scopes={scopes}")
    assert made.status == 200
    return str(made.json["token"])


def test_it_opens_no_more_than_the_scopes_of_who_made_it(host: Host) -> None:
    token = named(host, "/backup")

    assert ticket(host, "/logs", token).status == 403
    assert use(host, ticket(host, token=token).json["url"]).status == 200
    assert use(host, ticket(host, token=named_again(host, "read")).json["url"]).status == 200


def named_again(host: Host, scopes: str) -> str:
    host.post("/tokens/revoke", "-F", "name=some")
    return named(host, scopes)


def test_it_is_void_once_the_token_is_revoked_or_made_anew(host: Host) -> None:
    url = ticket(host, token=named(host, "all")).json["url"]

    named_again(host, "all")

    assert use(host, url).status == 403


def test_it_is_void_once_the_administrators_token_is_changed(host: Host) -> None:
    url = ticket(host).json["url"]

    host.post("/setup", "-F", "newtoken=another")

    assert use(host, url).status == 403


def test_who_is_revoked_while_downloading_is_cut_off(host: Host) -> None:
    (host.appliance.spool / "backup.tar").write_bytes(bytes(64 << 20))
    url = ticket(host, token=named(host, "all")).json["url"]
    argv = ["curl", "-sS", "--cacert", str(host.certificate), "--limit-rate", "1M", "-o", "/dev/null"]
    with subprocess.Popen([*argv, f"{host.url}{url}"], stderr=subprocess.PIPE) as curl:
        wait_until(lambda: any(line[4] == "download" for line in host.audit()))
        host.post("/tokens/revoke", "-F", "name=some")
        host.assert_audited("authorization.revoked", f"GET {PREFIX}/backup/download")
        curl.kill()


def test_a_restart_makes_it_void(host: Host) -> None:
    url = ticket(host).json["url"]
    host.stop()
    host.start()

    assert use(host, url).status == 403


@pytest.mark.parametrize("query", ["", "dry-run=1"])
def test_what_is_not_there_gets_the_answer_of_its_get_and_no_ticket(host: Host, query: str) -> None:
    host.post("/backup", "-F", "action=STOP")
    wanted = host.get("/backup/download")

    answer = host.post("/downloads", "-F", "path=/backup/download", query=query)

    assert (answer.status, wanted.status) == (404, 404)
    assert answer.json["Error-Message"] == wanted.json["Error-Message"]
    assert answer.json["error-field"] == "/path"


def test_a_log_that_is_not_there_gets_no_ticket(host: Host) -> None:
    (host.appliance.log / "update_backup.log").unlink()

    assert (host.get("/backup/log").status, ticket(host, "/backup/log").status) == (404, 404)
    assert ticket(host, "/jobs/nothing/log").status == 404


def test_asking_for_tickets_keeps_no_file_open(host: Host) -> None:
    assert host.process
    assert ticket(host).status == 200
    before = len(list(Path(f"/proc/{host.process.pid}/fd").iterdir()))

    for _ in range(20):
        assert ticket(host).status == 200

    assert len(list(Path(f"/proc/{host.process.pid}/fd").iterdir())) <= before + 2


def test_a_dry_run_makes_none(host: Host) -> None:
    answer = host.post("/downloads", "-F", "path=/backup/download", query="dry-run=1")

    assert answer.json == {"Status": "200 OK", "dry-run": True, "changes": []}


def test_it_is_in_no_log(host: Host) -> None:
    url = ticket(host).json["url"]
    secret = url.partition("ticket=")[2]
    use(host, url)
    use(host, url)
    time.sleep(1.5)
    host.stop()

    for path in (*host.appliance.log.iterdir(), *host.appliance.jobs.iterdir(), *host.appliance.etc.iterdir()):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    assert secret not in host.errors()


@pytest.mark.parametrize("query", ["ticket=", "ticket=%C3%A4", "ticket=x&ticket=x", f"ticket={'x' * 4000}"])
def test_what_is_no_ticket_opens_nothing(host: Host, query: str) -> None:
    assert host.curl("GET", "/backup/download", auth="none", query=query).status == 403


def test_beside_a_credential_it_is_not_looked_at(host: Host) -> None:
    assert host.curl("GET", "/backup/download", query="ticket=wrong").status == 200


def test_tickets_are_bounded_in_number_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MAX_OF_A_CREDENTIAL", 2)
    monkeypatch.setattr(tickets, "MAX_IN_ALL", 3)
    first, second, third = (Holder(name.encode(), User(name)) for name in ("a", "b", "c"))
    made = Tickets()
    old = made.issue(first, "/x", 60)
    made.issue(first, "/x", 60)
    with pytest.raises(TooManyTicketsError):
        made.issue(first, "/x", 60)
    made.issue(second, "/x", 60)
    with pytest.raises(TooManyTicketsError):
        made.issue(third, "/x", 60)

    now = time.monotonic()
    monkeypatch.setattr(tickets, "time", SimpleNamespace(monotonic=lambda: now + 61))

    assert made.redeem(old, "/x") is None
    redeemed = made.redeem(made.issue(third, "/x", 60), "/x")
    assert redeemed and redeemed.holder == third
