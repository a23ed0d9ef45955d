"""What Prometheus reads from a running host."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jidoteki.testing import Host, MakeHost, wait_until


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    """A host that serves the plugin."""
    return jidoteki_host(enable=("metrics",))


def samples(host: Host) -> dict[str, float]:
    """The samples as Prometheus' own parser sees them, such as `{"name{label=value}": 1.0}`."""
    families = text_string_to_metric_families(host.request("GET", "/metrics").text)
    return {
        sample.name + "{" + ",".join(f"{key}={value}" for key, value in sample.labels.items()) + "}": sample.value
        for family in families
        for sample in family.samples
    }


def test_it_is_served_as_prometheus_wants_it(host: Host) -> None:
    answer = host.curl("GET", "/metrics")

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")


def test_requests_are_counted_by_method_and_status(host: Host) -> None:
    host.request("GET", "/version")
    host.request("GET", "/version")
    host.request("GET", "/nothing")

    found = samples(host)

    assert found["jidoteki_requests_total{method=GET,status=200}"] == 2
    assert found["jidoteki_requests_total{method=GET,status=404}"] == 1


def test_refused_authentications_are_counted(host: Host) -> None:
    host.curl("GET", "/version", auth="none", source="127.0.0.2")

    wait_until(lambda: samples(host)["jidoteki_authentication_failures_total{}"] == 1)


def test_jobs_are_counted_by_how_they_ended(host: Host) -> None:
    host.request("POST", "/backup", {"action": "START"})
    host.wait_for_job("/backup")

    found = wait_until(
        lambda: (all := samples(host)).get("jidoteki_jobs_ended_total{job=backup,status=success}") and all
    )

    assert found["jidoteki_job_running{job=backup}"] == 0
    assert found["jidoteki_job_last_end_timestamp_seconds{job=backup}"] > 1_600_000_000


def test_health_is_shown_as_numbers(host: Host) -> None:
    found = wait_until(lambda: (all := samples(host)).get("jidoteki_processors{}") and all)

    assert found["jidoteki_processors{}"] >= 1
    assert 0 <= found["jidoteki_disk_used_percent{}"] <= 100
    assert 0 <= found["jidoteki_memory_used_percent{}"] <= 100


def test_health_that_a_vendor_wrote_badly_is_left_out(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("metrics",), start=False, health={"refresh": 0})
    health = host.appliance.etc / "health.json"
    host.appliance.replace_file(health, '{"disk": "full", "cpu": {"num": "two", "cpu5min": 7}}')
    host.start()

    found = samples(host)

    assert found["jidoteki_load_five_minutes{}"] == 7
    assert "jidoteki_processors{}" not in found
