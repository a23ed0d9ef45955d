"""The OpenAPI document: generated from the routes that the server has, valid, and true for every response."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
from documented import document_of, undocumented

from jidoteki.core import json_schema
from jidoteki.core.endpoints import update
from jidoteki.hookspecs import Document, Upload, validators
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost
from jidoteki.testing.host import COMMAND

import voluptuous as vol  # isort: skip

PREFIX = "/api/v1/admin"

THIRD_PARTY = """
from jidoteki.hookspecs import *
import voluptuous as vol

class Anything:
    def __call__(self, value):
        return value

async def handler(request):
    raise ApiError(418, "short and stout")

@hookimpl
def jidoteki_endpoints(appliance):
    parameters = {vol.Required("host"): validators.hostname, vol.Optional("odd"): Anything()}
    return [
        Endpoint("POST", "/probe", handler, parameters=parameters, responses={202: "It is pinged"},
                 summary="Ping a host", examples={"A name": {"host": "a.example"}}),
        Endpoint("GET", "/probe/last", handler,
                 responses={200: Described("How it went", JOB_STATUS, ({"status": None},))}),
        Endpoint("GET", "/probe", handler, parameters={vol.Optional("count"): vol.In(["1", "2"])}),
    ]
"""


@pytest.fixture(scope="module")
def document(jidoteki_module_host: Host) -> dict[str, Any]:
    """Return the document of a host with all built-in endpoints."""
    return document_of(jidoteki_module_host)


def form_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    form: dict[str, Any] = document["paths"][PREFIX + path]["post"]["requestBody"]["content"]["multipart/form-data"]
    return form


def fits(schema: dict[str, Any], value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def test_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    openapi_spec_validator.validate(document)

    assert document["openapi"] == "3.1.0"


def test_examples_fit_their_own_schemas(document: dict[str, Any]) -> None:
    contents = [
        (content.get("schema", {}), example)
        for item in document["paths"].values()
        for operation in item.values()
        for each in [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in each.get("content", {}).values()
        for example in [*([content["example"]] if "example" in content else []),
                        *(each["value"] for each in content.get("examples", {}).values())]
    ]  # fmt: skip

    wrong = [example for schema, example in contents
             if not fits({**schema, "components": document["components"]}, example)]  # fmt: skip

    assert len(contents) > 30
    assert wrong == []


def test_document_has_exactly_what_the_endpoints_say(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(endpoints=["storage"], plugins={"dashboard": {"enabled": False}})

    paths = document_of(host)["paths"]
    first_levels = {"/".join(path.split("/")[:5]) for path in paths if path.startswith(PREFIX)}

    listed = {each for each in host.get("/endpoints").json["endpoints"] if each != "/docs"}
    assert first_levels == listed | {f"{PREFIX}/jobs"}  # which is always served, and listed if enabled
    assert f"{PREFIX}/storage" in first_levels
    assert f"{PREFIX}/settings" not in first_levels
    assert "/docs" in paths


def test_parameters_that_the_configuration_leaves_out_are_left_out(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(parameters=["public", "private"])

    assert list(form_of(document_of(host), "/certs")["schema"]["properties"]) == ["public", "private"]


def test_third_party_endpoints_are_described(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(THIRD_PARTY)
    host = jidoteki_host(load=(plugin,), enable=("probe",))

    document = document_of(host)
    post, get = (document["paths"][f"{PREFIX}/probe"][method] for method in ("post", "get"))
    schema = post["requestBody"]["content"]["multipart/form-data"]["schema"]

    openapi_spec_validator.validate(document)
    assert post["summary"] == "Ping a host"
    assert schema["properties"]["host"]["pattern"] == r"^[a-zA-Z0-9.\-]{3,255}$"
    assert schema["properties"]["odd"] == {}
    assert schema["required"] == ["host"]
    assert get["parameters"][0]["schema"]["enum"] == ["1", "2"]
    assert undocumented(document, "GET", f"{PREFIX}/probe", host.get("/probe")) is None


def test_third_parties_describe_their_answers_like_the_built_in_plugins(
    jidoteki_host: MakeHost, tmp_path: Path
) -> None:
    plugin = tmp_path / "probe.py"
    plugin.write_text(THIRD_PARTY)

    document = document_of(jidoteki_host(load=(plugin,), enable=("probe",)))
    post, last = (document["paths"][f"{PREFIX}/probe{below}"] for below in ("", "/last"))
    form = post["post"]["requestBody"]["content"]["multipart/form-data"]

    openapi_spec_validator.validate(document)
    assert form["examples"] == {"A name": {"value": {"host": "a.example"}}}
    assert post["post"]["responses"]["202"]["content"]["application/json"] == {
        "schema": {"$ref": "#/components/schemas/Accepted"},
        "example": {"Status": "202 Accepted", "Location": f"{PREFIX}/probe"},
    }
    assert last["get"]["responses"]["200"] == {
        "description": "How it went",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/JobStatus"}, "example": {"status": None}}
        },
    }


@pytest.mark.parametrize(
    ("network", "accepted"),
    [
        ({}, True),
        ({"ip_address": "10.0.0.2", "netmask": "24", "gateway": "10.0.0.1"}, True),
        ({"ip_address": "10.0.0.2", "netmask": 24, "gateway": "10.0.0.1"}, True),
        ({"ip_address": "", "netmask": "", "dns1": "", "ntpserver": ""}, True),
        ({"hostname": 10001, "ntpserver": 123}, True),
        ({"ip_address": "10.0.0.2"}, False),
        ({"ip_address": "10.0.0.2", "netmask": "", "gateway": "10.0.0.1"}, False),
        ({"ip_address": "10.0.0.2", "netmask": 129, "gateway": "10.0.0.1"}, False),
        ({"hostname": ""}, False),
        ({"netmask": "24", "gateway": "10.0.0.1"}, False),
        ({"dns1": "no address"}, False),
        ({"gatway": "10.0.0.1"}, False),
    ],
)
def test_schema_of_the_settings_and_the_server_agree(
    document: dict[str, Any], jidoteki_module_host: Host, tmp_path: Path, network: dict[str, Any], accepted: bool
) -> None:
    settings = {"network": {"interface": "eth0", "hostname": "test.host", **network}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))

    answer = jidoteki_module_host.post("/settings", "-F", f"settings=@{tmp_path}/settings.json", query="dry-run=1")

    assert (answer.status == 202) is accepted
    assert fits(form_of(document, "/settings")["schema"], {"settings": settings}) is accepted


@pytest.mark.parametrize(
    ("storage", "accepted"),
    [
        ({"type": "local"}, True),
        ({"type": "aoe", "device": "e0.1"}, True),
        ({"type": "nbd", "export_name": "name", "ip": "10.0.0.1", "port": 1043}, True),
        ({"type": "aoe"}, False),
        ({"type": "local", "device": "e0.1"}, False),
        ({"type": "floppy"}, False),
    ],
)
def test_schema_of_the_storage_and_the_server_agree(
    document: dict[str, Any], jidoteki_module_host: Host, tmp_path: Path, storage: dict[str, Any], accepted: bool
) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"storage": storage}))

    answer = jidoteki_module_host.post("/storage", "-F", f"settings=@{tmp_path}/settings.json", query="dry-run=1")

    assert (answer.status == 202) is accepted
    assert fits(form_of(document, "/storage")["schema"], {"settings": {"storage": storage}}) is accepted


def test_schema_of_the_storage_has_the_options_that_are_shown_with_it(
    document: dict[str, Any], jidoteki_module_host: Host, tmp_path: Path
) -> None:
    settings = {"storage": {"type": "aoe", "device": 100}, "options": ["local", "aoe"]}
    (tmp_path / "settings.json").write_text(json.dumps(settings))

    answer = jidoteki_module_host.post("/storage", "-F", f"settings=@{tmp_path}/settings.json", query="dry-run=1")

    assert answer.status == 202
    assert fits(form_of(document, "/storage")["schema"], {"settings": settings})


def test_every_get_and_head_answers_as_documented(document: dict[str, Any], jidoteki_module_host: Host) -> None:
    endless = f"{PREFIX}/events"
    paths = [path for path in document["paths"] if path.startswith(PREFIX) and path != endless]

    problems = [
        undocumented(document, method, path, jidoteki_module_host.curl(method, path.removeprefix(PREFIX), auth=auth))
        for path in paths
        for method, auth in (("GET", "hash"), ("GET", "token"), ("HEAD", "hash"))
        if "get" in document["paths"][path]
    ]

    assert len(problems) > 45
    assert [each for each in problems if each] == []


FORMS = {
    "/setup": ("newtoken=other-token", "newtoken=two words"),
    "/update": (f"update=@{update.__file__}", "update="),
    "/reboot": ("", "unknown=1"),
    "/settings": ('settings={"app":{}}', "settings=no json"),
    "/settings/confirm": ("", "unknown=1"),
    "/certs": ("public=no certificate;private=no key", "public=alone"),
    "/certs/confirm": ("", "unknown=1"),
    "/license": ("license=no license", "licence=misspelt"),
    "/storage": ('settings={"storage":{"type":"local"}}', "settings=[]"),
    "/backup": ("action=start", "action=pause"),
    "/backup/restore": (f"archive=@{update.__file__}", "archive="),
}


def test_every_post_is_among_the_forms_tried_here(document: dict[str, Any]) -> None:
    tried_elsewhere = {
        f"{PREFIX}/jobs/{{id}}/cancel",  # needs a running job
        f"{PREFIX}/downloads",  # comes with the dashboard
        f"{PREFIX}/uploads",
    }

    served = {path for path, item in document["paths"].items() if "post" in item}

    assert served == {PREFIX + path for path in FORMS} | tried_elsewhere


@pytest.mark.parametrize("path", FORMS)
def test_every_post_answers_as_documented(document: dict[str, Any], jidoteki_module_host: Host, path: str) -> None:
    host, (right, wrong) = jidoteki_module_host, FORMS[path]
    fields = [argument for each in right.split(";") if each for argument in ("-F", each)]

    answers = [
        host.post(path, *fields, query="dry-run=1"),
        host.post(path, "-F", wrong, query="dry-run=1"),
        host.post(path, *fields, query="dry-run=maybe"),
        host.post(path, "-H", "Content-Type: application/json", "-d", '{"x": 1}', query="dry-run=1"),
        host.post(path, *fields, "-H", "Authorization: Bearer x", query="dry-run=1"),
        host.post(path, *fields, "-H", "Expect: wonders", query="dry-run=1"),
    ]

    assert [each for answer in answers if (each := undocumented(document, "POST", PREFIX + path, answer))] == []
    assert [answer.status for answer in answers[1:]] == [400, 400, 415, 400, 417]


def test_partial_and_conditional_downloads_answer_as_documented(
    document: dict[str, Any], jidoteki_module_host: Host
) -> None:
    host = jidoteki_module_host
    beginning = host.get("/logs", "-H", "Range: bytes=0-9")
    of_this = f"If-Range: {beginning.headers['Etag']}"

    answers = [
        beginning,
        host.get("/logs", "-H", "Range: bytes=99999999999-", "-H", of_this),
        host.get("/changelog", "-H", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
        host.get("/changelog", "-H", "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT"),
    ]
    paths = [f"{PREFIX}/logs"] * 2 + [f"{PREFIX}/changelog"] * 2

    assert [answer.status for answer in answers] == [206, 416, 304, 412]
    assert [undocumented(document, "GET", path, each) for path, each in zip(paths, answers, strict=True)] == [None] * 4


def test_answer_that_is_not_documented_is_found(document: dict[str, Any], jidoteki_module_host: Host) -> None:
    answer = jidoteki_module_host.get("/version")
    without_success = json.loads(json.dumps(document))
    del without_success["paths"][f"{PREFIX}/version"]["get"]["responses"]["200"]
    other_schema = json.loads(json.dumps(document).replace('"required": ["version"]', '"required": ["revision"]'))

    assert undocumented(document, "GET", f"{PREFIX}/version", answer) is None
    assert "not described" in str(undocumented(without_success, "GET", f"{PREFIX}/version", answer))
    assert "'revision' is a required property" in str(undocumented(other_schema, "GET", f"{PREFIX}/version", answer))


def test_only_the_ways_to_authenticate_that_are_in_force_are_described(
    document: dict[str, Any], jidoteki_host: MakeHost
) -> None:
    both = document_of(jidoteki_host(authentication={"named-tokens": True, "signatures": True}))

    openapi_spec_validator.validate(both)
    assert set(document["components"]["securitySchemes"]) == {"hash", "token", "bearer"}
    assert set(both["components"]["securitySchemes"]) == {"hash", "token", "bearer", "signatureInput", "signature"}
    assert document["security"] == [{"hash": []}, {"token": []}, {"bearer": []}]
    assert both["security"] == [*document["security"], {"signatureInput": [], "signature": []}]
    assert both["paths"][f"{PREFIX}/setup"]["post"]["security"] == [*both["security"], {}]


def test_scopes_that_a_named_token_needs_are_described(document: dict[str, Any], jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True, "signatures": False})

    paths = document_of(host)["paths"]
    scopes = {
        f"{method} {path}": paths[PREFIX + path][method.lower()]["x-jidoteki-scopes"]
        for method, path in [("GET", "/version"), ("GET", "/backup/log"), ("POST", "/backup"), ("GET", "/reboot")]
    }

    assert scopes == {
        "GET /version": ["all", "read", "/version", "GET /version"],
        "GET /backup/log": ["all", "read", "/backup", "/backup/log", "GET /backup", "GET /backup/log"],
        "POST /backup": ["all", "/backup", "POST /backup"],
        "GET /reboot": ["all", "/reboot", "GET /reboot"],
    }
    assert paths[f"{PREFIX}/tokens"]["post"]["x-jidoteki-scopes"] == []
    assert paths[f"{PREFIX}/version"]["head"]["x-jidoteki-scopes"] == scopes["GET /version"]
    assert "x-jidoteki-scopes" not in json.dumps(document)


def test_command_prints_the_same_document(document: dict[str, Any], jidoteki_module_host: Host) -> None:
    root = str(jidoteki_module_host.appliance.root)

    done = subprocess.run([*COMMAND, "openapi", "--root", root], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == document


def test_command_exits_1_and_says_what_the_document_lacks(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False, endpoints=["storage", "nonsense"])

    done = subprocess.run(
        [*COMMAND, "openapi", "--root", str(host.appliance.root)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "no plugin serves 'nonsense'" in done.stderr
    assert f"{PREFIX}/storage" in json.loads(done.stdout)["paths"]


@pytest.mark.parametrize(
    ("validator", "right", "wrong"),
    [
        (vol.All(int, vol.Range(min=1, max=9)), 9, 10),
        (vol.In(["a", "b"]), "a", "c"),
        (vol.Any(int, None), None, "x"),
        (vol.Union(int, [str]), ["x"], "x"),
        (vol.Schema({vol.Required("a"): int}), {"a": 1}, {}),
        (vol.Schema({"a": int}), {"a": 1}, {"b": 1}),
        (vol.Schema({vol.Exclusive("a", "g"): int, vol.Exclusive("b", "g"): int}), {"a": 1}, {"a": 1, "b": 1}),
        (vol.Schema({vol.Inclusive("a", "g"): int, vol.Inclusive("b", "g"): int}), {"a": 1, "b": 1}, {"a": 1}),
        ([vol.Length(min=2)], ["ab"], ["a"]),
        (validators.port, 65535, 65536),
        (validators.or_number(validators.hostname), 100, 99),
        (validators.or_number(validators.netmask, 128), "24", 129),
        (validators.strict({vol.Optional("a"): int}, empty_is_absent=True), {"a": ""}, {"a": "x"}),
        (validators.strict({vol.Required("a"): validators.token}, empty_is_absent=True), {"a": "x"}, {"a": ""}),
        (validators.strict({"a": {"b": validators.interface}}), {"a": {"b": "eth0"}}, {"a": {"b": "!"}}),
        (Document(validators.json_document({"a": bool})), {"a": True}, {"a": 1}),
    ],
)
def test_schema_accepts_and_refuses_what_the_validator_does(validator: Any, right: Any, wrong: Any) -> None:
    schema = json_schema.of_validator(validator)

    assert (fits(schema, right), fits(schema, wrong)) == (True, False)


def test_validator_that_says_what_it_accepts_is_described_so() -> None:
    @validators.described({"type": "string", "pattern": "^x+$"})
    def crosses(value: str) -> str:
        return value

    assert json_schema.of_validator(vol.All(str, crosses)) == {"type": "string", "pattern": "^x+$"}


def test_extra_keys_and_unknown_validators_are_described_as_anything() -> None:
    class Odd:
        def __call__(self, value: object) -> object:
            return value

    assert json_schema.of_validator(Odd()) == {}
    assert fits(json_schema.of_validator(vol.Schema({"a": Odd()}, extra=vol.ALLOW_EXTRA)), {"a": [1], "b": 2})
    assert fits(json_schema.of_validator({vol.Extra: object}), {"b": 2})


def test_longest_upload_is_described() -> None:
    assert json_schema.of_validator(Upload(max_size=7))["maxLength"] == 7
