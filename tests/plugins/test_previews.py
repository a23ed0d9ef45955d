"""Previews of a certificate, an update package and a backup before they are applied."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from documented import document_of, undocumented

from jidoteki.core.endpoints.update.build import build_package
from jidoteki.testing import Answer, Host, MakeHost

PREFIX = "/api/v1/admin"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def dry(host: Host, path: str, *arguments: str) -> Answer:
    answer = host.post(path, *arguments, query="dry-run=1")
    assert answer.json["dry-run"] is True, answer
    assert undocumented(document_of(host), "POST", f"{PREFIX}{path}", answer) is None
    return answer


def certificate(directory: Path, name: str, names: bool = True) -> tuple[Path, Path]:
    """Return a self-signed certificate, made by openssl, with two names or with none, and its key."""
    made, key = directory / f"{name}.crt", directory / f"{name}.key"
    more = ("-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1") if names else ()
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/O=Example/CN={name}", *more,
            "-keyout", key, "-out", made)  # fmt: skip
    return made, key


def as_openssl_says(path: Path) -> dict[str, str]:
    return {
        "fingerprint": openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256").partition("=")[2],
        "subject": openssl("x509", "-in", path, "-noout", "-subject", "-nameopt", "RFC2253").partition("=")[2],
        "issuer": openssl("x509", "-in", path, "-noout", "-issuer", "-nameopt", "RFC2253").partition("=")[2],
    }


def test_facts_of_a_certificate_are_those_that_openssl_shows_before_and_after(host: Host, tmp_path: Path) -> None:
    made, key = certificate(tmp_path, "new.example")
    served = as_openssl_says(host.certificate)
    sent = as_openssl_says(made)
    form = ("-F", f"public=@{made}", "-F", f"private=@{key}")

    before = host.get("/certs")
    tried = dry(host, "/certs", *form)
    unchanged = host.get("/certs")
    host.post("/certs", *form)
    host.wait_for_job("/certs")
    after = host.get("/certs")

    assert {name: before.json[name] for name in served} == served
    assert before.json["status"] is None
    assert {name: tried.json[name] for name in sent} == sent
    assert tried.json["names"] == ["new.example", "127.0.0.1"]
    end = openssl("x509", "-in", made, "-noout", "-enddate").partition("=")[2]
    seconds = subprocess.run(["date", "-d", end, "+%s"], capture_output=True, text=True, check=True).stdout
    assert tried.json["not-after"] == int(seconds)
    assert unchanged.json["fingerprint"] == served["fingerprint"]
    assert {name: after.json[name] for name in sent} == sent and after.json["status"] == "success"
    assert undocumented(document_of(host), "GET", f"{PREFIX}/certs", after) is None


def test_a_certificate_that_browsers_refuse_is_warned_of(host: Host, tmp_path: Path) -> None:
    good, bare = certificate(tmp_path, "good.example"), certificate(tmp_path, "bare.example", names=False)

    told = [
        dry(host, "/certs", "-F", f"public=@{made}", "-F", f"private=@{key}").json.get("warnings")
        for made, key in (good, bare)
    ]

    assert told == [
        None,
        ["the certificate CN=bare.example,O=Example has no subjectAltName, without which browsers refuse it"],
    ]


def test_a_certificate_that_cannot_be_read_has_no_facts(host: Host) -> None:
    (host.appliance.system_etc / "pki/tls/enterprise.pem").write_text("nonsense")

    assert set(host.get("/certs").json) == {"status", "log"}


def test_an_update_is_previewed(host: Host, tmp_path: Path) -> None:
    source, vendor = tmp_path / "source", host.appliance.root / "vendor"
    source.mkdir()
    (source / "changelog.txt").write_text("# 2.0.0\n\n* Öfter\n")
    (source / "update.sh").write_text("#!/bin/sh\n")
    package = tmp_path / "package.enc"
    build_package(source, "2.0.0", vendor / "updates.key", vendor / "private.pem", package)

    shown = dry(host, "/update", "-F", f"update=@{package}").json

    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", host.appliance.etc / "updates.pub", "-outform", "DER"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    digest = subprocess.run(["sha256sum"], input=der, capture_output=True, check=True).stdout.split()[0].decode()
    assert shown == {
        "Status": "202 Accepted", "Location": f"{PREFIX}/update", "dry-run": True, "from-version": "1.0.0",
        "to-version": "2.0.0", "changelog": "# 2.0.0\n\n* Öfter\n", "size": package.stat().st_size, "key-id": digest,
        "changes": [{"path": "version", "from": "1.0.0", "to": "2.0.0"}],
    }  # fmt: skip
    assert host.get("/version").json["version"] == "1.0.0"


def test_the_preflight_of_an_update_runs_in_its_dry_run(host: Host, tmp_path: Path) -> None:
    source, vendor = tmp_path / "source", host.appliance.root / "vendor"
    source.mkdir()
    (source / "preflight.sh").write_text(
        'echo "$JIDO_FORMER_VERSION and $JIDO_NEW_VERSION"; exit $(cat $JIDO_ROOT/said)\n'
    )
    package = tmp_path / "package.enc"
    keys = (vendor / "updates.key", vendor / "private.pem")
    build_package(source, "2.0.0", *keys, package, described={"name": "app", "notes": "Read this."})
    (host.appliance.root / "said").write_text("0")

    shown = dry(host, "/update", "-F", f"update=@{package}").json
    (host.appliance.root / "said").write_text("4")
    refused = host.post("/update", "-F", f"update=@{package}", query="dry-run=1")

    assert (shown["preflight"], shown["package"]["name"]) == ("1.0.0 and 2.0.0\n", "app")
    assert refused.status == 400
    assert "preflight.sh failed with exit status 4: 1.0.0 and 2.0.0. Nothing was changed" in refused.text


def test_a_restore_is_previewed(host: Host, tmp_path: Path) -> None:
    data = host.appliance.data / "app"
    (data / "more").mkdir()
    (data / "more/large").write_bytes(bytes(range(256)) * 4096)
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")
    archive = tmp_path / "backup.tar"
    archive.write_bytes(host.get("/backup/download").body)
    listed = subprocess.run(["tar", "-tvf", archive], capture_output=True, text=True, check=True).stdout.splitlines()
    files = [line.split() for line in listed if not line.startswith("d")]

    own = dry(host, "/backup/restore", "-F", f"archive=@{archive}").json

    assert own["files"] == len(files)
    assert own["bytes"] == sum(int(each[2]) for each in files if each[0].startswith("-"))
    status = (host.appliance.spool / "backup.tar").stat()
    assert abs(own["made"] - status.st_mtime) < 10 and own["version"] == "1.0.0"
    assert own["free-space"] > 10**6

    foreign = tmp_path / "foreign.tar"
    subprocess.run(["tar", "-cf", foreign, "-C", host.appliance.data, "app/settings.json"], check=True)
    shown = dry(host, "/backup/restore", "-F", f"archive=@{foreign}").json
    assert (shown["files"], shown["made"], shown["version"]) == (1, None, None)


def test_a_list_of_backups_in_the_former_form_still_counts(host: Host, tmp_path: Path) -> None:
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")
    body = host.get("/backup/download").body
    archive = tmp_path / "backup.tar"
    archive.write_bytes(body)
    known = host.appliance.jobs / "backups-made.json"
    host.appliance.replace_file(known, json.dumps([hashlib.sha256(body).hexdigest(), 7, {"sha256": []}]), 0o600)

    shown = dry(host, "/backup/restore", "-F", f"archive=@{archive}").json

    assert (shown["made"], shown["version"]) == (None, None)
    assert host.post("/backup/restore", "-F", f"archive=@{archive}").status == 200


def test_what_an_exact_restore_would_remove_is_previewed(host: Host, tmp_path: Path) -> None:
    data = host.appliance.data / "app"
    (data / "kept").mkdir(exist_ok=True)
    (data / "kept/old").write_text("old")
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")
    archive = tmp_path / "backup.tar"
    archive.write_bytes(host.get("/backup/download").body)
    (data / "kept/new").write_text("since then")
    (data / "made/inner").mkdir(parents=True)
    for number in range(3):
        (data / "made/inner" / str(number)).write_text("since then")
    (host.appliance.data / "unlisted").write_text("not of the backup")
    fields = ("-F", f"archive=@{archive}", "-F", "mode=exact")

    before = sorted(path.relative_to(data) for path in data.rglob("*"))
    shown = dry(host, "/backup/restore", *fields)

    assert shown.json["removes"]["files"] == 4
    assert shown.json["removes"]["paths"] == ["app/kept/new", "app/made/"]
    assert sorted(path.relative_to(data) for path in data.rglob("*")) == before
    assert undocumented(document_of(host), "POST", f"{PREFIX}/backup/restore", shown) is None
    assert "removes" not in dry(host, "/backup/restore", "-F", f"archive=@{archive}").json
    (data / "odd\n\u202e").write_text("made after the preview")
    done = host.post("/backup/restore", *fields)
    removed = {"files": 5, "paths": ["app/kept/new", "app/made/", "app/odd\n\u202e"]}
    assert done.json == {"Status": "200 OK", "removed": removed}
    assert undocumented(document_of(host), "POST", f"{PREFIX}/backup/restore", done) is None
    assert "Files removed that are not in the archive: 5" in host.get("/backup/log").text
    assert host.post("/backup/restore", *fields).json == {"Status": "200 OK"}
    assert not (data / "kept/new").exists() and not (data / "made").exists()
    assert (host.appliance.data / "unlisted").exists()


def test_the_first_hundred_by_name_of_what_is_removed_are_named(host: Host, tmp_path: Path) -> None:
    data = host.appliance.data / "app"
    host.post("/backup", "-F", "action=START")
    host.wait_for_job("/backup")
    archive = tmp_path / "backup.tar"
    archive.write_bytes(host.get("/backup/download").body)
    for number in range(300):
        (data / f"{number:03}-{'ü' * 90}").write_text("")

    removed = host.post("/backup/restore", "-F", f"archive=@{archive}", "-F", "mode=exact").json["removed"]

    assert removed == {"files": 300, "paths": [f"app/{number:03}-{'ü' * 90}" for number in range(100)]}


def test_what_a_restore_would_leave_out_is_previewed(host: Host, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/file").write_text("x")
    (tmp_path / "zz").write_text("not listed")
    archive = tmp_path / "backup.tar"
    subprocess.run(["tar", "cf", archive, "-C", tmp_path, "app", "zz"], check=True)

    tried = dry(host, "/backup/restore", "-F", f"archive=@{archive}")
    done = host.post("/backup/restore", "-F", f"archive=@{archive}")

    assert tried.json["warnings"] == done.json["warnings"] == ["'zz' is left out: backup.txt does not list it"]
    assert undocumented(document_of(host), "POST", f"{PREFIX}/backup/restore", tried) is None
