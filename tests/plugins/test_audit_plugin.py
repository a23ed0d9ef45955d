"""`GET /audit`: the audit log as JSON, in pages, with any content of its files."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from documented import document_of, undocumented

from jidoteki.core.logs import audit
from jidoteki.hookspecs.audit_log import FILE
from jidoteki.plugins.audit import reading
from jidoteki.testing import Host, InProcessClient, MakeAppliance, MakeClient, MakeHost

LINE = '{}.000000001,{:04d},192.0.2.7,admin,request.done,"GET /x ""quoted"", {}"\n'


def write(log: Path, files: list[range]) -> None:
    """Write the log and its rotated files, the newest first."""
    for number, lines in enumerate(files):
        path = log if number == 0 else log.with_name(f"{log.name}.{number}")
        path.write_text("".join(LINE.format(1000 + each, each, each) for each in lines))
        path.chmod(0o600)


@pytest.fixture
async def client(jidoteki_client: MakeClient) -> InProcessClient:
    return await jidoteki_client(enable=["audit"])


async def pages(client: InProcessClient, limit: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    before = ""
    while True:
        answer = await client.get("/audit", query=f"limit={limit}{before}")
        assert answer.status == 200, answer
        assert len(answer.json["audit"]) <= limit
        lines += answer.json["audit"]
        if answer.json["next"] is None:
            return lines
        before = f"&before={answer.json['next']}"


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
async def test_every_line_is_there_once_newest_first_over_all_files(client: InProcessClient, limit: int) -> None:
    write(client.appliance.log / FILE, [range(40, 50), range(20, 40), range(15, 20), range(5, 15), range(5)])

    lines = await pages(client, limit)

    assert [each["id"] for each in lines] == [f"{number:04d}" for number in range(49, -1, -1)]
    assert lines[0]["target"] == 'GET /x "quoted", 49' and lines[0]["time"] == pytest.approx(1049)
    follow = await client.get("/audit", query=f"before={lines[9]['position']}&limit=1")
    assert [each["id"] for each in follow.json["audit"]] == ["0039"]


DAMAGED = 8 * 1024 * 1024


@pytest.mark.parametrize("content", [b"\n", b"x\n"], ids=["empty", "short"])
async def test_a_page_of_many_short_lines_costs_little(
    client: InProcessClient, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (client.appliance.log / FILE).write_bytes(content * (DAMAGED // len(content)))
    lines: list[bytes] = []
    monkeypatch.setattr(reading, "parse", lines.append)

    answer = await client.get("/audit", query="limit=1000")

    assert answer.status == 200 and answer.json["next"] is not None
    assert len(lines) < 100_000


@pytest.mark.parametrize("content", [b"x", b"\0"], ids=["text", "zeros"])
async def test_a_page_of_a_line_that_never_ends_costs_little(client: InProcessClient, content: bytes) -> None:
    log = client.appliance.log / FILE
    write(log, [range(2)])
    with log.open("ab") as file:
        file.write(content * DAMAGED + b"\n")

    answer = await client.get("/audit")

    assert answer.json["audit"] == [] and answer.json["next"] is not None
    assert [each["id"] for each in await pages(client, 10)] == ["0001", "0000"]


async def test_what_the_service_writes_itself_is_there(jidoteki_host: MakeHost) -> None:
    host: Host = jidoteki_host(enable=["audit"])
    host.post("/reboot", query="dry-run=1")
    host.curl("GET", "/version", auth="none", source="127.0.0.3")
    host.post("/settings", "-F", 'settings={"app":{"name":"a"}}')

    answer = host.get("/audit")

    found = [(each["client"], each["user"], each["action"]) for each in answer.json["audit"]]
    assert ("127.0.0.3", "-", "authentication.failure") in found and ("127.0.0.1", "admin", "request.begun") in found
    assert len(found) == len(host.audit())
    assert undocumented(document_of(host), "GET", "/api/v1/admin/audit", answer) is None


async def test_pages_go_on_where_they_were_when_the_log_is_turned_over(client: InProcessClient) -> None:
    log = client.appliance.log / FILE
    write(log, [range(10, 20), range(10)])
    first = (await client.get("/audit", query="limit=5")).json

    log.with_name(f"{FILE}.1").replace(log.with_name(f"{FILE}.2"))
    log.replace(log.with_name(f"{FILE}.1"))
    write(log, [range(20, 30)])
    second = (await client.get("/audit", query=f"limit=100&before={first['next']}")).json

    assert [each["id"] for each in second["audit"]] == [f"{number:04d}" for number in range(14, -1, -1)]


async def test_a_position_that_is_gone_is_told(client: InProcessClient) -> None:
    log = client.appliance.log / FILE
    write(log, [range(10)])
    position = (await client.get("/audit", query="limit=5")).json["next"]
    content = log.read_bytes()
    with log.open("r+b") as file:
        file.write(content.replace(b"10", b"20"))

    assert (await client.get("/audit", query=f"before={position}")).status == 410
    assert (await client.get("/audit", query="before=1-0-00000000")).status == 410


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=-5", "limit=x", "before=x", "before=1-2", "before=1-2-3%0A",
     "before=-1-2-00000000", "before=1-2-00000000&before=1-2-00000000"],
)  # fmt: skip
async def test_what_is_no_page_is_refused(client: InProcessClient, query: str) -> None:
    assert (await client.get("/audit", query=query)).status == 400


async def test_damaged_lines_and_what_is_no_file_of_the_service_are_passed_over(client: InProcessClient) -> None:
    log = client.appliance.log / FILE
    write(log, [range(3)])
    good = log.read_bytes().splitlines(keepends=True)
    damaged = [
        b"\0" * 5000 + b"\n", b"x,y\n", b'1.000000001,a,b,c,d,"open\n', b"1,a,b,c,d,e\n", b"\xff" * 9 + b"\n", b"\n",
        b"9" * 300_000 + b"\n", b"1.000000001,a,b,c,d,e,f\n", b"1e9.000000000,a,b,c,d,e\n",
    ]  # fmt: skip
    log.write_bytes(good[0] + b"".join(damaged) + good[1] + b"".join(damaged) + good[2] + b"1.000000001,torn")
    secret = client.appliance.root / "secret"
    secret.write_text(LINE.format(1, 99, 99))
    log.with_name(f"{FILE}.1").symlink_to(secret)
    os.mkfifo(log.with_name(f"{FILE}.2"))
    log.with_name(f"{FILE}.3").mkdir()

    assert [each["id"] for each in await pages(client, 2)] == ["0002", "0001", "0000"]


def test_a_page_takes_little_memory_and_ends_however_long_the_files_are(jidoteki_appliance: MakeAppliance) -> None:
    log = jidoteki_appliance().log / FILE
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        file.write(LINE.format(1, 1, 1).encode())
        file.truncate(audit.MAX_SIZE)
    log.chmod(0o600)
    tracemalloc.start()
    seen, before, rounds = [], None, 0
    while rounds < 50:
        page = reading.page(log, before, 1000)
        seen += page.lines
        rounds += 1
        if page.following is None:
            break
        before = page.following
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2 * 1024 * 1024
    assert page.following is None


async def test_a_configuration_that_takes_no_such_parameters_refuses_them(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(enable=["audit"], parameters=["settings"])
    write(client.appliance.log / FILE, [range(3)])

    assert len((await client.get("/audit")).json["audit"]) == 3
    refused = await client.get("/audit", query="limit=1")
    assert refused.status == 400, "who asks for pages would get the first one for ever"
    assert "does not list it" in refused.json["Error-Message"]


async def test_a_third_partys_plugin_of_this_name_keeps_its_place(jidoteki_client: MakeClient, tmp_path: Path) -> None:
    code = """
from jidoteki.hookspecs import *

async def handler(request):
    return {"third": "party"}

@hookimpl
def jidoteki_endpoints():
    return [Endpoint("GET", "/audit", handler)]
"""
    for name in ("audit", "other"):
        plugin = tmp_path / name / f"{name}.py"
        plugin.parent.mkdir()
        plugin.write_text(code)
        client = await jidoteki_client(load=(plugin,), enable=["audit"])
        assert (await client.get("/audit")).json == {"third": "party"}
