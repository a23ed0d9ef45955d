"""The job that writes the settings to the files of the appliance's other tools, and applies them."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jidoteki.hookspecs import Appliance, Job, JobError, Trial, differences
from jidoteki.hookspecs.conf import shell_conf
from jidoteki.hookspecs.former_files import content_of, recovery, replaced
from jidoteki.hookspecs.job_logs import failure_logged
from jidoteki.hookspecs.tried_files import former_contents, put_back
from jidoteki.plugins.settings.validators import with_mode
from jidoteki.plugins.settings.warnings import warnings_of

LOG: Final = "update_settings.log"
BEGIN: Final = "Updating settings. Please wait.."
SUCCESS: Final = "Updating settings successful"
FAILURE: Final = "Invalid or missing settings file"


def stored(appliance: Appliance) -> dict[str, Any]:
    """Return the stored settings: `network` and `app`, each only if it is stored."""
    network = appliance.read_json(appliance.etc / "network.json")
    app = appliance.read_json(appliance.etc / "app.json")
    return _settings(network, app)


def in_force(appliance: Appliance, trial: Trial | None) -> dict[str, Any]:
    """Return the settings in force: of a change on trial the former ones, which come back unless it is confirmed."""
    former = former_contents(appliance, trial.id, _paths(appliance)) if trial else {}
    network_json, _, app_json = _paths(appliance)
    now = stored(appliance)
    network = _document(former[network_json]) if network_json in former else now.get("network")
    return _settings(network, _document(former[app_json]) if app_json in former else now.get("app"))


def _settings(network: Any, app: Any) -> dict[str, Any]:
    settings = {"network": with_mode(network) if isinstance(network, dict) else None, "app": app}
    return {name: value for name, value in settings.items() if isinstance(value, dict)}


def _document(content: bytes | None) -> Any:
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None


def check(job: Job) -> None:
    """Tell a dry run what would change."""
    if job.dry_run:
        now = stored(job.appliance)
        sent = {name: job.input[name] for name in ("network", "app") if job.input.get(name) is not None}
        job.preview({"changes": differences.between({name: now.get(name) for name in sent}, sent)})


def change(job: Job) -> None:
    """Write and apply the sent settings, `network`, `app` or both; the other stays as it is.

    :raises JobError: they cannot be written, or the vendor's command failed; the former files are restored, unless the
        message says otherwise.
    """
    job.log(BEGIN)
    with failure_logged(job, FAILURE):
        _change(job, job.input.get("network"), job.input.get("app"))
    job.log(SUCCESS)
    job.progress(100)


def _change(job: Job, network: dict[str, Any] | None, app: dict[str, Any] | None) -> None:
    listening = job.host_config.get("listen", {}).get("host")
    for warning in (*job.input.get("warnings", ()), *warnings_of(network or {}, listening)):
        job.log(f"Warning: {warning}")
    files = _files(job.appliance, network, app)
    mode = 0o644 if job.appliance.group is None else 0o640  # the original's mode if its tools are present
    with replaced(job, files, mode):
        job.progress(50)
        if app is not None:
            job.apply("app", app)
        if network is not None:
            _put_into_force(job, network)
        sent = {"network": network, "app": app}
        job.await_confirmation({"settings": {name: value for name, value in sent.items() if value is not None}})


def revert(job: Job) -> None:
    """Put the former files back, and into force what of them had been changed.

    :raises JobError: that is impossible, or the vendor's command failed.
    """
    try:
        former = put_back(job, _paths(job.appliance))
    except JobError:
        _reach_again(job)
        raise
    network_json, _, app_json = _paths(job.appliance)
    app = _document(former.get(app_json))
    if isinstance(app, dict):
        job.apply("app", app)
    if network_json in former:
        _put_former_into_force(job, former)


def _reach_again(job: Job) -> None:
    """Bring the former network into force where the file for that, and no other, could be put back."""
    former = former_contents(job.appliance, job.id, _paths(job.appliance))
    _, conf, _ = _paths(job.appliance)
    if conf in former and content_of(job.appliance, conf) == former[conf]:
        _put_former_into_force(job, former)


def _put_former_into_force(job: Job, former: Mapping[Path, bytes | None]) -> None:
    network_json, conf, _ = _paths(job.appliance)
    network = _document(former.get(network_json))
    _put_into_force(job, with_mode(network) if isinstance(network, dict) else {"mode": _mode(former.get(conf))})


def _mode(conf: bytes | None) -> str:
    """Return the mode of a `network.conf` that this API did not write: DHCP unless it says otherwise."""
    return "static" if re.search(rb"""^mode=["']?static""", conf or b"", re.MULTILINE) else "dhcp"


def _put_into_force(job: Job, network: dict[str, Any]) -> None:
    if not (job.apply("network", network) or job.vendor_command("network.sh", network["mode"])):
        job.log("There is no network.sh: the network settings come into force when the network is next started")


def _paths(appliance: Appliance) -> tuple[Path, Path, Path]:
    return appliance.etc / "network.json", appliance.system_etc / "network.conf", appliance.etc / "app.json"


recover: Final = recovery("settings", _paths)


def _files(appliance: Appliance, network: dict[str, Any] | None, app: dict[str, Any] | None) -> dict[Path, str]:
    network_json, conf, app_json = _paths(appliance)
    files = {}
    if network is not None:
        files[network_json] = _json(network)
        files[conf] = network_conf(network)
    if app is not None:
        files[app_json] = _json(app)
    return files


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def network_conf(network: dict[str, str]) -> str:
    """Return `network.conf` for network settings that passed the validator.

    The lines are those of the original and in its order, the netmask is as it was posted. Scripts that source it may
    use `dns` and `ntpserver` whether they are set or not.
    """
    static = network["mode"] == "static"
    dns = " ".join(network[key] for key in ("dns1", "dns2") if key in network) if static else ""
    plain = {
        "mode": network["mode"],
        "interface": network["interface"],
        **(_addresses(network) if static else {}),
    }
    quoted = {"dns": dns, "hostname": network["hostname"], "ntpserver": network.get("ntpserver", "")}
    return shell_conf(plain, bare=True) + shell_conf(quoted)


def _addresses(network: dict[str, str]) -> dict[str, str]:
    subnet = "subnet" if ipaddress.ip_address(network["ip_address"]).version == 4 else "subnet_ipv6"
    return {"ip": network["ip_address"], subnet: network["netmask"], "router": network["gateway"]}
