"""What a page needs of the document to make forms: titles, secrets, choices, patterns, and the jobs that start."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documented import document_of

from jidoteki.core.openapi import patterns
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

PREFIX = "/api/v1/admin"
EVERYTHING = [
    "settings", "certs", "license", "storage", "backup", "jobs", "tokens", "audit", "events", "metrics", "history",
    "session", "uploads", "downloads",
]  # fmt: skip
SECRET = re.compile("password|token$|private")
COMPILE = """
const patterns = JSON.parse(require("fs").readFileSync(0));
const wrong = patterns.filter((each) => ["u", "v"].some((flag) => {
  try { new RegExp(each, flag); return false; } catch { return true; }
}));
console.log(JSON.stringify(wrong));
"""


@pytest.fixture(scope="module")
def document(jidoteki_module_host: Host) -> dict[str, Any]:
    """Return the document of a host with everything that is built in."""
    host = jidoteki_module_host
    host.configure(endpoints=EVERYTHING, authentication={"named-tokens": True, "signatures": True})
    host.reload()
    return document_of(host)


def schemas(value: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all objects in a part of a document, with the keys that they are under."""
    if isinstance(value, dict):
        yield key, value
        for name, each in value.items():
            yield from schemas(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from schemas(each, key)


def form_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    form: dict[str, Any] = document["paths"][PREFIX + path]["post"]["requestBody"]["content"]["multipart/form-data"]
    return dict(form["schema"])


def forms(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is sent: the schemas of all forms, and the parameters of all queries and paths."""
    operations = [each for item in document["paths"].values() for each in item.values()]
    contents = [
        each for operation in operations for each in operation.get("requestBody", {}).get("content", {}).items()
    ]
    named = {each["name"]: each["schema"] for operation in operations for each in operation.get("parameters", ())
             if "name" in each}  # fmt: skip
    return [content["schema"] for media, content in contents if "form" in media] + [{"properties": named}]


def fields(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return all fields that are sent, also those inside JSON documents."""
    return [
        each for form in forms(document) for _, schema in schemas(form)
        for each in schema.get("properties", {}).items() if not {"const", "not"} & each[1].keys()
    ]  # fmt: skip


def compiled_wrong(wanted: list[str]) -> list[str]:
    node = shutil.which("node")
    if node is None or subprocess.run([node, "-e", "new RegExp('a', 'v')"], capture_output=True).returncode:
        pytest.skip("No node with the flag v (20 or newer): nothing tells whether a browser compiles the patterns")
    run = subprocess.run([node, "-e", COMPILE], input=json.dumps(wanted), capture_output=True, text=True, check=True)
    wrong: list[str] = json.loads(run.stdout)
    return wrong


def test_browsers_compile_every_pattern(document: dict[str, Any]) -> None:
    found = sorted({each["pattern"] for _, each in schemas(document) if isinstance(each.get("pattern"), str)})

    assert len(found) > 15
    assert compiled_wrong(found) == []


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("^[a-zA-Z0-9._/-]{1,9}$", "a-/_", "a,b"),
        ("^[-a/]$", "-", "b"),
        (r"^[\w.-]+-[^/\]-]$", "a.b-c", "a-/"),
        ("^[!-/]$", "-", "0"),
        ("^[ -~]$", "|", "\n"),
        ("^[(){}|[]+$", "(){}|[", "a"),
        (r"^\[a-/\]$", "[a-/]", "a"),
        ("^(?!admin$)[a-z]{0,3}/x$", "abc/x", "abc"),
    ],
)
def test_pattern_means_the_same_and_compiles(pattern: str, yes: str, no: str) -> None:
    portable = patterns.portable(pattern)

    assert re.search(pattern, yes) and re.search(portable, yes)
    assert not re.search(pattern, no) and not re.search(portable, no)
    assert patterns.portable(portable) == portable
    assert compiled_wrong([portable]) == []


def test_secrets_are_write_only_and_nothing_else_is(document: dict[str, Any]) -> None:
    found = [
        (name, schema.get("writeOnly", False)) for name, schema in fields(document) if schema.get("type") != "object"
    ]

    assert {name for name, is_secret in found if is_secret} == {"newtoken", "private", "password"}
    assert [name for name, is_secret in found if SECRET.search(name) and not is_secret] == []


def test_every_field_has_a_title(document: dict[str, Any]) -> None:
    untitled = {name for name, schema in fields(document) if "title" not in schema and "$ref" not in schema}

    assert untitled - {"dry-run", "Idempotency-Key"} == set()


def test_title_of_a_field_that_may_be_empty_is_not_inside(document: dict[str, Any]) -> None:
    network = form_of(document, "/settings")["properties"]["settings"]["properties"]["network"]
    network = network.get("anyOf", [network])[0]

    assert network["properties"]["ip_address"]["title"] == "IP address"
    assert network["properties"]["ntpserver"]["anyOf"][1] == {"const": ""}


def test_choices_are_enumerations(document: dict[str, Any]) -> None:
    text = json.dumps(form_of(document, "/settings"))

    assert '"enum": ["dhcp", "static"]' in text
    assert form_of(document, "/backup")["properties"]["action"]["enum"] == ["START", "STOP"]
    assert form_of(document, "/backup/restore")["properties"]["mode"]["enum"] == ["merge", "exact"]


def test_words_beside_the_choices_are_taken_as_before(document: dict[str, Any], jidoteki_module_host: Host) -> None:
    settings = {"network": {"interface": "eth0", "hostname": "test.host", "mode": "automatic"}}

    answers = [
        jidoteki_module_host.post("/backup", "-F", "action=stop", query="dry-run=1"),
        jidoteki_module_host.post("/settings", "-F", f"settings={json.dumps(settings)}", query="dry-run=1"),
    ]

    assert [each.status for each in answers] == [202, 202]


def test_types_of_storage_on_offer_are_described_before_any_is_set(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(endpoints=["storage"])
    options = host.appliance.system_etc / "storage-options.json"
    for offered in (["local", "nfs"], ["local", "ceph", "iscsi"]):
        options.write_text(json.dumps({"options": offered}))
        host.reload()

        operation = document_of(host)["paths"][f"{PREFIX}/storage"]["post"]
        content = operation["requestBody"]["content"]["multipart/form-data"]
        storage = content["schema"]["properties"]["settings"]["properties"]["storage"]

        assert host.get("/storage").status == 404
        assert [each["title"] for each in storage["oneOf"]] == [each for each in offered if each != "ceph"]
        assert storage["discriminator"] == {"propertyName": "type"}
        posted = [each["value"]["settings"]["storage"]["type"] for each in content["examples"].values()]
        assert posted == [each for each in offered if each != "ceph"]


def test_jobs_that_operations_start_are_told_with_where_their_status_is(document: dict[str, Any]) -> None:
    starts = {
        path.removeprefix(PREFIX): operation["x-starts"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if "x-starts" in operation and method == "post"
    }

    own = ("update", "certs", "backup")
    assert {path: each for path, each in starts.items() if path.strip("/") in own} == {
        f"/{name}": {"job": name, "status": f"{PREFIX}/{name}"} for name in own
    }
    assert starts["/storage"] == {"job": "storage", "status": f"{PREFIX}/jobs/{{id}}"}
    assert starts["/settings"] == {"job": "settings", "status": f"{PREFIX}/jobs/{{id}}"}
    assert "/setup" not in starts


THIRD_PARTY = """
from jidoteki.hookspecs import *
import voluptuous as vol

async def handler(request):
    return {}

@hookimpl
def jidoteki_jobs(appliance):
    return [JobType("probe", run=print)]

@hookimpl
def jidoteki_endpoints(appliance):
    label = Label("Pass phrase", "What the other side knows", secret=True)
    parameters = {vol.Required("phrase", description=label): validators.printable}
    return [Endpoint("POST", "/probe", handler, parameters=parameters, starts="probe"),
            Endpoint("GET", "/probe", handler, responses={200: Described("How it went", JOB_STATUS)})]
"""


def test_plugins_of_others_label_their_fields_and_tell_their_jobs(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(THIRD_PARTY)
    document = document_of(jidoteki_host(load=(plugin,), enable=("probe",)))

    phrase = form_of(document, "/probe")["properties"]["phrase"]
    said = {key: phrase[key] for key in ("title", "description", "writeOnly")}

    assert said == {"title": "Pass phrase", "description": "What the other side knows", "writeOnly": True}
    assert document["paths"][f"{PREFIX}/probe"]["post"]["x-starts"] == {"job": "probe", "status": f"{PREFIX}/probe"}
