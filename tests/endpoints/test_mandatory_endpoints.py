"""Every example of the reference for the mandatory endpoints, and the responses of a broken appliance."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psutil
import pytest

from jidoteki.core.service.health import measure
from jidoteki.testing import Host, InProcessClient, MakeClient, MakeHost, wait_until

NOT_SERVED = "Nothing is served here: /docs shows what is"
MANDATORY = ["build", "changelog", "debug", "endpoints", "health", "logs", "reboot", "services", "setup", "update",
             "version"]  # fmt: skip


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


@pytest.fixture
async def client(jidoteki_client: MakeClient) -> InProcessClient:
    return await jidoteki_client()


async def test_version(client: InProcessClient) -> None:
    answer = await client.get("/version")

    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.body == b'{"version":"1.0.0"}'


@pytest.mark.parametrize("content", [None, "", "\n"])
async def test_no_version(client: InProcessClient, content: str | None) -> None:
    path = client.appliance.etc / "version.txt"
    path.unlink()
    if content is not None:
        path.write_text(content)

    answer = (await client.get("/version")).json
    assert answer == {"Status": "404 Not Found", "Error-Message": answer["Error-Message"]}
    assert "version.txt" in answer["Error-Message"]


async def test_changelog(client: InProcessClient) -> None:
    text = "# Changelog\n\n## 1.0.9 (2015-08-21)\n\n* Update app to version 2.1.2\n"
    client.appliance.replace_file(client.appliance.etc / "changelog.txt", text)

    answer = await client.get("/changelog")
    (client.appliance.etc / "changelog.txt").unlink()
    missing = await client.get("/changelog")

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text == text
    assert missing.json == {"Status": "404 Not Found", "Error-Message": "There is no changelog.txt"}


async def test_build(client: InProcessClient) -> None:
    path = client.appliance.system_etc / "build.json"
    path.write_text('{\n  "builddate": "123456789"\n}\n')
    answer = await client.get("/build")
    path.write_text("{broken")
    broken = await client.get("/build")
    path.unlink()
    missing = await client.get("/build")

    assert answer.body == b'{"builddate":"123456789"}'
    assert (broken.status, missing.status) == (404, 404)


def test_health_is_refreshed_by_the_service(host: Host) -> None:
    wait_until(lambda: host.get("/health").status == 200)

    health = host.get("/health").json

    assert re.fullmatch(r"\d+(\.\d)?[KMGTPE]", health["disk"]["used"])
    assert 0 <= health["disk"]["percentage"] <= 100
    assert re.fullmatch(r"\d+M", health["memory"]["total"])
    assert 0 < health["memory"]["percentage"] <= 100
    assert health["cpu"]["num"] >= 1
    assert re.fullmatch(r"\d+\.\d\d, \d+\.\d\d, \d+\.\d\d", health["cpu"]["load"])
    assert isinstance(health["cpu"]["cpu5min"], int)
    assert health["cpu"]["cpu5min"] == int(float(health["cpu"]["load"].split(", ")[1]))


@pytest.mark.parametrize(("load", "shown"), [(0.28, 0), (0.99, 0), (1.0, 1), (7.5, 7), (4.998, 5)])
def test_the_load_of_five_minutes_is_a_whole_number(monkeypatch: pytest.MonkeyPatch, load: float, shown: int) -> None:
    monkeypatch.setattr(psutil, "getloadavg", lambda: (0.66, load, 0.14))

    assert measure("/")["cpu"]["cpu5min"] == shown


@pytest.mark.parametrize("content", ["1.0.0\n", "1.0.0", "1.0.0\r\n", "1.0.0\nbuilt on Monday\n"])
async def test_the_first_line_of_the_version_file_is_the_version(client: InProcessClient, content: str) -> None:
    (client.appliance.etc / "version.txt").write_bytes(content.encode())

    assert (await client.get("/version")).json == {"version": "1.0.0"}


async def test_a_version_file_whose_first_line_is_empty_has_no_version(client: InProcessClient) -> None:
    (client.appliance.etc / "version.txt").write_text("\n1.0.0\n")

    assert (await client.get("/version")).status == 404


def test_health_is_told_before_it_is_written_and_where_it_cannot_be(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False, health={"refresh": 0.2})
    (host.appliance.etc / "health.json").mkdir()

    host.start()
    wait_until(lambda: "health.json cannot be written" in (host.appliance.log / "jidoteki-admin-api.log").read_text())
    while_unwritten = host.get("/health").json
    (host.appliance.etc / "health.json").rmdir()

    assert set(while_unwritten) == {"disk", "memory", "cpu"}
    wait_until((host.appliance.etc / "health.json").is_file)
    assert set(host.get("/health").json) == {"disk", "memory", "cpu"}


def test_health_is_left_to_another_collector(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False, health={"refresh": 0})
    (host.appliance.etc / "health.json").unlink(missing_ok=True)
    host.start()

    assert host.get("/health").status == 404


def test_health_of_the_vendors_own_collector_is_left_alone(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(health={"refresh": 1})
    path = host.appliance.etc / "health.json"
    wait_until(path.exists)

    host.appliance.replace_file(path, '{"mine":1}')

    for _ in range(3):
        assert host.get("/health").json == {"mine": 1}
    wait_until(lambda: "disk" in host.get("/health").json)


async def test_services(client: InProcessClient) -> None:
    scripts = {
        "silent": "exit 0",
        "says": "echo $1: it is running; exit 1",
        "online": "echo online; exit 1",
        "denies": "echo it is not running",
        "absent": "echo it is not online",
        "offline": "echo offline",
        "onlineish": "echo it is runningly onlines",
        "aside": "echo is running >&2",
        "stopped": "echo stopped; exit 3",
        "failed": "exit 1",
        "hangs": "exec sleep 100",
    }
    names = ["\ufeffopenssh", *scripts, "unknown", "../../evil", "# says"]
    client.appliance.replace_file(client.appliance.system_etc / "allservices.txt", "\r\n".join(names))
    for name, script in scripts.items():
        client.appliance.replace_file(client.appliance.system_etc / f"init.d/{name}", f"#!/bin/sh\n{script}\n", 0o755)

    answer = await client.get("/services")

    assert answer.json == {
        "services": [
            {"openssh": "running"}, {"silent": "not running"}, {"says": "running"}, {"online": "running"},
            {"denies": "not running"}, {"absent": "not running"}, {"offline": "not running"},
            {"onlineish": "not running"}, {"aside": "not running"}, {"stopped": "not running"},
            {"failed": "not running"}, {"hangs": "not running"}, {"unknown": "not running"},
            {"jidoteki-admin-api": "running"},
        ]
    }  # fmt: skip


async def test_several_services_may_stand_in_one_line(client: InProcessClient) -> None:
    client.appliance.replace_file(client.appliance.system_etc / "allservices.txt", "one  two\nthree one\n")
    client.appliance.replace_file(client.appliance.system_etc / "init.d/two", "#!/bin/sh\necho two is running\n", 0o755)

    assert (await client.get("/services")).json["services"][:3] == [
        {"one": "not running"}, {"two": "running"}, {"three": "not running"}
    ]  # fmt: skip


async def test_endpoints_are_sorted_and_follow_the_configuration(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(endpoints=["settings"])

    listed = (await client.get("/endpoints")).json["endpoints"]

    assert listed == [*sorted(f"/api/v1/admin/{name}" for name in [*MANDATORY, "settings"]), "/docs"]
    assert (await client.get("/storage", auth="none")).status == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reboot_answers_first_and_then_keeps_the_data_and_reboots(jidoteki_host: MakeHost, method: str) -> None:
    host = jidoteki_host(start=False)
    proof = host.appliance.root / "proof"
    host.configure(
        commands={
            "persist": ["sh", "-c", f"sleep 0.5; echo persisted >> {proof}"],
            "reboot": ["sh", "-c", f"echo rebooted >> {proof}"],
        }
    )
    host.start()

    answer = host.curl(method, "/reboot")

    assert (answer.status, answer.body) == (202, b'{"Status":"202 Accepted"}')
    assert answer.headers["Job-Id"] == "000001-reboot"
    assert not proof.exists()
    wait_until(lambda: proof.exists() and proof.read_text() == "persisted\nrebooted\n")


def test_a_machine_whose_data_cannot_be_kept_stays_up(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    proof = host.appliance.root / "proof"
    host.configure(commands={"persist": ["false"], "reboot": ["touch", str(proof)]})
    host.start()

    id = host.get("/reboot").headers["Job-Id"]

    record = host.appliance.jobs / f"{id}.json"
    wait_until(lambda: json.loads(record.read_text())["status"] == "failed")
    assert not proof.exists()


def test_a_reboot_outside_of_a_real_root_is_a_log_line(host: Host) -> None:
    host.get("/reboot")

    log = host.appliance.log / "reboot.log"
    wait_until(lambda: log.exists() and "No reboot command is configured" in log.read_text())


def test_a_new_token_is_kept_through_a_reboot(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    proof = host.appliance.root / "proof"
    token = host.appliance.etc / "api.token"
    host.configure(commands={"persist": ["cp", str(token), str(proof)]})
    host.start()

    host.post("/setup", "-F", "newtoken=another")

    assert proof.read_text() == "another\n"


def test_named_tokens_are_kept_through_a_reboot_and_so_is_their_revocation(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=["tokens"], start=False, authentication={"named-tokens": True})
    proof, tokens = host.appliance.root / "proof", host.appliance.etc / "api.tokens.json"
    host.configure(commands={"persist": ["cp", str(tokens), str(proof)]})
    host.start()

    assert host.post("/tokens", "-F", "name=one", "-F", "scopes=read").status == 200
    assert "one" in json.loads(proof.read_text())["tokens"]
    assert host.post("/tokens/revoke", "-F", "name=one").json == {"Status": "200 OK"}
    assert json.loads(proof.read_text())["tokens"] == {}


def test_a_token_that_is_not_kept_through_a_reboot_is_told_so(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(commands={"persist": ["false"]})

    answer = host.post("/setup", "-F", "newtoken=another")

    assert answer.status == 200
    assert answer.json["warnings"] == ["The change is in force, but the persist command failed with exit status 1"]
    assert host.get("/version", auth="none", query="token=another").status == 200


@pytest.mark.parametrize(
    "content",
    [
        "{broken",
        "[]",
        '"text"',
        '{"endpoints": 7}',
        '{"first-run": 3, "nonsense": 1}',
        '{"limits": {"upload": -1}}',
        "",
    ],
)
def test_a_broken_configuration_takes_no_mandatory_endpoint_down(jidoteki_host: MakeHost, content: str) -> None:
    host = jidoteki_host(start=False)
    host.appliance.configuration.write_text(content)
    host.start()

    listed = host.get("/endpoints").json["endpoints"]

    assert {f"/api/v1/admin/{name}" for name in MANDATORY} <= set(listed)
    wait_until(lambda: "Configuration: " in host.errors())


def test_a_missing_configuration_serves_the_mandatory_endpoints(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    host.appliance.configuration.unlink()
    host.start()

    assert host.get("/endpoints").json["endpoints"] == [*(f"/api/v1/admin/{name}" for name in MANDATORY), "/docs"]


def test_a_reload_takes_endpoints_in_and_out(host: Host) -> None:
    host.configure(endpoints=["storage"])
    host.reload()

    assert [host.get(path).status for path in ("/settings/", "/settings", "/storage")] == [404, 404, 404]
    assert host.get("/settings", auth="none").json == {"Status": "404 Not Found", "Error-Message": NOT_SERVED}
    assert host.get("/storage").json["Error-Message"]


async def test_without_an_audit_log_nothing_is_changed_and_reading_goes_on(client: InProcessClient) -> None:
    audit = client.appliance.log / "jidoteki-audit.log"
    audit.unlink(missing_ok=True)
    audit.mkdir()

    change = await client.post("/setup", {"newtoken": "other"})
    reboot = await client.get("/reboot")

    assert (change.status, reboot.status) == (503, 503)
    assert "audit log" in change.json["Error-Message"]
    assert (await client.get("/version")).status == 200
    audit.rmdir()
    assert (await client.post("/setup", {"newtoken": "other"})).status == 200


def test_the_service_stops_gracefully_and_says_where_it_listens(host: Host) -> None:
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+", host.url)

    assert host.stop() == 0


def test_plain_http_is_served_for_a_proxy_when_asked_for(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    host.start("--http-port", "0")

    host.url = host.plain_url

    assert host.url.startswith("http://127.0.0.1:")
    assert host.get("/version").status == 200


def test_the_files_of_the_service_are_closed_to_others_whatever_the_umask(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(token=None, start=False)
    host.start(prefix=("sh", "-c", 'umask 0; exec "$@"', "sh"))
    host.post("/setup", "-F", "newtoken=secret")
    host.get("/reboot")

    secret = [host.appliance.etc / "api.token", *host.appliance.jobs.rglob("*"), *host.appliance.log.iterdir()]
    assert [path for path in secret if path.stat().st_mode & 0o077 and not _is_log_of_a_job(path)] == []


def _is_log_of_a_job(path: Path) -> bool:
    return path.parent.name == "log" and path.stat().st_mode & 0o777 in (0o640, 0o600)
