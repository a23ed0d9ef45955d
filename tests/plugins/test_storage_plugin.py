"""Storage settings: what is accepted on which appliance, what the job writes, and what is never shown."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import ApiError, JobError
from jidoteki.hookspecs.validators import explain
from jidoteki.plugins import storage as plugin
from jidoteki.plugins.storage import jobs
from jidoteki.plugins.storage.validators import SCHEMAS
from jidoteki.plugins.storage.validators import settings as validator
from jidoteki.testing import FakeJob, FakeRequest

LOCAL = {"type": "local"}
NFS = {"type": "nfs", "mount_options": "noacl,sync", "ip": "192.168.1.100", "share": "/nfs/storage"}
AOE = {"type": "aoe", "device": "e0.1"}
ISCSI = {
    "type": "iscsi",
    "target": "iqn.2016-01.com.example:storage.lun1",
    "ip": "192.168.1.100",
    "username": "user",
    "password": "pass",
}
NBD = {"type": "nbd", "export_name": "otherexport", "ip": "192.168.1.100", "port": "1043"}
EVERY_TYPE = [LOCAL, NFS, AOE, ISCSI, NBD]
NAMES = ["local", "nfs", "aoe", "iscsi", "nbd"]

SETTINGS = validator(lambda: list(SCHEMAS))


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Appliance:
    monkeypatch.delenv("JIDO_ADMIN_PATH", raising=False)
    appliance = Appliance(tmp_path)
    appliance.prepare()
    offer(appliance, json.dumps({"options": NAMES}))
    return appliance


def offer(appliance: Appliance, content: str) -> None:
    (appliance.system_etc / "storage-options.json").write_text(content)


def accepted(storage: object) -> dict[str, Any]:
    settings: dict[str, Any] = SETTINGS(json.dumps({"storage": storage}).encode())
    return settings


def refusal(value: object) -> str:
    with pytest.raises(vol.Invalid) as caught:
        vol.Schema({"settings": SETTINGS})({"settings": json.dumps(value).encode()})
    return explain(caught.value)


def posted(appliance: Appliance, storage: object) -> dict[str, Any]:
    """What the handler hands to the job that it starts."""
    form = vol.Schema({"settings": validator(partial(jobs.offered, appliance))})
    request = FakeRequest(appliance, form({"settings": json.dumps({"storage": storage}).encode()}))
    asyncio.run(plugin.change(request))
    [(job_type, values)] = request.started
    assert job_type == "storage"
    return values


def posting_is_refused(appliance: Appliance, storage: object) -> str:
    try:
        posted(appliance, storage)
    except vol.Invalid as error:
        return explain(error)
    except ApiError as error:
        return f"{error.message}" if error.status == 400 else f"{error.status}: {error.message}"
    raise AssertionError("It was accepted")


def changed(appliance: Appliance, storage: object, **circumstances: Any) -> FakeJob:
    """The job after it handled what was posted."""
    job = FakeJob(appliance, accepted(storage), **circumstances)
    jobs.change(job)
    return job


def shown(appliance: Appliance) -> Any:
    return asyncio.run(plugin.show(FakeRequest(appliance)))


def conf(appliance: Appliance) -> str:
    return (appliance.system_etc / "storage.conf").read_text()


def in_force(appliance: Appliance) -> Any:
    return json.loads((appliance.etc / "storage.json").read_bytes())


@pytest.mark.parametrize("storage", EVERY_TYPE)
def test_every_type_of_the_reference_is_accepted_and_handed_to_the_job(
    appliance: Appliance, storage: dict[str, str]
) -> None:
    assert posted(appliance, storage) == {"storage": storage}


@pytest.mark.parametrize("options", [NAMES, [], None, "any"])
def test_the_options_that_are_shown_may_be_posted_back(appliance: Appliance, options: object) -> None:
    settings = SETTINGS(json.dumps({"storage": NFS, "options": options}).encode())
    request = FakeRequest(appliance, {"settings": settings})

    asyncio.run(plugin.change(request))

    assert request.started == [("storage", {"storage": NFS})]


def boot(appliance: Appliance, id: str) -> None:
    path = appliance.root / "proc/sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{id}\n")


def test_a_change_is_shown_as_not_in_force_until_the_next_boot(appliance: Appliance) -> None:
    boot(appliance, "one")
    changed(appliance, NFS)
    assert shown(appliance)["restart-needed"] is True
    changed(appliance, NFS)  # once more
    assert shown(appliance)["restart-needed"] is True

    boot(appliance, "two")

    assert "restart-needed" not in shown(appliance)
    changed(appliance, NFS)  # which is in force
    assert "restart-needed" not in shown(appliance)
    changed(appliance, LOCAL)
    assert shown(appliance)["restart-needed"] is True
    posted_back = SETTINGS(json.dumps(shown(appliance)).encode())
    assert posted_back["storage"] == LOCAL


def test_a_change_that_fails_needs_no_restart(appliance: Appliance) -> None:
    boot(appliance, "one")

    with pytest.raises(JobError):
        changed(appliance, NFS, exit_statuses={"storage.sh": 3})

    assert not (appliance.etc / "storage.boot").exists()


@pytest.mark.parametrize(
    ("storage", "key", "number"),
    [(NFS, "share", 2049), (AOE, "device", 100), (ISCSI, "username", 12345), (ISCSI, "password", 12345)],
)
def test_a_json_number_is_taken_as_its_digits(storage: dict[str, str], key: str, number: int) -> None:
    assert accepted({**storage, key: number})["storage"][key] == str(number)


@pytest.mark.parametrize("port", [1043, "1043"])
def test_a_port_is_kept_as_a_string(port: object) -> None:
    assert accepted({**NBD, "port": port}) == {"storage": NBD}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "settings.storage is required"),
        ([], "settings must be an object"),
        ({"storage": []}, "settings.storage must be an object"),
        ({"storge": LOCAL}, "settings.storge is unknown; did you mean storage?"),
        ({"storage": LOCAL, "network": {}}, "settings.network is unknown; known are: options, restart-needed, storage"),
        ({"storage": {}}, "settings.storage.type is required"),
        ({"storage": {"type": "NFS"}}, "settings.storage.type must be one of local, nfs, aoe, iscsi, nbd"),
        ({"storage": {"type": None}}, "settings.storage.type must be one of local, nfs, aoe, iscsi, nbd"),
        ({"storage": {**LOCAL, "ip": "192.168.1.1"}}, "settings.storage.ip is unknown; known are: type"),
        ({"storage": {**NFS, "shares": "/a"}}, "settings.storage.shares is unknown; did you mean share?"),
        ({"storage": {**ISCSI, "passwrd": "x"}}, "settings.storage.passwrd is unknown; did you mean password?"),
    ],
)
def test_settings_of_another_shape_are_refused(value: object, sentence: str) -> None:
    assert refusal(value) == sentence


REQUIRED = [pytest.param(each, key, id=f"{each['type']}-{key}") for each in EVERY_TYPE for key in each if key != "type"]


@pytest.mark.parametrize(("storage", "key"), REQUIRED)
def test_each_key_of_a_type_is_required(storage: dict[str, str], key: str) -> None:
    incomplete = {name: value for name, value in storage.items() if name != key}

    assert refusal({"storage": incomplete}) == f"settings.storage.{key} is required"


@pytest.mark.parametrize("value", [True, None, 1.5, ["a"], {"a": "b"}])
@pytest.mark.parametrize(("storage", "key"), REQUIRED)
def test_a_value_that_is_no_string_is_refused(storage: dict[str, str], key: str, value: object) -> None:
    assert refusal({"storage": {**storage, key: value}}).startswith(f"settings.storage.{key} must be a string: ")


ADDRESS = "an IPv4 or IPv6 address of 3 to 45 characters"
PATH = "3 to 255 letters, digits, '.', '-', '_' and '/'"
PRINTABLE = "3 to 255 printable ASCII characters without spaces"


@pytest.mark.parametrize(
    ("storage", "key", "value", "allowed"),
    [
        (NFS, "mount_options", "noacl;sync", "3 to 255 letters, digits, '.', '-', '=' and ','"),
        (NFS, "ip", "nfs.host", ADDRESS),
        (NFS, "share", "/nfs storage", PATH),
        (NFS, "share", "/" * 256, PATH),
        (AOE, "device", "e0", "3 to 255 letters, digits, '.' and '-'"),
        (AOE, "device", "e0/1", "3 to 255 letters, digits, '.' and '-'"),
        (ISCSI, "target", "iqn/lun", "3 to 255 letters, digits, '.', '-', '_' and ':'"),
        (ISCSI, "ip", "1.2.3.4:3260", ADDRESS),
        (ISCSI, "username", "us", PRINTABLE),
        (ISCSI, "username", "us er", PRINTABLE),
        (ISCSI, "password", "pässword", PRINTABLE),
        (ISCSI, "password", "p" * 256, PRINTABLE),
        (ISCSI, "password", "pass\n", PRINTABLE),
        (NBD, "export_name", "a:b", PATH),
        (NBD, "ip", "::", ADDRESS),
        (NBD, "port", "../..", "a number from 1 to 65535"),
        (NBD, "port", "65536", "a number from 1 to 65535"),
        (NBD, "port", 0, "a number from 1 to 65535"),
    ],
)
def test_each_value_outside_the_reference_is_refused_with_what_is_allowed(
    storage: dict[str, str], key: str, value: object, allowed: str
) -> None:
    assert refusal({"storage": {**storage, key: value}}) == f"settings.storage.{key} must be {allowed}"


def test_a_type_that_this_appliance_does_not_offer_is_refused(appliance: Appliance) -> None:
    offer(appliance, '{"options": ["local", "nfs"]}')

    message = posting_is_refused(appliance, AOE)

    assert message == "settings.storage.type must be one of local, nfs on this appliance"
    assert posted(appliance, NFS)["storage"] == NFS


def test_even_local_storage_is_refused_where_it_is_not_offered(appliance: Appliance) -> None:
    offer(appliance, '{"options": ["nfs"]}')

    assert posting_is_refused(appliance, LOCAL) == "settings.storage.type must be one of nfs on this appliance"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "{}", '{"options": "nfs"}', '{"options": []}', '{"options": [1, ["nfs"], "tape"]}'],
)
def test_a_broken_list_of_options_offers_local_storage_only(appliance: Appliance, content: str) -> None:
    offer(appliance, content)

    assert posting_is_refused(appliance, NFS) == "settings.storage.type must be one of local on this appliance"
    assert posted(appliance, LOCAL)["storage"] == LOCAL


def test_without_a_list_of_options_local_storage_only_is_offered(appliance: Appliance) -> None:
    (appliance.system_etc / "storage-options.json").unlink()

    assert posting_is_refused(appliance, NFS) == "settings.storage.type must be one of local on this appliance"
    assert posted(appliance, LOCAL)["storage"] == LOCAL


def test_new_options_count_from_the_next_request_on(appliance: Appliance) -> None:
    offer(appliance, '{"options": ["local"]}')
    posting_is_refused(appliance, AOE)

    offer(appliance, '{"options": ["aoe"]}')

    assert posted(appliance, AOE)["storage"] == AOE


@pytest.mark.parametrize("storage", EVERY_TYPE)
def test_the_settings_are_written_for_the_other_tools(appliance: Appliance, storage: dict[str, str]) -> None:
    job = changed(appliance, storage)

    assert in_force(appliance) == {"storage": storage}
    assert (appliance.etc / "storage.json").read_text() == json.dumps(
        {"storage": storage}, separators=(",", ":")
    ) + "\n"
    assert conf(appliance) == "".join(f'{key}="{value}"\n' for key, value in storage.items())
    assert job.percentages[-1] == 100


@pytest.mark.parametrize("path", ["etc/storage.json", "../../../usr/local/etc/storage.conf"])
def test_files_with_the_password_are_closed_to_other_users_from_the_start(appliance: Appliance, path: str) -> None:
    (appliance.admin / path).write_text("")
    (appliance.admin / path).chmod(0o644)

    changed(appliance, ISCSI)

    assert stat.S_IMODE((appliance.admin / path).stat().st_mode) == 0o600


def test_the_job_tells_the_vendors_command(appliance: Appliance) -> None:
    job = changed(appliance, NFS)

    assert job.calls == [("apply", "storage", NFS), ("vendor_command", "storage.sh")]


def test_a_plugin_that_takes_the_settings_replaces_the_vendors_command(appliance: Appliance) -> None:
    job = changed(appliance, NFS, applied=True)

    assert job.calls == [("apply", "storage", NFS)]


def test_a_failing_vendor_command_fails_the_job(appliance: Appliance) -> None:
    job = FakeJob(appliance, accepted(NFS), exit_statuses={"storage.sh": 3})

    with pytest.raises(JobError, match="storage.sh failed with exit status 3"):
        jobs.change(job)

    assert job.lines[-2:] == ["storage.sh failed with exit status 3", "Invalid or missing settings file"]


def test_settings_that_cannot_be_written_fail_the_job_and_the_old_ones_stay_in_force(appliance: Appliance) -> None:
    changed(appliance, NFS)
    appliance.system_etc.rename(appliance.system_etc.with_name("kept"))
    appliance.system_etc.touch()

    with pytest.raises(JobError, match="The storage settings cannot be written and stay as they were: "):
        changed(appliance, LOCAL)

    assert in_force(appliance) == {"storage": NFS}


def test_the_password_is_masked_when_shown_and_never_logged(appliance: Appliance) -> None:
    job = changed(appliance, {**ISCSI, "password": "s3cret"})

    assert shown(appliance) == {
        "storage": {**ISCSI, "password": "********"},
        "options": NAMES,
        "restart-needed": True,
    }
    assert "s3cret" not in "".join(job.lines)


def test_posting_the_mask_back_keeps_the_stored_password(appliance: Appliance) -> None:
    changed(appliance, {**ISCSI, "password": "s3cret"})
    edited = {**shown(appliance)["storage"], "ip": "192.168.1.200"}

    answer = posted(appliance, edited)
    job = changed(appliance, edited)

    assert answer["storage"]["password"] == "********"
    assert in_force(appliance) == {"storage": {**ISCSI, "password": "s3cret", "ip": "192.168.1.200"}}
    assert 'password="s3cret"\n' in conf(appliance)
    assert job.calls[0] == ("apply", "storage", in_force(appliance)["storage"])


BOTH_FORMS = [{"storage": {**ISCSI, "password": "s3cret"}}, {**ISCSI, "password": "s3cret"}]


@pytest.mark.parametrize("stored", BOTH_FORMS, ids=["the original's", "earlier versions'"])
def test_both_forms_of_stored_settings_are_shown_masked_and_can_be_posted_back(
    appliance: Appliance, stored: dict[str, Any]
) -> None:
    (appliance.etc / "storage.json").write_text(json.dumps(stored))

    before = shown(appliance)
    changed(appliance, before["storage"])

    assert before == {"storage": {**ISCSI, "password": "********"}, "options": NAMES}
    assert in_force(appliance) == {"storage": {**ISCSI, "password": "s3cret"}}


def test_what_others_put_beside_the_settings_is_shown_and_no_password_in_it(appliance: Appliance) -> None:
    storage = {"type": "ceph", "monitor": "192.168.1.9", "chap_password": "s3cret"}
    stored = {"storage": storage, "options": ["old"], "since": 2016, "vault": {"Password": "s3cret"}}
    (appliance.etc / "storage.json").write_text(json.dumps(stored))
    offer(appliance, json.dumps({"options": ["local", "ceph"], "default": "local"}))

    assert shown(appliance) == {
        "storage": {**storage, "chap_password": "********"},
        "options": ["local", "ceph"],
        "since": 2016,
        "vault": {"Password": "********"},
        "default": "local",
    }
    assert refusal({"storage": storage}) == "settings.storage.type must be one of local, nfs, aoe, iscsi, nbd"
    assert posting_is_refused(appliance, NFS) == "settings.storage.type must be one of local on this appliance"


def test_a_password_that_the_original_stored_as_a_number_is_kept(appliance: Appliance) -> None:
    (appliance.etc / "storage.json").write_text(json.dumps({"storage": {**ISCSI, "password": 12345}}))

    changed(appliance, shown(appliance)["storage"])

    assert in_force(appliance) == {"storage": {**ISCSI, "password": "12345"}}


def test_the_log_begins_and_ends_as_that_of_the_original(appliance: Appliance) -> None:
    job = changed(appliance, NFS)

    assert (job.lines[0], job.lines[-1]) == ("Updating settings. Please wait..", "Updating settings successful")


@pytest.mark.parametrize("before", [{}, NFS, {**ISCSI, "password": None}])
def test_the_mask_without_a_stored_password_is_refused(appliance: Appliance, before: dict[str, str]) -> None:
    (appliance.etc / "storage.json").write_text(json.dumps(before))

    message = posting_is_refused(appliance, {**ISCSI, "password": "********"})

    assert message == "settings.storage.password must be the password itself: there is none yet for ******** to keep"


def test_the_mask_is_never_written_even_when_the_password_vanished_meanwhile(appliance: Appliance) -> None:
    changed(appliance, NFS)

    with pytest.raises(JobError, match="must be the password itself"):
        changed(appliance, {**ISCSI, "password": "********"})

    assert in_force(appliance) == {"storage": NFS}


NASTY = [
    "$(touch${IFS}pwned)",
    "`touch${IFS}pwned`",
    '";touch${IFS}pwned;"',
    "\\\\\\",
    '\\"\\',
    "'\"'\"'",
    "$HOME",
    "${HOME}",
    "!!&|;<>#~*?[]{}()^%@=+,",
    "".join(map(chr, range(33, 127))),
    "".join(map(chr, range(126, 32, -1))),
]


@pytest.mark.parametrize("secret", NASTY)
def test_a_shell_that_sources_storage_conf_gets_the_very_password(appliance: Appliance, secret: str) -> None:
    changed(appliance, {**ISCSI, "username": secret, "password": secret})

    script = '. ../usr/local/etc/storage.conf; printf \'%s\\n\' "$type" "$target" "$ip" "$username" "$password"'
    run = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=appliance.root / "opt", capture_output=True, text=True, check=True
    )

    assert run.stdout.splitlines() == ["iscsi", ISCSI["target"], ISCSI["ip"], secret, secret]
    assert run.stderr == ""
    assert not list(appliance.root.rglob("pwned"))


@given(st.text("".join(map(chr, range(33, 127))), min_size=3, max_size=255))
def test_every_password_that_the_reference_allows_is_accepted(password: str) -> None:
    assert accepted({**ISCSI, "password": password})["storage"]["password"] == password


def test_a_stored_type_that_is_no_longer_offered_is_still_shown(appliance: Appliance) -> None:
    changed(appliance, NFS)
    offer(appliance, '{"options": ["local"]}')

    assert shown(appliance) == {"storage": NFS, "options": ["local"], "restart-needed": True}


@pytest.mark.parametrize("storage", EVERY_TYPE)
def test_what_is_shown_can_be_posted_back_and_changes_nothing(appliance: Appliance, storage: dict[str, str]) -> None:
    changed(appliance, storage)

    changed(appliance, shown(appliance)["storage"])

    assert in_force(appliance) == {"storage": storage}


def test_without_settings_the_answer_is_404(appliance: Appliance) -> None:
    with pytest.raises(ApiError) as caught:
        shown(appliance)

    assert caught.value.status == 404


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_unreadable_settings_count_as_none(appliance: Appliance, content: str) -> None:
    (appliance.etc / "storage.json").write_text(content)

    with pytest.raises(ApiError) as caught:
        shown(appliance)

    assert caught.value.status == 404
