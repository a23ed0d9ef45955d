"""`GET /metrics`, checked with Prometheus' own parser and linter."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import prometheus_client
import pytest
from documented import document_of, undocumented
from prometheus_client.parser import text_string_to_metric_families

from jidoteki.testing import Host, InProcessClient, MakeClient, MakeHost, wait_until

ADDS = """
import time
from jidoteki.hookspecs import *

async def handler(request):
    raise RuntimeError("on purpose")

@hookimpl
def jidoteki_endpoints():
    return [Endpoint("GET", "/adds", handler)]

@hookimpl
def jidoteki_metrics(appliance):
    one = [Sample(1)]
    return [
        Metric("shelf_books_total", "counter", "Books.", [Sample(3, {"shelf": 'a "b"\\n\\\\'})]),
        Metric("shelf_height_meters", "histogram", "Heights.", [Sample(Distribution(3, 4.5, {1.0: 1, 2.0: 2}))]),
        Metric("shelf_books_total", "counter", "Twice.", one),
        Metric("jidoteki_requests_total", "counter", "Of the host.", one),
        Metric("jidoteki bad\\n", "gauge", "Bad name.", one),
        Metric("shelf_wrong_total", "gauge", "Named as a counter.", one),
        Metric("shelf_none", "gauge", "No number.", [Sample("7")]),
        Metric("shelf_label", "gauge", "Bad label.", [Sample(7, {"a-b": "c"})]),
        Metric("shelf_same", "gauge", "The same series twice.", [Sample(7), Sample(8)]),
        Metric("shelf_mixed", "gauge", "Unequal labels.", [Sample(7), Sample(8, {"a": "b"})]),
        Metric("shelf_many", "gauge", "Many.", [Sample(n, {"n": str(n)}) for n in range(2000)]),
        Metric("process_open_fds", "gauge", "Of the client library.", one),
        Metric("shelf_bucket", "gauge", "Of a histogram.", one),
        "nothing",
    ]
"""
HANGS = """
import time
from jidoteki.hookspecs import hookimpl

@hookimpl
def jidoteki_metrics():
    time.sleep(6)
"""


def samples(text: str) -> dict[str, float]:
    return {
        each.name + "{" + ",".join(f"{key}={value}" for key, value in sorted(each.labels.items())) + "}": each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def lint(text: str) -> str:
    """Return the output and the exit status of `promtool check metrics`."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return f"{done.stdout}{done.stderr}{done.returncode}"


@pytest.fixture
async def client(jidoteki_client: MakeClient) -> InProcessClient:
    return await jidoteki_client(enable=["metrics"])


@pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool, of the package prometheus")
def test_promtool_accepts_it_with_what_plugins_add(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = tmp_path / "adds.py"
    plugin.write_text(ADDS)
    host: Host = jidoteki_host(load=(plugin,), enable=["metrics", "adds"])
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")
    host.get("/adds")
    wait_until(lambda: "jidoteki_processors" in host.request("GET", "/metrics").text)

    answer = host.get("/metrics")

    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert lint(answer.text) == "0"
    assert undocumented(document_of(host), "GET", "/api/v1/admin/metrics", answer) is None


async def test_what_is_shown(jidoteki_client: MakeClient, tmp_path: Path) -> None:
    plugin = tmp_path / "adds.py"
    plugin.write_text(ADDS)
    client = await jidoteki_client(load=(plugin,), enable=["metrics", "adds"], raise_server_exceptions=False)
    await client.post("/backup", {"action": "START"})
    await client.wait_for_job("/backup")
    for _ in range(3):
        await client.get("/version")
    await client.get("/adds")
    counted = "jidoteki_jobs_total{outcome=success,type=backup}"
    while samples(answer := (await client.get("/metrics")).text).get(counted) != 1:
        pass

    found = samples(answer)

    assert found["jidoteki_requests_total{method=GET,status=200}"] >= 3
    assert found["jidoteki_request_duration_seconds_count{}"] >= 6
    assert (
        found["jidoteki_request_duration_seconds_bucket{le=+Inf}"] == found["jidoteki_request_duration_seconds_count{}"]
    )
    assert found["jidoteki_jobs_total{outcome=success,type=backup}"] == 1
    assert found["jidoteki_job_duration_seconds_count{outcome=success,type=backup}"] == 1
    assert 0 < found["jidoteki_job_duration_seconds_sum{outcome=success,type=backup}"] < 60
    assert abs(found["jidoteki_job_last_success_timestamp_seconds{type=backup}"] - time.time()) < 60
    assert found["jidoteki_job_running{type=backup}"] == 0
    assert abs(found["jidoteki_backup_timestamp_seconds{}"] - time.time()) < 60
    assert found["jidoteki_certificate_expiry_timestamp_seconds{}"] > time.time() + 86400
    assert found["jidoteki_version_info{version=1.0.0}"] == 1
    assert found["jidoteki_update_state{state=success}"] == found["jidoteki_update_state{state=running}"] == 0
    assert found["jidoteki_plugin_failures_total{plugin=adds}"] == 1
    assert found["jidoteki_plugin_up{plugin=metrics}"] == 1
    assert found["process_resident_memory_bytes{}"] > 1e6
    assert found['shelf_books_total{shelf=a "b"\n\\}'] == 3
    assert found["shelf_height_meters_bucket{le=2.0}"] == 2 and found["shelf_height_meters_sum{}"] == 4.5
    assert {each.partition("{")[0] for each in found if each.startswith("shelf")} == {
        "shelf_books_total", "shelf_height_meters_bucket", "shelf_height_meters_count", "shelf_height_meters_sum"
    }  # fmt: skip


async def test_nothing_of_it_is_in_the_global_registry(client: InProcessClient) -> None:
    await client.get("/metrics")

    assert "jidoteki" not in prometheus_client.generate_latest().decode()


async def test_a_plugin_that_hangs_costs_seconds_once_and_is_counted(
    jidoteki_client: MakeClient, tmp_path: Path
) -> None:
    plugin = tmp_path / "hangs.py"
    plugin.write_text(HANGS)
    client = await jidoteki_client(load=(plugin,), enable=["metrics"])
    started = time.monotonic()

    await client.get("/metrics")
    first = time.monotonic() - started
    found = samples((await client.get("/metrics")).text)

    assert first < 4 and time.monotonic() - started < 5
    assert found["jidoteki_plugin_failures_total{plugin=hangs}"] == 1


@pytest.mark.parametrize("health", ["[]", "{", '{"disk": "full", "cpu": {"num": "two", "load": "a,b,c"}}',
                                    '{"memory": {"percentage": 1e999}, "cpu": {"load": [1]}}'])  # fmt: skip
async def test_health_that_somebody_else_wrote_badly_is_left_out(jidoteki_client: MakeClient, health: str) -> None:
    client = await jidoteki_client(enable=["metrics"], health={"refresh": 0})
    client.appliance.replace_file(client.appliance.etc / "health.json", health)

    answer = await client.get("/metrics")

    assert answer.status == 200
    assert not [
        each for each in samples(answer.text) if each.startswith(("jidoteki_disk", "jidoteki_memory", "jidoteki_l"))
    ]


async def test_health_is_shown_in_base_units(jidoteki_client: MakeClient) -> None:
    client = await jidoteki_client(enable=["metrics"], health={"refresh": 0})
    health = '{"disk": {"percentage": 50}, "memory": {"percentage": 25}, "cpu": {"num": 2, "load": "0.5, 0.25, 1"}}'
    client.appliance.replace_file(client.appliance.etc / "health.json", health)

    found = samples((await client.get("/metrics")).text)

    assert (found["jidoteki_disk_used_ratio{}"], found["jidoteki_memory_used_ratio{}"]) == (0.5, 0.25)
    assert found["jidoteki_load{minutes=5}"] == 0.25 and found["jidoteki_processors{}"] == 2


async def test_what_has_not_happened_yet_is_zero_so_that_its_first_time_is_an_increase(client: InProcessClient) -> None:
    text = (await client.get("/metrics")).text

    assert samples(text)["jidoteki_jobs_total{outcome=failed,type=update}"] == 0


async def test_a_metric_of_the_hosts_name_is_told_in_the_log(
    jidoteki_client: MakeClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "adds.py").write_text(ADDS)
    client = await jidoteki_client([tmp_path / "adds.py"], enable=["metrics", "adds"])

    await client.get("/metrics")

    assert "the metric jidoteki_requests_total is there already" in caplog.text
    assert "process_open_fds: names that begin so" in caplog.text and "shelf_bucket: names" in caplog.text
