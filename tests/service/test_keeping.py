"""What clients are told where root cannot keep through a reboot what an endpoint changed."""

from __future__ import annotations

import pytest

from jidoteki.core.jobs.launch import BusyError
from jidoteki.core.jobs.manager import JobManager
from jidoteki.testing import MakeClient


async def test_setup_says_nothing_where_it_is_kept(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(commands={"persist": ["true"]})

    assert (await client.post("/setup", {"newtoken": "another"})).json == {"Status": "200 OK"}


async def test_setup_says_why_it_is_not_kept(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(commands={"persist": ["sh", "-c", "echo No space left; exit 3"]})

    answer = await client.post("/setup", {"newtoken": "another"})

    told = "The change is in force, but the persist command failed with exit status 3: No space left"
    assert (answer.status, answer.json["warnings"]) == (200, [told])


async def test_setup_says_that_a_reboot_came_between(
    jidoteki_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep(jobs: JobManager, client: str, user: str) -> str | None:
        raise BusyError("reboot")

    monkeypatch.setattr(JobManager, "keep", keep)
    client = await jidoteki_client(commands={"persist": ["true"]})

    answer = await client.post("/setup", {"newtoken": "another"})

    assert answer.json["warnings"] == [
        "The change is in force, but not kept through a reboot: This cannot be done while reboot is running"
    ]
