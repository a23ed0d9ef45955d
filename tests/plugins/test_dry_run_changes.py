"""Dry runs say what would change, each of them, and to nobody who may not know it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trialkit
from documented import document_of, undocumented
from trialkit import NEW, OLD, certificate_form, ended, post, prepare

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Answer, Host, MakeHost

NFS = {"type": "nfs", "mount_options": "sync", "ip": "10.0.0.1", "share": "/data"}
ISCSI = {"type": "iscsi", "target": "iqn.2012-12.com.example:disk", "ip": "10.0.0.1", "lun": "0", "password": "hidden"}


@pytest.fixture(scope="module")
def host(jidoteki_module_host: Host) -> Host:
    return jidoteki_module_host


def changes(answer: Answer, path: str, host: Host) -> list[tuple[str, Any, Any]]:
    assert answer.json["dry-run"] is True, answer.text
    assert undocumented(document_of(host), "POST", PREFIX + path, answer) is None
    return [(each["path"], each["from"], each["to"]) for each in answer.json["changes"]]


def test_settings_tell_each_value(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    prepare(host)

    found = changes(post(host, NEW, "dry-run=1"), "/settings", host)

    assert found == [("app.name", "old", "new"), ("network.hostname", "old.host", "new.host")]
    assert changes(post(host, OLD, "dry-run=1"), "/settings", host) == []
    assert changes(post(host, {"app": {}}, "dry-run=1"), "/settings", host) == [("app.name", "old", None)]
    assert host.request("GET", "/settings").json == OLD


def test_a_wish_to_confirm_makes_no_difference_to_a_dry_run(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()

    found = changes(post(host, NEW, "dry-run=1&confirm=60"), "/settings", host)

    assert ("network.mode", None, "dhcp") in found
    assert trialkit.leftovers(host) == []


def test_storage_tells_each_value_and_no_password(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()

    def posted(storage: object, query: str = "") -> Answer:
        document = json.dumps({"storage": storage}).encode()
        return host.request("POST", "/storage", {"settings": document}, query=query)

    assert ("storage.type", None, "nfs") in changes(posted(NFS, "dry-run=1"), "/storage", host)
    ended(host, posted(NFS).headers["Job-Id"])
    moved = changes(posted({**NFS, "share": "/other"}, "dry-run=1"), "/storage", host)
    assert moved == [("storage.share", "/data", "/other")]


def test_certificates_tell_what_would_be_served_in_place_of_what(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    host = jidoteki_host()

    found = changes(host.post("/certs", *certificate_form(tmp_path, "new"), query="dry-run=1"), "/certs", host)

    assert {path for path, _, _ in found} >= {"certificate.subject", "certificate.fingerprint"}
    assert ("certificate.subject", "CN=new") in [(path, new) for path, _, new in found]


@pytest.mark.parametrize(
    ("path", "form", "told"),
    [
        ("/setup", {"newtoken": "another"}, [("token", "********", "********")]),
        ("/reboot", {}, [("system", "running", "rebooting")]),
        ("/backup", {"action": "START"}, [("backup.status", None, "running")]),
        ("/backup", {"action": "STOP"}, []),
    ],
)
def test_other_requests_tell_it_too(host: Host, path: str, form: dict[str, str], told: list[Any]) -> None:
    assert changes(host.request("POST", path, form, query="dry-run=1"), path, host) == told


def test_who_may_not_read_the_settings_learns_none_from_a_dry_run(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=["tokens"], authentication={"named-tokens": True})
    prepare(host)
    made = host.request("POST", "/tokens", {"name": "writer", "scopes": "POST /settings"}).json["token"]
    host.token, admin = made, host.token

    found = changes(post(host, NEW, "dry-run=1"), "/settings", host)
    host.token = admin

    assert found == [("app.name", "********", "new"), ("network.hostname", "********", "new.host")]


def test_tokens_tell_their_scopes(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=["tokens"], authentication={"named-tokens": True})
    wanted = {"name": "monitor", "scopes": "read"}

    made = changes(host.request("POST", "/tokens", wanted, query="dry-run=1"), "/tokens", host)

    assert made == [("users.monitor.scopes", None, ["read"])]
