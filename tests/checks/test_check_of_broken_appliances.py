"""`jidoteki check` finds what keeps an appliance from working, and is silent about one that works."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import original_tree
import pytest
from checkkit import findings
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from places import ROOT

from jidoteki.core.appliance import Appliance
from jidoteki.plugins.license import gpg
from jidoteki.testing.fixtures import MakeAppliance, MakeHost


@pytest.fixture
def appliance(jidoteki_appliance: MakeAppliance) -> Appliance:
    return jidoteki_appliance()


def script(content: str | bytes, mode: int = 0o755) -> Callable[[Appliance], Path]:
    def put(appliance: Appliance) -> Path:
        path = appliance.bin / "network.sh"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    return put


def written(name: str, content: str | bytes, mode: int | None = None) -> Callable[[Appliance], Path]:
    """A file of the appliance, below `ADMIN/etc` or, with a slash before it, below `/usr/local/etc`."""

    def put(appliance: Appliance) -> Path:
        path = appliance.system_etc / name[1:] if name.startswith("/") else appliance.etc / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            path.chmod(mode)
        return path

    return put


def configured(**sections: Any) -> Callable[[Appliance], Path]:
    def put(appliance: Appliance) -> Path:
        document = json.loads(appliance.configuration.read_text())
        appliance.configuration.write_text(json.dumps({**document, **sections}))
        return appliance.configuration

    return put


def made_readable(name: str) -> Callable[[Appliance], Path]:
    def put(appliance: Appliance) -> Path:
        path = appliance.system_etc / "pki/tls" / name
        path.chmod(0o644)
        return path

    return put


def removed(name: str) -> Callable[[Appliance], Path]:
    def put(appliance: Appliance) -> Path:
        path = appliance.etc / name
        path.unlink()
        return path

    return put


def vendors(name: str, target: str) -> Callable[[Appliance], Path]:
    """A file of the vendor's desk, copied onto the appliance."""

    def put(appliance: Appliance) -> Path:
        path = appliance.admin / target
        path.write_bytes((appliance.root / "vendor" / name).read_bytes())
        path.chmod(0o600)
        return path

    return put


def short_key(appliance: Appliance) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return written("updates.pub", pem)(appliance)


def init_script(content: str) -> Callable[[Appliance], Path]:
    def put(appliance: Appliance) -> Path:
        path = appliance.system_etc / "init.d/openssh"
        path.write_text(content)
        return path

    return put


OPTIONAL = ["settings", "public", "private", "license", "action"]
BROKEN: dict[str, tuple[Callable[[Appliance], Path], str, str]] = {
    "neither execute bit nor interpreter": (script("echo one\n", 0o644), "warning", "is not executable"),
    "CRLF in the first line": (script("#!/bin/sh\r\nexit 0\r\n"), "error", "ends with CR LF"),
    "CRLF in every other line": (script("#!/bin/sh\nexit 0\r\nexit 1\r\n"), "error", "end with CR LF"),
    "CRLF without a first line": (script("exit 0\r\n"), "error", "end with CR LF"),
    "byte order mark": (script("\ufeff#!/bin/sh\nexit 0\n"), "error", "byte order mark"),
    "missing interpreter": (script("#!/nonexistent/sh\n"), "error", "/nonexistent/sh is not there"),
    "missing interpreter of env": (script("#!/usr/bin/env nonexistent-sh\n"), "error", "nonexistent-sh is in none of"),
    "interpreter without a path": (script("#!bash\n"), "error", "not an absolute path"),
    "script of the world": (script("#!/bin/sh\n", 0o777), "warning", "may write to it"),
    "syntax error": (script("#!/bin/sh\nif true; then\n"), "warning", "a shell cannot read it: 3: Syntax error"),
    "syntax error of bash": (script("#!/usr/bin/env bash\na=(1\n"), "warning", "a shell cannot read it"),
    "syntax error without a first line": (script("fi\n"), "warning", "a shell cannot read it"),
    "CRLF in a script of init": (init_script("#!/bin/sh\r\necho is running\r\n"), "warning", "cannot ask it: "),
    "parameters of restores": (configured(parameters=[*OPTIONAL, "mode"]), "warning", "not list 'archive', without"),
    "persist": (configured(commands={"persist": ["/nonexistent/keep"]}), "error", "persist: /nonexistent/keep"),
    "reboot": (configured(commands={"reboot": ["no-such-reboot"]}), "error", "commands.reboot: no-such-reboot"),
    "not executable": (configured(commands={"reboot": ["/etc/passwd", "-n"]}), "error", "is not executable"),
    "prefix": (configured(commands={"prefix": ["sudo", "-n"]}), "error", "commands.prefix has no effect any more"),
    "parameters": (configured(parameters=["pubic", "private"]), "warning", "no endpoint has 'pubic'; did you mean"),
    "sections": (configured(plugins={"wether": {}}), "warning", "plugins.wether has no effect"),
    "readable bundle": (made_readable("enterprise.pem"), "error", "the key of TLS"),
    "readable key": (made_readable("private/enterprise.key"), "error", "the key of TLS"),
    "PEM as updates.key": (written("updates.key", "-----BEGIN PUBLIC KEY-----\n"), "error", "in PEM"),
    "CRLF in updates.key": (written("updates.key", "secret\r\n"), "warning", "CR LF"),
    "empty first line in updates.key": (written("updates.key", "\nsecret\n"), "error", "is empty"),
    "mark in updates.key": (written("updates.key", "\ufeffsecret\n"), "warning", "byte order mark"),
    "short key": (short_key, "warning", "1024 bits"),
    "private.pem": (vendors("private.pem", "etc/private.pem"), "error", "signs updates"),
    "private.pem by another name": (vendors("private.pem", "home/sftp/uploads/k"), "error", "signs updates"),
    "no version": (removed("version.txt"), "warning", "there is no version"),
    "empty version": (written("version.txt", "\n"), "warning", "is no version"),
    "version of words": (written("version.txt", "1.0\x01\n"), "warning", "is no version"),
    "build": (written("/build.json", "build 17\n"), "warning", "is no JSON"),
    "storage options": (written("/storage-options.json", "local nfs\n"), "warning", "is no JSON"),
    "storage options without a list": (written("/storage-options.json", '{"options":"nfs"}'), "warning", "no list"),
    "storage options that are none": (written("/storage-options.json", '{"options":["zfs"]}'), "warning", "none of"),
    "services": (written("/allservices.txt", "openssh\n/etc/init.d/nginx\n"), "warning", "is no name of a service"),
    "logs": (written("logs.txt", "/\n"), "warning", "the whole system"),
    "logs above": (written("logs.txt", "/var/log/../../etc/shadow\n"), "warning", "leads upwards"),
    "debug": (written("debug.txt", "uname -a\nif true; then\n"), "warning", "is no command of a shell"),
    "license without its key": (removed("license.key"), "error", "there is no license.key"),
    "no list of backups": (removed("backup.txt"), "error", "every backup and restore fails: There is no backup.txt"),
    "empty list of backups": (written("backup.txt", "# app\n"), "error", "lists nothing"),
    "list of backups above": (written("backup.txt", "app ../etc\n"), "error", "../etc, which is not a path below"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_and_nothing_else(appliance: Appliance, name: str) -> None:
    broken, level, told = BROKEN[name]

    file = broken(appliance)

    [found] = [each for each in findings(appliance) if each["level"] != "note"]
    assert (found["level"], found["file"]) == (level, str(file)), found
    assert told in found["message"] and found["advice"]


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [("#!/bin/sh\nexit 0\n", 0o644, "is not executable"), ("exit 0\n", 0o755, "no first line names an interpreter")],
)
def test_what_runs_all_the_same_is_a_note(appliance: Appliance, content: str, mode: int, told: str) -> None:
    script(content, mode)(appliance)

    [found] = findings(appliance)

    assert (found["level"], told in found["message"]) == ("note", True)


@pytest.mark.parametrize(
    "content",
    ["#!/usr/bin/env sh\n", "#!/usr/bin/env -S sh -e\n", "#! /bin/sh -e\n", b"\x7fELF" + bytes(60), "",
     "#!/usr/bin/env python3\nprint('a\\r')\r\n"],
)  # fmt: skip
def test_scripts_that_run_are_in_order(appliance: Appliance, content: str | bytes) -> None:
    script(content)(appliance)

    assert findings(appliance) == []


def test_programs_that_are_there_are_in_order(appliance: Appliance) -> None:
    configured(commands={"persist": ["/bin/true"], "reboot": ["true"]})(appliance)

    assert findings(appliance) == []


def test_every_parameter_of_the_reference_is_known(appliance: Appliance) -> None:
    reference = ["public", "private", "ca", "license", "action", "archive"]
    configured(parameters=reference, endpoints=["settings"])(appliance)

    assert findings(appliance) == []


def test_parameters_that_enabled_endpoints_lack_are_told(appliance: Appliance) -> None:
    tokens = {"endpoints": ["backup", "tokens"], "authentication": {"named-tokens": True}}
    configured(parameters=["action", "archive"], **tokens)(appliance)
    found = {each["message"]: each["level"] for each in findings(appliance)}
    configured(parameters=None, **tokens)(appliance)

    assert found == {
        "parameters does not list 'mode': POST /backup/restore refuses a request with it": "note",
        "parameters does not list 'expires': POST /tokens refuses a request with it": "note",
        "parameters does not list 'name', 'scopes', without which POST /tokens always answers 400": "warning",
        "parameters does not list 'name', without which POST /tokens/revoke always answers 400": "warning",
    }
    assert findings(appliance) == []


def test_an_appliance_of_init_serves_every_built_in_endpoint_that_is_added(jidoteki_host: MakeHost) -> None:
    listed = json.loads((ROOT / "etc/jidoteki-admin-api.json").read_text())["parameters"]
    names = ("tokens", "downloads", "audit", "history", "events", "metrics", "session", "uploads")
    host = jidoteki_host(enable=names, parameters=listed, authentication={"named-tokens": True})

    answer = host.post("/tokens", "-F", "name=one", "-F", "scopes=read", "-F", "expires=4000000000")
    ticket = host.post("/downloads", "-F", "path=/logs")
    page = host.curl("GET", "/audit", query="limit=1")

    assert (answer.status, ticket.status, findings(host.appliance)) == (200, 200, [])
    assert len(page.json["audit"]) == 1


def test_a_parameter_of_a_query_that_is_not_listed_is_refused(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("audit",), parameters=["settings"])

    answer = host.curl("GET", "/audit", query="limit=1")

    assert answer.status == 400 and "does not list it" in answer.json["Error-Message"]


def test_a_version_that_is_newer_than_every_update_is_a_note(appliance: Appliance) -> None:
    appliance.jobs.mkdir(exist_ok=True)
    appliance.replace_file(appliance.jobs / "highest-version", "1.1.0\n", mode=0o600)
    written("version.txt", "9.9.9\n")(appliance)

    [found] = findings(appliance)

    assert found["level"] == "note" and "it says 9.9.9, and 1.1.0 is the highest" in found["message"]


def test_a_script_of_another_name_is_a_note_where_there_is_no_network_script(appliance: Appliance) -> None:
    appliance.replace_file(appliance.bin / "networks.sh", "#!/bin/sh\n", 0o755)

    [found] = findings(appliance)

    assert (found["level"], found["file"]) == ("note", str(appliance.bin / "network.sh"))
    assert "networks.sh" in found["advice"]


def test_scripts_of_the_original_are_not_said_to_run(appliance: Appliance) -> None:
    for name in ("wrapper.sh", "update_settings.sh"):
        appliance.replace_file(appliance.bin / name, "#!/bin/sh\n", 0o640)
    appliance.replace_file(appliance.etc / "debug.txt", "uname -a; df -h\n")

    told = {Path(each["file"]).name: each["message"] for each in findings(appliance)}

    assert "wrapper.sh, update_settings.sh are not called" in told["bin"]
    assert "the original cut off" in told["debug.txt"]
    assert not {"wrapper.sh", "update_settings.sh"} & told.keys()


def test_data_behind_a_script_is_no_syntax_error(appliance: Appliance) -> None:
    script(b"#!/bin/sh\nexit 0\n\x1f\x8b\0(((\n")(appliance)

    assert findings(appliance) == []


def test_a_section_of_a_plugin_that_is_not_enabled_is_a_note(appliance: Appliance) -> None:
    configured(endpoints=["settings"], plugins={"backup": {}})(appliance)

    [found] = findings(appliance)
    assert found["level"] == "note" and "not among the endpoints" in found["message"]


def test_named_tokens_that_are_switched_off_are_found(appliance: Appliance) -> None:
    configured(endpoints=["tokens"])(appliance)
    [found] = findings(appliance)
    configured(authentication={"named-tokens": True})(appliance)

    assert (found["level"], "POST /tokens makes none" in found["message"]) == ("warning", True)
    assert findings(appliance) == []


def other_key(appliance: Appliance) -> Path:
    secret, _ = gpg.make_keys("Somebody else")
    appliance.replace_file(appliance.etc / "license.key", secret, mode=0o600)
    return appliance.etc / "license.asc"


def public_key(appliance: Appliance) -> Path:
    public = (appliance.etc / "license.pub").read_text()
    appliance.replace_file(appliance.etc / "license.key", public, mode=0o600)
    return appliance.etc / "license.asc"


def test_the_key_that_signs_licenses_is_told_of(appliance: Appliance) -> None:
    secret, certificate = gpg.make_keys("Vendor")
    configured(endpoints=["license"])(appliance)
    (appliance.etc / "license.asc").unlink(missing_ok=True)
    appliance.replace_file(appliance.etc / "license.key", secret, mode=0o600)
    appliance.replace_file(appliance.etc / "license.pub", certificate)

    told = [each for each in findings(appliance) if each["subject"] == "license"]

    message = "it is the key that signs licenses: who reads it makes licenses for all appliances"
    assert [(each["level"], each["message"], Path(each["file"]).name) for each in told] == [
        ("error", message, "license.key")
    ]


def license_script(text: str) -> Callable[[Appliance], Path]:
    def put(appliance: Appliance) -> Path:
        appliance.replace_file(appliance.bin / "license.sh", f"#!/bin/sh\n{text}\n", 0o755)
        return appliance.bin / "license.sh"

    return put


UNREADABLE: dict[str, tuple[Callable[[Appliance], Path], str, str]] = {
    "another key": (other_key, "error", "it is for another appliance"),
    "a public key": (public_key, "error", "holds no OpenPGP secret key"),
    "a script that fails": (license_script("exit 1"), "error", "license.sh printed no JSON object (exit status 1)"),
    "a script that hangs": (license_script("sleep 600"), "error", "license.sh did not end within 1 seconds"),
    "a status": (license_script("echo '{}'; exit 3"), "warning", "license.sh ended with exit status 3"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_license_that_is_not_shown_is_found(appliance: Appliance, name: str) -> None:
    broken, level, told = UNREADABLE[name]
    configured(limits={"command": 1})(appliance)

    file = broken(appliance)

    [found] = [each for each in findings(appliance) if each["level"] != "note"]
    assert (found["level"], found["file"]) == (level, str(file)), found
    assert told in found["message"] and found["advice"]


def test_what_is_no_license_at_all_is_a_note(appliance: Appliance) -> None:
    written("license.asc", "license\n")(appliance)

    [found] = findings(appliance)

    assert (found["level"], "it is no license" in found["message"]) == ("note", True)


def key_made(passphrase: str, *kind: str) -> Callable[[Appliance], bytes]:
    def make(appliance: Appliance) -> bytes:
        with tempfile.TemporaryDirectory() as home:  # the path of the agent's socket must be short
            how = ("--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback")
            for words in (("--quick-generate-key", "A", *kind, "never"), ("--export-secret-keys",)):
                command = ["gpg", *how, "--passphrase", passphrase, *words]
                done = subprocess.run(command, capture_output=True, check=True)
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
            return done.stdout

    return make


UNFIT: dict[str, tuple[str, Callable[[Appliance], bytes | None], str, str]] = {
    "no key": ("license.key", lambda appliance: None, "error", "there is no license.key"),
    "a certificate as the key": (
        "license.key", lambda appliance: (appliance.etc / "license.pub").read_bytes(),
        "error", "it holds no OpenPGP secret key",
    ),
    "a passphrase": ("license.key", key_made("secret", "rsa2048", "encr"), "error", "without a passphrase"),
    "a key for signatures": ("license.key", key_made("", "ed25519", "cert,sign"), "error", "no key that decrypts"),
    "a long key": ("license.key", lambda appliance: b"x" * 2**21, "error", "license.key is longer than"),
    "no signer": ("license.pub", lambda appliance: None, "warning", "a license of anybody counts"),
    "a signer that is none": ("license.pub", lambda appliance: b"x", "error", "it holds no OpenPGP certificate"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_what_keeps_a_first_license_from_being_taken_is_found(appliance: Appliance, name: str) -> None:
    file, content_of, level, told = UNFIT[name]
    path = appliance.etc / file
    content = content_of(appliance)
    path.unlink()
    if content is not None:
        appliance.replace_file(path, content, 0o600)
    (appliance.etc / "license.asc").unlink()

    [found] = findings(appliance)

    assert (found["level"], found["file"]) == (level, str(path)), found
    assert told in found["message"] and found["advice"]


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_certificates_of_signers_that_others_may_change_are_found(appliance: Appliance, mode: int) -> None:
    signers = appliance.etc / "license.pub"
    signers.chmod(mode)
    (appliance.etc / "license.asc").unlink()

    [found] = findings(appliance)
    assert (found["level"], "decides whose licenses count" in found["message"]) == ("error", True)
    subprocess.run(found["advice"].removeprefix("Run: "), shell=True, check=True)

    assert findings(appliance) == []


@pytest.mark.parametrize("file", ["license.key", "license.pub"])
def test_keys_of_licenses_are_not_judged_where_a_script_reads_them(appliance: Appliance, file: str) -> None:
    license_script("echo '{}'")(appliance)
    (appliance.etc / file).unlink()

    assert findings(appliance) == []


@pytest.mark.parametrize("text", ["say() { echo; }\n", "names=(a b)\n", "#!/bin/bash\nnames=(a b)\n"])
@pytest.mark.parametrize("name", ["functions.sh", "networks.sh", "update_vm.sh"])
def test_nothing_is_said_of_how_a_script_is_run_that_the_service_does_not_call(
    appliance: Appliance, name: str, text: str
) -> None:
    script("#!/bin/bash\n. $JIDO_ADMIN_PATH/bin/functions.sh\n")(appliance)
    appliance.replace_file(appliance.bin / name, text)

    assert [each for each in findings(appliance) if each["subject"] == "script"] == []


@pytest.mark.parametrize("text", ["#!/bin/sh\nif\n", "#!/nonexistent/sh\n", "echo\r\necho\r\n"])
def test_a_script_that_no_caller_can_run_is_found(appliance: Appliance, text: str) -> None:
    appliance.replace_file(appliance.bin / "functions.sh", text, 0o755)

    assert [each["file"] for each in findings(appliance)] == [str(appliance.bin / "functions.sh")]


@pytest.mark.parametrize("name", ["another key", "a script that fails"])
def test_where_no_license_is_there_none_is_missed(appliance: Appliance, name: str) -> None:
    UNREADABLE[name][0](appliance)
    (appliance.etc / "license.asc").unlink()

    assert findings(appliance) == []


def test_a_license_script_of_somebody_else_is_not_run(appliance: Appliance) -> None:
    ran = appliance.root / "ran"
    license_script(f"touch {ran}; echo '{{}}'")(appliance).chmod(0o777)

    [found] = findings(appliance)

    assert "may write to it" in found["message"] and not ran.exists()


def test_gnupg_that_is_missing_is_found(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    from jidoteki.plugins.license import checking, programs

    monkeypatch.setattr(programs, "PATH", "/nonexistent")

    assert [each.level for each in checking.check(appliance)] == ["error"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the original's tree has files of other users")
def test_an_originals_tree_gets_notes_alone(appliance: Appliance) -> None:
    original_tree.make(appliance)
    (appliance.bin / "network.sh").write_text("#!/bin/bash\nexit 0\n")
    (appliance.bin / "network.sh").chmod(0o755)

    assert [each for each in findings(appliance) if each["level"] != "note"] == []


def test_an_appliance_that_was_used_is_in_order(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    script("#!/bin/sh\nexit 0\n")(host.appliance)
    host.post("/settings", "-F", 'settings={"network":{"interface":"eth7","hostname":"test.host"}}')
    host.post("/storage", "-F", 'settings={"storage":{"type":"local"}}')
    host.get("/logs")

    assert findings(host.appliance) == []


@pytest.mark.parametrize(
    ("body", "told"),
    [("raise ValueError('rain')", "rain"), ("return ['x']", "must return a list of Finding"), ("return 7", "int")],
)
def test_a_plugin_that_cannot_check_is_told(appliance: Appliance, body: str, told: str) -> None:
    directory = appliance.system_etc / "plugins"
    directory.mkdir(mode=0o755)
    code = f"from jidoteki.hookspecs import hookimpl\n\n@hookimpl\ndef jidoteki_check(appliance):\n    {body}\n"
    appliance.replace_file(directory / "weather.py", code)
    configured(**{"plugin-directory": "usr/local/etc/plugins"})(appliance)

    [found] = findings(appliance)

    assert (found["level"], found["subject"]) == ("error", "plugin")
    assert "weather failed in jidoteki_check" in found["message"] and told in found["message"]
    if body.startswith("raise"):
        assert (found["file"], found["line"]) == (str(directory / "weather.py"), 5)
