"""The jobs of an appliance, each with what starts it and how to tell old from new."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from faultkit import Reply, ask, multipart
from places import found_below

from jidoteki.core.appliance import Appliance
from jidoteki.testing import Host, wait_until

State = Mapping[Path, bytes | None]

OLD_SETTINGS = {"network": {"interface": "eth0", "hostname": "old.host"}, "app": {"name": "old"}}
NEW_SETTINGS = {"network": {"interface": "eth1", "hostname": "new.host"}, "app": {"name": "new"}}
OLD_STORAGE = {"storage": {"type": "nfs", "mount_options": "sync", "ip": "192.168.1.1", "share": "/old"}}
NEW_STORAGE = {"storage": {"type": "nfs", "mount_options": "noacl", "ip": "192.168.1.2", "share": "/new"}}


def settings_form(document: object) -> tuple[bytes, dict[str, str]]:
    return multipart(("settings", json.dumps(document).encode()))


def certificate(directory: Path, name: str) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, by openssl."""
    key, public = directory / f"{name}.key", directory / f"{name}.crt"
    if not key.exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", str(key), "-out", str(public)], check=True, capture_output=True,
        )  # fmt: skip
    return public.read_bytes(), key.read_bytes()


@dataclass(frozen=True)
class JobCase:
    """A job.

    :param prepare: makes the old state, while no host runs.
    :param request: method, path, body and headers of the request that starts it.
    :param files: what must be all old or all new.
    """

    job_type: str
    prepare: Callable[[Host], None]
    request: Callable[[Host], tuple[str, str, tuple[bytes, dict[str, str]]]]
    files: Callable[[Appliance], list[Path]]

    def state(self, host: Host) -> State:
        """What is in force."""
        return {path: path.read_bytes() if path.exists() else None for path in self.files(host.appliance)}

    @staticmethod
    def reset(state: State) -> None:
        """Put a state back."""
        for path, content in state.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def _settings_files(appliance: Appliance) -> list[Path]:
    return [appliance.etc / "network.json", appliance.etc / "app.json", appliance.system_etc / "network.conf"]


def _storage_files(appliance: Appliance) -> list[Path]:
    return [appliance.etc / "storage.json", appliance.system_etc / "storage.conf"]


def _certs_files(appliance: Appliance) -> list[Path]:
    tls = appliance.system_etc / "pki/tls"
    names = ("enterprise.pem", "private/enterprise.key", "certs/enterprise.crt", "cacerts/enterprise-ca.crt")
    return [tls / name for name in names]


def _update_files(appliance: Appliance) -> list[Path]:
    return [appliance.etc / "version.txt", appliance.jobs / "highest-version"]


def _prepare_update(host: Host) -> None:
    """As after an update to the version that is installed."""
    host.appliance.replace_file(host.appliance.jobs / "highest-version", "1.0.0\n", 0o600)


def _license_files(appliance: Appliance) -> list[Path]:
    return [appliance.etc / "license.asc"]


def _backup_files(appliance: Appliance) -> list[Path]:
    return []


def _restore_files(appliance: Appliance) -> list[Path]:
    return [appliance.data / name for name in ("db/one", "db/two", "more")]


def _fill(appliance: Appliance, text: str) -> None:
    (appliance.data / "db").mkdir(parents=True, exist_ok=True)
    for name in ("db/one", "db/two", "more"):
        (appliance.data / name).write_text(text * 5000)
    appliance.replace_file(appliance.etc / "backup.txt", "db\nmore\n")


def _package(host: Host) -> bytes:
    path = host.appliance.root / "software_package-1.1.0.enc"
    if not path.exists():
        source = host.appliance.root / "package-source"
        source.mkdir()
        (source / "version.txt").write_text("1.1.0\n")
        (source / "changelog.txt").write_text("new\n")
        (source / "update.sh").write_text("#!/bin/sh\necho updating\n")
        vendor = host.appliance.root / "vendor"
        _build(source, path, vendor)
    return path.read_bytes()


def _build(source: Path, path: Path, vendor: Path) -> None:
    script = f"""
        cd {source} && tar czf ../software_package.tar.gz . && cd .. &&
        openssl dgst -sha256 -sign {vendor}/private.pem -out software_package.tar.gz.sign software_package.tar.gz &&
        tar c software_package.tar.gz software_package.tar.gz.sign |
          openssl enc -aes-256-cbc -md sha256 -pbkdf2 -pass file:{vendor}/updates.key -out {path}
    """
    subprocess.run(["sh", "-c", script], check=True, capture_output=True)


def _license(host: Host) -> bytes:
    return (host.appliance.root / "vendor/license-sample.asc").read_bytes()


def _archive(host: Host) -> bytes:
    """A backup of the data as they were, for a restore over what they are now."""
    path = host.appliance.root / "restore-me.tar"
    return path.read_bytes()


def _prepare_restore(host: Host) -> None:
    appliance = host.appliance
    _fill(appliance, "new")
    subprocess.run(
        ["tar", "-cf", str(appliance.root / "restore-me.tar"), "-C", str(appliance.data), "db", "more"], check=True
    )
    _fill(appliance, "old")


def _nothing(host: Host) -> None:
    return None


CASES = [
    JobCase("settings", _nothing, lambda host: ("POST", "/settings", settings_form(NEW_SETTINGS)), _settings_files),
    JobCase("storage", _nothing, lambda host: ("POST", "/storage", settings_form(NEW_STORAGE)), _storage_files),
    JobCase(
        "certs",
        _nothing,
        lambda host: (
            "POST", "/certs",
            multipart(*zip(("public", "private"), certificate(host.appliance.root, "new.example"), strict=True)),
        ),
        _certs_files,
    ),
    JobCase(
        "license",
        _nothing,
        lambda host: ("POST", "/license", multipart(("license", _license(host)))),
        _license_files,
    ),
    JobCase(
        "backup",
        lambda host: _fill(host.appliance, "old"),
        lambda host: ("POST", "/backup", multipart(("action", b"START"), files=False)),
        _backup_files,
    ),
    JobCase(
        "restore",
        _prepare_restore,
        lambda host: ("POST", "/backup/restore", multipart(("archive", _archive(host)))),
        _restore_files,
    ),
    JobCase(
        "update",
        _prepare_update,
        lambda host: ("POST", "/update", multipart(("update", _package(host)))),
        _update_files,
    ),
]  # fmt: skip
JOB_TYPES = [case.job_type for case in CASES]


def case_of(job_type: str) -> JobCase:
    """The case of this type."""
    return next(case for case in CASES if case.job_type == job_type)


def start(host: Host, case: JobCase) -> Reply:
    """Send the request that starts the job."""
    method, path, (body, headers) = case.request(host)
    return ask(host, method, path, host.query(method, path)[1:], headers, body)


def records(host: Host, job_type: str) -> list[dict[str, object]]:
    """The records of a type, oldest first."""
    paths = sorted(host.appliance.jobs.glob(f"[0-9]*-{job_type}.json"))
    return [json.loads(path.read_text()) for path in paths]


def wait_for_end(host: Host, job_type: str, number: int) -> dict[str, object]:
    """The record of run `number` (from 1) once it has ended, on a host that runs no other type."""
    return _wait_for_end(lambda: host.appliance.jobs / f"{number:06}-{job_type}.json")


def wait_for_the_last(host: Host, job_type: str) -> dict[str, object]:
    """The record of the last run once it has ended."""
    return _wait_for_end(lambda: max(host.appliance.jobs.glob(f"[0-9]*-{job_type}.json")))


def _wait_for_end(path: Callable[[], Path]) -> dict[str, object]:
    def ended() -> dict[str, object] | None:
        with contextlib.suppress(ValueError, FileNotFoundError):
            record: dict[str, object] = json.loads(path().read_text())
            return record if record["status"] != "running" else None
        return None

    result: dict[str, object] = wait_until(ended, 30)
    return result


def temporaries(appliance: Appliance) -> list[str]:
    """What writers and jobs leave behind when they are killed."""
    found = [*found_below(appliance.root, ".jidoteki-*"), *appliance.tmp.iterdir(), *appliance.jobs.glob("*journal*")]
    return [str(path.relative_to(appliance.root)) for path in found]
