"""`jidoteki check` finds what is wrong, says where, and what to do; the configuration's schema agrees with it."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from checkkit import findings
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from places import ROOT

from jidoteki.core.appliance import Appliance
from jidoteki.core.checks import privileged_jobs
from jidoteki.core.config import loading
from jidoteki.core.config import schema as config_schema
from jidoteki.core.config.positions import Positions
from jidoteki.core.jobs import units
from jidoteki.core.jobs.records import Record, Records
from jidoteki.core.plugin_manager import section_schemas
from jidoteki.testing import wait_until
from jidoteki.testing.fixtures import MakeAppliance, MakeHost
from jidoteki.testing.host import COMMAND

PUBLISHED = ROOT / "etc/jidoteki-admin-api.schema.json"
PLUGIN = """
import voluptuous as vol
from jidoteki.hookspecs import hookimpl

@hookimpl
def jidoteki_config_schema():
    return vol.Schema({vol.Required("city"): vol.All(str, vol.Length(min=2)), vol.Optional("days", default=3): int})
"""


@pytest.fixture
def appliance(jidoteki_appliance: MakeAppliance) -> Appliance:
    return jidoteki_appliance()


def only_finding(appliance: Appliance) -> dict[str, Any]:
    [found] = findings(appliance)
    assert found["advice"]
    return found


def configure(appliance: Appliance, text: str) -> None:
    appliance.replace_file(appliance.configuration, text)


def place(finding: dict[str, Any]) -> tuple[str, int, int]:
    return finding["file"], finding["line"], finding["column"]


def test_a_new_appliance_is_in_order(appliance: Appliance) -> None:
    done = subprocess.run(
        [*COMMAND, "check", "--root", appliance.root], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "Everything is in order\n", "")


def test_what_others_wrote_reaches_no_terminal_as_it_is(appliance: Appliance) -> None:
    record = Record("000001-update", "update", unrecovered=True)
    record.fail("x\x1b]0;owned\x07\nEverything is in order", "E2004")
    appliance.prepare()
    Records(appliance.jobs).write(record)

    done = subprocess.run(
        [*COMMAND, "check", "--root", appliance.root], capture_output=True, text=True, timeout=60, check=False
    )

    assert r"x\x1b]0;owned\x07\nEverything is in order" in done.stdout
    assert "systemctl restart jidoteki-admin-api" in done.stdout
    assert done.returncode == 1
    assert "\x1b" not in done.stdout and "Everything is in order" not in done.stdout.splitlines()


def test_an_environment_of_the_unit_that_no_shell_reads_ends_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"LoadState": "loaded", "Environment": "NOTE=it's"}
    for name, value in {"is_booted": True, "properties": told, "require_start": None}.items():
        monkeypatch.setattr(units, name, lambda *asked, value=value: value)
    launcher: Any = SimpleNamespace(job_types={"update": (SimpleNamespace(name="update"), None)}, has_unit=bool)

    assert list(privileged_jobs.check(launcher)) == []


def test_broken_json_is_told_with_line_and_column(appliance: Appliance) -> None:
    configure(appliance, '{\n  "endpoints": [],\n  "limits": {"upload": }\n}')

    found = only_finding(appliance)

    assert place(found) == (str(appliance.configuration), 3, 24)
    assert "until then the last one that could be read counts" in found["advice"]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ('{\n  "limts": {}\n}', 2, 3, "limts is unknown; did you mean 'limits'?"),
        ('{"limits": {\n\t"uplaod": 5}}', 2, 2, "limits.uplaod is unknown; did you mean 'upload'?"),
        ('{"limits": {"upload": "5"}}', 1, 13, "limits.upload must be a whole number"),
        ('{"endpoints": ["backup",\n  7]}', 2, 3, "endpoints[1] must be a string"),
        ('{"listen": {"port": 70000}}', 1, 13, "listen.port must be at most 65535"),
        ('{"first-run": {"enabled": "no"}}', 1, 16, "first-run.enabled must be true or false"),
        ('{"update": []}', 1, 2, "update must be an object"),
        ('{"health": {},\n "health": {}}', 2, 2, "health comes twice"),
        ('{"endpoints": ["backup", "setings"]}', 1, 26, "no plugin serves 'setings'; did you mean 'settings'?"),
        ('{"a \\" \\u00e9 {": 1}', 1, 2, "is unknown"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_told_with_its_place(
    appliance: Appliance, text: str, line: int, column: int, message: str
) -> None:
    configure(appliance, text)

    found = only_finding(appliance)

    assert place(found) == (str(appliance.configuration), line, column)
    assert message in found["message"]


def test_people_see_place_message_and_advice(appliance: Appliance) -> None:
    configure(appliance, '{\n  "limts": {}\n}')

    done = subprocess.run(
        [*COMMAND, "check", "--root", appliance.root], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert done.stdout == (
        f"error: {appliance.configuration}:2:3: limts is unknown; did you mean 'limits'?\n"
        "    Correct or remove it; it has no effect.\n"
    )


def test_the_log_of_the_service_tells_the_same_place(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    configure(host.appliance, '{\n  "limts": {}\n}')

    host.start()

    told = f"{host.appliance.configuration}:2:3: limts is unknown; did you mean 'limits'?"
    wait_until(lambda: told in (host.appliance.log / "jidoteki-admin-api.log").read_text())


def test_the_key_for_editors_means_nothing(appliance: Appliance) -> None:
    document = json.loads(appliance.configuration.read_text())
    configure(appliance, json.dumps({**document, "$schema": "jidoteki-admin-api.schema.json"}))

    assert findings(appliance) == []


def test_no_configuration_is_a_warning(appliance: Appliance) -> None:
    appliance.configuration.unlink()

    assert only_finding(appliance)["level"] == "warning"


def write_certificate(appliance: Appliance, begins: int, ends: int) -> None:
    """Put a certificate into use that is valid between two days, counted from today."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "appliance")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + datetime.timedelta(days=begins))
        .not_valid_after(now + datetime.timedelta(days=ends))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = appliance.system_etc / "pki/tls/enterprise.pem"
    appliance.replace_file(path, private + certificate.public_bytes(pem), mode=0o600)


@pytest.mark.parametrize(
    ("begins", "ends", "level", "message"),
    [
        (-20, -1, "error", "it ended on"),
        (-20, 20, "warning", "it ends on"),
        (2, 400, "error", "it is not valid before"),
    ],
)
def test_a_certificate_out_of_its_time_is_told(
    appliance: Appliance, begins: int, ends: int, level: str, message: str
) -> None:
    write_certificate(appliance, begins, ends)

    found = only_finding(appliance)

    assert (found["subject"], found["level"]) == ("certificate", level)
    assert message in found["message"]
    assert "POST /certs" in found["advice"]


def write_odd_certificate(appliance: Appliance) -> None:
    """Put a certificate into use whose key POST /certs would not take."""
    path = appliance.system_etc / "pki/tls/enterprise.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:4104", "-noenc", "-subj", "/CN=appliance", "-days", "365",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-"], capture_output=True, check=True,
    )  # fmt: skip
    appliance.replace_file(path, made.stdout, mode=0o600)
    appliance.replace_file(appliance.system_etc / "pki/tls/certs/enterprise.crt", made.stdout)


def test_a_key_that_is_too_long_is_told_and_served_all_the_same(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(start=False)
    write_odd_certificate(host.appliance)

    found = only_finding(host.appliance)
    host.start()

    told = "The key of the certificate is RSA of 4104 bits: allowed are RSA keys of 2048 to 4096 bits"
    assert (found["subject"], found["level"]) == ("certificate", "warning")
    assert found["message"].startswith(told)
    assert host.get("/version").status == 200
    wait_until(lambda: told in (host.appliance.log / "jidoteki-admin-api.log").read_text())


def test_a_certificate_that_is_none_is_told(appliance: Appliance) -> None:
    appliance.replace_file(appliance.system_etc / "pki/tls/enterprise.pem", "nonsense")

    found = only_finding(appliance)

    assert (found["subject"], found["level"]) == ("certificate", "error")


@pytest.mark.parametrize("name", ["api.token", "api.tokens.json"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_token_that_others_can_read_is_told_with_the_command_that_cures_it(
    appliance: Appliance, name: str, mode: int
) -> None:
    token = appliance.etc / name
    token.touch()
    token.chmod(mode)

    found = only_finding(appliance)

    assert (found["subject"], found["file"]) == ("permissions", str(token))
    assert found["advice"] == f"Run: chmod 600 {shlex.quote(str(token))}"
    subprocess.run(found["advice"].removeprefix("Run: "), shell=True, check=True)
    assert findings(appliance) == []


@pytest.mark.parametrize("name", ["network.sh", "."])
def test_a_vendors_script_that_others_may_write_is_told_with_the_command_that_cures_it(
    appliance: Appliance, name: str
) -> None:
    script = appliance.bin / name
    (appliance.bin / "network.sh").touch(mode=0o755)
    script.chmod(0o777)

    found = only_finding(appliance)

    assert (found["level"], found["subject"], found["file"]) == ("warning", "permissions", str(script))
    subprocess.run(found["advice"].removeprefix("Run: "), shell=True, check=True)
    assert findings(appliance) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_the_command_that_cures_a_script_of_somebody_else_gives_it_to_root(appliance: Appliance) -> None:
    script = appliance.bin / "network $(true) 'setup'.sh"
    script.touch(mode=0o755)
    os.chown(script, 1234, -1)

    found = only_finding(appliance)

    assert found["file"] == str(script)
    assert found["advice"] == f"Run: chown root {shlex.quote(str(script))}"
    subprocess.run(found["advice"].removeprefix("Run: "), shell=True, check=True)
    assert findings(appliance) == []


def test_an_empty_token_and_none_at_all_are_told(appliance: Appliance) -> None:
    (appliance.etc / "api.token").write_text("\n")
    empty = only_finding(appliance)
    (appliance.etc / "api.token").unlink()
    missing = only_finding(appliance)

    assert (empty["level"], missing["level"]) == ("error", "warning")
    assert "anybody may make the first setup" in missing["message"]


def test_a_token_that_cannot_be_read_is_not_told_as_an_empty_one(appliance: Appliance) -> None:
    (appliance.etc / "api.token").unlink()
    (appliance.etc / "api.token").mkdir()

    found = next(each for each in findings(appliance) if each["subject"] == "token")

    assert found["level"] == "error" and "cannot read it" in found["message"]
    assert "emove" not in found["advice"]


@pytest.mark.parametrize("name", ["updates.key", "updates.pub"])
def test_a_missing_key_for_updates_is_told(appliance: Appliance, name: str) -> None:
    (appliance.etc / name).unlink()

    found = only_finding(appliance)

    assert (found["subject"], found["file"]) == ("updates", str(appliance.etc / name))


def test_where_root_runs_jobs_the_keys_are_those_of_root(appliance: Appliance) -> None:
    appliance.replace_file(appliance.configuration, '{"jobs": {"run-as": "unit"}}')
    (appliance.admin / "keys").mkdir()
    for name in ("updates.key", "updates.pub"):
        (appliance.admin / "keys" / name).write_bytes((appliance.etc / name).read_bytes())
    (appliance.admin / "keys/updates.revoked").write_text("not an id\n")

    told = {each["file"] for each in findings(appliance) if each["subject"] == "updates"}

    assert told == {str(appliance.admin / "keys/updates.revoked")}


def test_what_to_do_about_a_machine_that_was_not_provisioned_is_told(appliance: Appliance) -> None:
    appliance.configuration.unlink()
    for name in ("updates.key", "updates.pub"):
        (appliance.etc / name).unlink()

    advice = {each["subject"]: each["advice"] for each in findings(appliance)}

    assert advice["configuration"].startswith("Run: jidoteki provision,")
    assert advice["updates"].startswith("Run: jidoteki provision --keys DIR")


def test_a_public_key_that_is_none_is_told(appliance: Appliance) -> None:
    (appliance.etc / "updates.pub").write_text("nonsense\n")

    assert "updates.pub cannot be used: not a public key in PEM" in only_finding(appliance)["message"]


def test_a_version_below_the_highest_that_was_installed_is_told(appliance: Appliance) -> None:
    mark = appliance.jobs / "highest-version"
    mark.parent.mkdir(exist_ok=True)
    mark.write_text("2.0.0\n")
    lower = only_finding(appliance)
    (appliance.etc / "version.txt").write_text("2.0\n")
    equal = findings(appliance)
    mark.write_text("\n")
    broken = only_finding(appliance)

    assert (lower["level"], lower["file"]) == ("warning", str(appliance.etc / "version.txt"))
    assert lower["message"].startswith("it says 1.0.0, but 2.0.0 was installed")
    assert equal == []
    assert "highest-version holds no version" in broken["message"]


def with_plugin(appliance: Appliance, code: str, section: dict[str, Any] | None = None) -> None:
    directory = appliance.system_etc / "plugins"
    directory.mkdir(mode=0o755)
    appliance.replace_file(directory / "weather.py", code)
    sections = {"weather": section} if section is not None else {}
    document = {"plugin-directory": "usr/local/etc/plugins", "plugins": sections}
    configure(appliance, json.dumps(document, indent=2))


def test_a_plugin_that_fails_is_told_with_the_file_to_correct(appliance: Appliance) -> None:
    with_plugin(appliance, "raise RuntimeError('planted')")

    found = only_finding(appliance)

    assert (found["subject"], found["level"]) == ("plugin", "error")
    assert "weather is left out: RuntimeError: planted" in found["message"]
    assert str(appliance.system_etc / "plugins/weather.py") in found["advice"]


def test_a_wrong_section_of_a_plugin_is_told_with_its_place(appliance: Appliance) -> None:
    with_plugin(appliance, PLUGIN, {"city": 5})

    found = only_finding(appliance)

    assert place(found) == (str(appliance.configuration), 4, 5)
    assert "city must be a string" in found["message"]


def test_too_little_space_is_told(appliance: Appliance) -> None:
    configure(appliance, json.dumps({"limits": {"free-space": 1 << 50}}))

    found = findings(appliance)

    assert {each["subject"] for each in found} == {"disk"}
    assert all("bytes are free, less than" in each["message"] for each in found)


def test_the_published_schema_is_the_one_of_the_validators() -> None:
    schema = config_schema.describe(section_schemas.built_in_sections())

    assert PUBLISHED.read_text() == config_schema.as_text(schema), (
        "run: jidoteki config-schema -o etc/jidoteki-admin-api.schema.json"
    )


def test_every_key_is_explained_in_the_schema() -> None:
    properties = config_schema.describe()["properties"]

    for name, each in properties.items():
        assert each["description"], name
        assert all(key["description"] for key in each.get("properties", {}).values()), name


def test_the_schema_takes_the_defaults_and_the_example() -> None:
    schema = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)

    validator.validate(loading.defaults())
    validator.validate(json.loads((ROOT / "etc/jidoteki-admin-api.json").read_text()))


@pytest.mark.parametrize(
    "document",
    [
        {"limts": {}},
        {"limits": {"uplod": 1}},
        {"limits": {"upload": "1"}},
        {"limits": {"upload": 0}},
        {"limits": {"upload": True}},
        {"limits": {"command": 0.01}},
        {"endpoints": "backup"},
        {"endpoints": [""]},
        {"commands": {"reboot": []}},
        {"health": {"refresh": -1}},
        {"first-run": {"word-length": 2}},
        {"$schema": 5, "listen": {"port": 65536}},
        {"plugins": []},
    ],
    ids=json.dumps,
)
def test_schema_and_service_refuse_the_same(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "configuration.json").write_text(json.dumps(document))

    assert not jsonschema.Draft202012Validator(config_schema.describe()).is_valid(document)
    assert loading.load(tmp_path / "configuration.json").problems


def test_the_schema_of_an_appliance_has_its_plugins_sections_even_when_one_is_wrong(appliance: Appliance) -> None:
    with_plugin(appliance, PLUGIN, {"city": 5})

    done = subprocess.run(
        [*COMMAND, "config-schema", "--root", appliance.root], capture_output=True, text=True, timeout=60, check=True
    )

    schema = json.loads(done.stdout)
    validator = jsonschema.Draft202012Validator(schema)
    assert schema["properties"]["plugins"]["properties"]["weather"]["required"] == ["city"]
    assert validator.is_valid({"plugins": {"weather": {"city": "Bern"}, "another": {}}})
    assert not validator.is_valid({"plugins": {"weather": {"city": 5}}})


def test_places_are_found_however_the_text_is_laid_out() -> None:
    text = '{"a":[{"b":1},\r\n{"b" : [ -1.5e3 , "x,]}" ]}],"é":{"":null}}'
    positions = Positions(text)

    assert positions.of(("a",)) == (1, 2)
    assert positions.of(("a", 1, "b")) == (2, 2)
    assert positions.of(("a", 1, "b", 1)) == (2, 19)
    assert positions.of(("é", "")) == (2, 35)
    assert positions.of(("é", "missing")) == (2, 30)
    assert positions.of(()) == (1, 1)
