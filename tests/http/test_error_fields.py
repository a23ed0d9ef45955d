"""Which field is at fault: the JSON pointer `error-field` of a refused request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jidoteki.hookspecs import validators
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

NETWORK = {"interface": "eth0", "hostname": "test.host"}


@pytest.fixture(scope="module")
def host(jidoteki_module_host: Host) -> Host:
    return jidoteki_module_host


@pytest.mark.parametrize(
    ("path", "fields", "pointer"),
    [
        ("/setup", ("newtoken=two words",), "/newtoken"),
        ("/setup", (), "/newtoken"),
        ("/setup", ("newtoken=a", "newtoken=b"), "/newtoken"),
        ("/setup", ("newtoken=a", "new~to/ken=b"), "/new~0to~1ken"),
        ("/backup", ("action=pause",), "/action"),
        ("/certs", ("public=alone",), "/private"),
        ("/update", ("update=alone.tar",), "/update"),
        ("/license", ("license=no license",), "/license"),
        ("/settings", ("settings=no json",), "/settings"),
        ("/settings", ("settings=[]",), "/settings"),
    ],
)
def test_parameter_at_fault_is_told(host: Host, path: str, fields: tuple[str, ...], pointer: str) -> None:
    arguments = [argument for each in fields for argument in ("-F", each)]

    answer = host.post(path, *(arguments or ("-d", "")), query="dry-run=1")

    assert 400 <= answer.status < 500
    assert answer.json["error-field"] == pointer


@pytest.mark.parametrize(
    ("network", "pointer"),
    [
        ({"ip_address": "10.0.0", "netmask": "24", "gateway": "10.0.0.1"}, "/settings/network/ip_address"),
        ({"hostname": "a b c"}, "/settings/network/hostname"),
        ({"hostname": ""}, "/settings/network/hostname"),
        ({"gatway": "10.0.0.1"}, "/settings/network/gatway"),
        ({"x" * 65: "10.0.0.1"}, "/settings/network"),
        ({"ip_address": "10.0.0.2", "netmask": "24", "gateway": "2001:db8::1"}, "/settings/network/gateway"),
        ({"ip_address": "10.0.0.2"}, "/settings/network"),
    ],
)
def test_value_inside_a_document_is_told(host: Host, tmp_path: Path, network: dict[str, Any], pointer: str) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"network": {**NETWORK, **network}}))

    answer = host.post("/settings", "-F", f"settings=@{tmp_path}/settings.json", query="dry-run=1")

    assert answer.status == 400
    assert answer.json["error-field"] == pointer


@pytest.mark.parametrize("query", ["", "dry-run=1"])
@pytest.mark.parametrize(
    ("storage", "pointer"),
    [
        ({"type": "floppy"}, "/settings/storage/type"),
        ({"type": "aoe", "device": "e0.1"}, "/settings/storage/type"),
        ({"type": "nfs", "ip": "no address"}, "/settings/storage/ip"),
        (
            {"type": "iscsi", "target": "target", "ip": "10.0.0.1", "username": "user", "password": "********"},
            "/settings/storage/password",
        ),
    ],
)
def test_storage_at_fault_is_told_for_real_and_in_a_dry_run(
    jidoteki_host: MakeHost, tmp_path: Path, storage: dict[str, Any], pointer: str, query: str
) -> None:
    host = jidoteki_host(endpoints=["storage"])
    (host.appliance.system_etc / "storage-options.json").write_text('{"options": ["local", "nfs", "iscsi"]}')
    (tmp_path / "settings.json").write_text(json.dumps({"storage": storage}))

    answer = host.post("/storage", "-F", f"settings=@{tmp_path}/settings.json", query=query)

    assert answer.status == 400
    assert answer.json["error-field"] == pointer


def test_dry_runs_of_named_tokens_are_judged_like_real_requests(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(endpoints=["tokens"], authentication={"named-tokens": True})
    made, taken = ("-F", "name=monitor", "-F", "scopes=read"), "there is a token called monitor already"

    for query in ("dry-run=1", ""):
        assert host.post("/tokens/revoke", "-F", "name=monitor", query=query).status == 404
    assert host.post("/tokens", *made, query="dry-run=1").status == 200
    assert host.post("/tokens", *made).status == 200
    answers = [host.post("/tokens", *made, query=query) for query in ("dry-run=1", "")]

    assert [(each.status, each.json["error-field"]) for each in answers] == [(400, "/name")] * 2
    assert all(taken in each.json["Error-Message"] for each in answers)
    assert host.post("/tokens/revoke", "-F", "name=monitor", query="dry-run=1").status == 200
    assert "monitor" in host.get("/tokens").json["tokens"]


@pytest.mark.parametrize("query", ["", "dry-run=1"])
def test_license_at_fault_is_told_for_real_and_in_a_dry_run(host: Host, query: str) -> None:
    answer = host.post("/license", "-F", "license=no license", query=query)

    assert (answer.status, answer.json["error-field"]) == (404, "/license")


def test_download_that_is_none_is_told_for_real_and_in_a_dry_run(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(endpoints=["downloads"])

    for query in ("", "dry-run=1"):
        for path, status in (("/version", 400), ("/nothing", 404)):
            answer = host.post("/downloads", "-F", f"path={path}", query=query)

            assert (answer.status, answer.json["error-field"]) == (status, "/path")


def test_parameter_of_a_query_is_told(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(endpoints=["history"])

    assert host.get("/health/history", query="range=century").json["error-field"] == "/range"


def test_errors_that_concern_no_field_name_none(host: Host) -> None:
    assert list(host.post("/setup", "-F", "newtoken=a", query="dry-run=maybe").json) == ["Status", "Error-Message"]
    assert list(host.curl("GET", "/version", auth="none").json) == ["Status", "Error-Message"]


def test_what_scripts_know_of_an_error_comes_first(jidoteki_host: MakeHost) -> None:
    answer = jidoteki_host().post("/setup", "-F", "newtoken=two words")

    assert answer.body.startswith(b'{"Status":"400 Bad Request","Error-Message":"newtoken must be ')
    assert list(answer.json) == ["Status", "Error-Message", "error-field"]
    assert "Error-Field" not in answer.headers


def test_pointers_are_exact_or_end_earlier() -> None:
    assert validators.pointer("a/b", "c~d", 0) == "/a~1b/c~0d/0"
    assert validators.pointer("a", "x" * 65, "b") == "/a"
    assert validators.pointer() == ""
