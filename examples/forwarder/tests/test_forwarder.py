"""Events on their way from a running host to a webhook and to syslog."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import voluptuous as vol
from jidoteki_forwarder import jidoteki_config_schema
from receivers import Syslog, Webhook

from jidoteki.testing import Host, MakeHost, wait_until


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """A webhook."""
    made = Webhook()
    yield made
    made.close()


def waiting(host: Host, destination: str) -> list[Path]:
    """What waits on the disk for a destination."""
    return sorted((host.appliance.admin / "spool/forwarder" / destination).glob("*.json"))


def test_audit_lines_and_jobs_reach_the_webhook_in_their_order(jidoteki_host: MakeHost, hook: Webhook) -> None:
    host = jidoteki_host(plugins={"forwarder": {"webhook": hook.url, "webhook-token": "sesame"}})

    host.request("POST", "/backup", {"action": "START"})
    host.wait_for_job("/backup")

    wait_until(lambda: "job.end" in hook.actions() and "request.done" in hook.actions())
    assert hook.actions()[0] == "request.begun"
    assert hook.authorization == "Bearer sesame"
    (ended,) = [event for event in hook.received if event["action"] == "job.end"]
    assert ended["target"] == "backup success"
    assert ended["kind"] == "job"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", ended["time"])
    wait_until(lambda: not waiting(host, "webhook"))


@pytest.mark.parametrize("status", [503, 302])
def test_what_the_webhook_refuses_is_sent_again(jidoteki_host: MakeHost, hook: Webhook, status: int) -> None:
    hook.status = status
    host = jidoteki_host(plugins={"forwarder": {"webhook": hook.url, "longest-pause": 0.5}})
    host.curl("GET", "/version", auth="none", source="127.0.0.2")
    wait_until(lambda: hook.attempts >= 2)
    assert {"forwarder-webhook": "not running"} in host.request("GET", "/services").json["services"]

    hook.status = 200

    wait_until(lambda: hook.actions() == ["authentication.failure"])
    wait_until(lambda: {"forwarder-webhook": "running"} in host.request("GET", "/services").json["services"])


def test_what_waits_survives_a_restart(jidoteki_host: MakeHost) -> None:
    away = Webhook()
    away.close()
    host = jidoteki_host(plugins={"forwarder": {"webhook": away.url}})
    host.curl("GET", "/version", auth="none", source="127.0.0.2")
    wait_until(lambda: len(waiting(host, "webhook")) == 1)
    assert host.stop() == 0

    back = Webhook(away.port)
    host.start()

    wait_until(lambda: back.actions() == ["authentication.failure"])
    wait_until(lambda: not waiting(host, "webhook"))
    back.close()


def test_the_oldest_make_room_when_too_many_wait(jidoteki_host: MakeHost, hook: Webhook) -> None:
    hook.status = 503
    host = jidoteki_host(
        plugins={"forwarder": {"webhook": hook.url, "max-waiting": 2, "longest-pause": 0.5}}, health={"refresh": 0.5}
    )

    host.request("POST", "/setup", {"newtoken": str(host.token)})
    host.request("POST", "/setup", {"newtoken": str(host.token)})

    wait_until(
        lambda: host.request("GET", "/health").json.get("forwarder") == {"webhook": {"waiting": 2, "dropped": 2}}
    )
    assert len(waiting(host, "webhook")) == 2
    hook.status = 200
    wait_until(lambda: hook.actions() == ["request.begun", "request.done"])


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_syslog_gets_messages_of_rfc_5424(jidoteki_host: MakeHost, protocol: str) -> None:
    server = Syslog(protocol)
    host = jidoteki_host(plugins={"forwarder": {"syslog": server.address}})

    host.curl("GET", "/version", auth="none", source="127.0.0.2")

    wait_until(lambda: server.messages)
    assert re.fullmatch(
        r"<108>1 \S+Z \S+ jidoteki - authentication\.failure - client=127\.0\.0\.2 user=- id=- "
        r"target=GET /api/v1/admin/version event-id=[0-9a-f]{32}",
        server.messages[0],
    )
    server.close()


def test_a_configuration_that_is_read_again_is_used_from_the_next_event_on(
    jidoteki_host: MakeHost, hook: Webhook
) -> None:
    host = jidoteki_host()
    host.configure(plugins={"forwarder": {"webhook": hook.url}})
    host.reload()

    host.curl("GET", "/version", auth="none", source="127.0.0.2")

    wait_until(lambda: hook.actions() == ["authentication.failure"])


@pytest.mark.parametrize(
    "section",
    [
        {"webhook": "ftp://a.example"},
        {"webhook": "https://[broken"},
        {"syslog": "log.example"},
        {"syslog": "tcp://log.example"},
        {"syslog": "udp://log.example:0"},
        {"max-waiting": 0},
        {"webhook-token": "two words"},
        {"webhok": "https://a.example"},
    ],
)
def test_a_section_that_makes_no_sense_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(vol.Invalid):
        jidoteki_config_schema()(section)


def test_a_local_syslog_socket_is_accepted() -> None:
    assert jidoteki_config_schema()({"syslog": "unix:/dev/log"})["syslog"] == "unix:/dev/log"
