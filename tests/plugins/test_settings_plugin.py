"""Network and application settings: what is accepted, and what the job leaves on the appliance."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import ApiError, JobError
from jidoteki.hookspecs.validators import explain
from jidoteki.plugins import settings as plugin
from jidoteki.plugins.settings import jobs
from jidoteki.plugins.settings.validators import SETTINGS
from jidoteki.plugins.settings.warnings import warnings_of
from jidoteki.testing import FakeJob, FakeRequest, MakeHost, wait_until

DHCP = {"interface": "eth0", "hostname": "test.host"}
STATIC = {
    "interface": "eth0",
    "hostname": "test.host",
    "ip_address": "192.168.1.100",
    "netmask": "255.255.255.0",
    "gateway": "192.168.1.1",
    "dns1": "192.168.1.2",
    "dns2": "192.168.1.3",
    "ntpserver": "pool.ntp.org",
}
IPV6 = {**DHCP, "ip_address": "2001:db8::10", "netmask": "/64", "gateway": "2001:db8::1", "dns2": "2001:db8::2"}


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Appliance:
    monkeypatch.delenv("JIDO_ADMIN_PATH", raising=False)
    appliance = Appliance(tmp_path)
    appliance.prepare()
    return appliance


def accepted(value: object) -> dict[str, Any]:
    settings: dict[str, Any] = SETTINGS(json.dumps(value).encode())
    return settings


def refusal(value: object) -> str:
    with pytest.raises(vol.Invalid) as caught:
        vol.Schema({"settings": SETTINGS})({"settings": json.dumps(value).encode()})
    return explain(caught.value)


def posted(appliance: Appliance, value: object, **circumstances: Any) -> FakeJob:
    """The job after it handled what was posted."""
    job = FakeJob(appliance, accepted(value), **circumstances)
    jobs.change(job)
    return job


def shown(appliance: Appliance) -> Any:
    return asyncio.run(plugin.show(FakeRequest(appliance)))


def conf(appliance: Appliance) -> str:
    return (appliance.system_etc / "network.conf").read_text()


@pytest.mark.parametrize("network", [DHCP, STATIC, IPV6])
def test_settings_of_the_reference_are_accepted_and_get_their_mode(network: dict[str, str]) -> None:
    mode = "static" if "ip_address" in network else "dhcp"

    settings = accepted({"network": network, "app": {"name": "testapp"}})

    assert settings == {"network": {**network, "mode": mode}, "app": {"name": "testapp"}}


@pytest.mark.parametrize("mode", ["static", "dhcp", "STATIC", ""])
def test_a_mode_that_was_sent_is_tolerated_and_makes_no_difference(mode: str) -> None:
    assert accepted({"network": {**STATIC, "mode": mode}})["network"]["mode"] == "static"
    assert accepted({"network": {**DHCP, "mode": mode}})["network"]["mode"] == "dhcp"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "settings must hold network, app or both"),
        ([], "settings must be an object"),
        ({"netwrk": DHCP}, "settings.netwrk is unknown; did you mean network?"),
        ({"app": ["a"]}, "settings.app must be an object"),
        ({"app": None}, "settings.app must be an object"),
        ({"network": None}, "settings.network must be an object"),
        ({"network": {}}, "settings.network.hostname is required"),
        ({"network": {"hostname": "test.host"}}, "settings.network.interface is required"),
        ({"network": {"interface": "eth0"}}, "settings.network.hostname is required"),
        ({"network": {**DHCP, "mode": 1}}, "settings.network.mode must be a string"),
        ({"network": {**DHCP, "gatway": "192.168.1.1"}}, "settings.network.gatway is unknown; did you mean gateway?"),
        ({"network": {**STATIC, "dns3": "1.1.1.1"}}, "settings.network.dns3 is unknown; did you mean dns"),
    ],
)
def test_settings_of_another_shape_are_refused(value: object, sentence: str) -> None:
    assert refusal(value).startswith(sentence)


ADDRESS = "an IPv4 or IPv6 address of 3 to 45 characters"
HOST = "3 to 255 letters, digits, '.' and '-'"
SERVER = "3 to 255 letters, digits, '.', '-' and ':'"


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("interface", "e0", "3 to 14 letters and digits"),
        ("interface", "eth0.1", "3 to 14 letters and digits"),
        ("interface", "e" * 15, "3 to 14 letters and digits"),
        ("hostname", "ab", HOST),
        ("hostname", "test_host", HOST),
        ("hostname", "h" * 256, HOST),
        ("hostname", "test.host\n", HOST),
        ("ip_address", "192.168.1", ADDRESS),
        ("gateway", "192.168.1.1/24", ADDRESS),
        ("netmask", "255.0.255.0", "a netmask such as 255.255.255.0"),
        ("dns1", "dns.example", ADDRESS),
        ("dns2", "1:2", ADDRESS),
        ("ntpserver", "pool ntp", SERVER),
        ("ntpserver", "n" * 256, SERVER),
    ],
)
def test_each_value_outside_the_reference_is_refused_with_what_is_allowed(key: str, value: str, allowed: str) -> None:
    assert refusal({"network": {**STATIC, key: value}}).startswith(f"settings.network.{key} must be {allowed}")


@pytest.mark.parametrize("value", [-1, 1.5, True, None, ["eth0"], {"a": "b"}])
@pytest.mark.parametrize("key", STATIC)
def test_a_network_value_that_is_no_string_is_refused(key: str, value: object) -> None:
    assert refusal({"network": {**STATIC, key: value}}).startswith(f"settings.network.{key} must be a string: ")


@pytest.mark.parametrize(
    ("key", "number"), [("interface", 1234), ("hostname", 10001), ("netmask", 24), ("ntpserver", 123)]
)
def test_a_json_number_is_taken_where_its_digits_are_right(key: str, number: int) -> None:
    assert accepted({"network": {**STATIC, key: number}})["network"][key] == str(number)


@pytest.mark.parametrize(("key", "number"), [("interface", 12), ("netmask", 129), ("netmask", 8), ("dns1", 1)])
def test_a_json_number_whose_digits_are_wrong_is_refused(key: str, number: int) -> None:
    assert refusal({"network": {**STATIC, key: number}}).startswith(f"settings.network.{key} must be ")


def test_an_empty_string_is_as_good_as_nothing(appliance: Appliance) -> None:
    empty = dict.fromkeys(["ip_address", "netmask", "gateway", "dns1", "dns2", "ntpserver", "mode"], "")

    posted(appliance, {"network": {**DHCP, **empty}, "app": ""})

    assert shown(appliance) == {"network": {**DHCP, "mode": "dhcp"}}
    assert accepted({"network": {**STATIC, "ntpserver": ""}}) == accepted(
        {"network": {key: value for key, value in STATIC.items() if key != "ntpserver"}}
    )


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ({**DHCP, "hostname": ""}, "settings.network.hostname is required"),
        ({**STATIC, "gateway": ""}, "settings.network needs ip_address, netmask and gateway together or none of them"),
        ({**DHCP, "gatway": ""}, "settings.network.gatway is unknown; did you mean gateway?"),
    ],
)
def test_an_empty_string_is_no_better_than_nothing(network: dict[str, str], sentence: str) -> None:
    assert refusal({"network": network}) == sentence


@pytest.mark.parametrize("missing", ["ip_address", "netmask", "gateway"])
def test_a_static_network_with_a_part_missing_is_refused_and_never_becomes_dhcp(missing: str) -> None:
    network = {key: value for key, value in STATIC.items() if key != missing}

    assert (
        refusal({"network": network})
        == "settings.network needs ip_address, netmask and gateway together or none of them"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"gateway": "2001:db8::1"}, "settings.network.gateway must be an IPv4 address as ip_address is"),
        ({"netmask": "/64"}, "settings.network.netmask must be an IPv4 netmask or prefix length, as ip_address is"),
        ({"netmask": "ffff::"}, "settings.network.netmask must be an IPv4 netmask or prefix length, as ip_address is"),
        ({"ip_address": "2001:db8::9"}, "settings.network.gateway must be an IPv6 address as ip_address is"),
        (
            {"ip_address": "2001:db8::9", "gateway": "2001:db8::1"},
            "settings.network.netmask must be an IPv6 netmask or prefix length, as ip_address is",
        ),
    ],
)
def test_addresses_of_two_families_are_refused(change: dict[str, str], sentence: str) -> None:
    assert refusal({"network": {**STATIC, **change}}) == sentence


def test_static_settings_are_written_for_the_other_tools(appliance: Appliance) -> None:
    job = posted(appliance, {"network": STATIC, "app": {"name": "testäpp"}})

    assert json.loads((appliance.etc / "network.json").read_bytes()) == {**STATIC, "mode": "static"}
    assert json.loads((appliance.etc / "app.json").read_bytes()) == {"name": "testäpp"}
    assert conf(appliance) == (
        "mode=static\ninterface=eth0\nip=192.168.1.100\nsubnet=255.255.255.0\nrouter=192.168.1.1\n"
        'dns="192.168.1.2 192.168.1.3"\nhostname="test.host"\nntpserver="pool.ntp.org"\n'
    )
    assert job.percentages[-1] == 100


def test_ipv6_settings_have_their_prefix_length_in_network_conf(appliance: Appliance) -> None:
    posted(appliance, {"network": IPV6})

    assert conf(appliance) == (
        "mode=static\ninterface=eth0\nip=2001:db8::10\nsubnet_ipv6=/64\nrouter=2001:db8::1\n"
        'dns="2001:db8::2"\nhostname="test.host"\nntpserver=""\n'
    )


@pytest.mark.parametrize(
    ("network", "line"),
    [
        ({**STATIC, "netmask": "255.255.254.0"}, "subnet=255.255.254.0"),
        ({**STATIC, "netmask": "23"}, "subnet=23"),
        ({**STATIC, "netmask": 23}, "subnet=23"),
        ({**STATIC, "netmask": "/23"}, "subnet=/23"),
        ({**IPV6, "netmask": "48"}, "subnet_ipv6=48"),
        ({**IPV6, "netmask": "/48"}, "subnet_ipv6=/48"),
        ({**IPV6, "netmask": "ffff:ffff:ffff::"}, "subnet_ipv6=ffff:ffff:ffff::"),
        ({**IPV6, "netmask": "2001:db8::/48"}, "subnet_ipv6=2001:db8::/48"),
    ],
)
def test_a_netmask_comes_out_as_it_was_posted(appliance: Appliance, network: dict[str, str], line: str) -> None:
    posted(appliance, {"network": network})

    assert line in conf(appliance).splitlines()


def test_dhcp_settings_have_no_addresses_in_network_conf(appliance: Appliance) -> None:
    job = posted(appliance, {"network": {**DHCP, "dns1": "192.168.1.2", "ntpserver": "pool.ntp.org"}})

    assert conf(appliance) == 'mode=dhcp\ninterface=eth0\ndns=""\nhostname="test.host"\nntpserver="pool.ntp.org"\n'
    assert shown(appliance)["network"]["dns1"] == "192.168.1.2"
    assert "Warning: dns1 and dns2 have no effect with DHCP" in job.lines


@given(st.ip_addresses(v=4), st.integers(1, 32), st.from_regex("[a-zA-Z0-9.-]{3,255}", fullmatch=True))
def test_network_conf_is_what_a_shell_and_its_tools_expect(address: Any, length: int, hostname: str) -> None:
    network = {**STATIC, "ip_address": str(address), "netmask": f"/{length}", "hostname": hostname}

    lines = jobs.network_conf(accepted({"network": network})["network"]).splitlines()

    assert [line.partition("=")[0] for line in lines] == [
        *["mode", "interface", "ip", "subnet", "router", "dns", "hostname", "ntpserver"]
    ]
    assert f"ip={address}" in lines
    assert f'hostname="{hostname}"' in lines


def test_network_conf_can_be_sourced(appliance: Appliance) -> None:
    posted(appliance, {"network": STATIC})

    script = '. "$1"; echo $mode $interface $ip $subnet $router $hostname $ntpserver; printf "<%s>" $dns'
    run = subprocess.run(
        ["sh", "-eu", "-c", script, "sh", appliance.system_etc / "network.conf"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout == (
        "static eth0 192.168.1.100 255.255.255.0 192.168.1.1 test.host pool.ntp.org\n<192.168.1.2><192.168.1.3>"
    )


STRICT_SCRIPT = '. "$1"; echo "$mode $interface ${ip-none}${subnet-none} <$dns> $hostname <$ntpserver>"'


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (DHCP, "dhcp eth0 nonenone <> test.host <>"),
        (
            {**DHCP, "ip_address": "192.168.1.100", "netmask": "/24", "gateway": "192.168.1.1"},
            "static eth0 192.168.1.100/24 <> test.host <>",
        ),
    ],
)
def test_a_script_that_may_not_use_what_is_not_set_can_source_network_conf(
    appliance: Appliance, network: dict[str, str], told: str
) -> None:
    posted(appliance, {"network": network})

    run = subprocess.run(
        ["sh", "-euc", STRICT_SCRIPT, "sh", appliance.system_etc / "network.conf"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, told, "")


@pytest.mark.parametrize(
    ("first", "second"),
    [({"network": STATIC}, {"app": {"a": 1}}), ({"app": {"a": 1}}, {"network": STATIC})],
)
def test_network_and_app_leave_each_other_alone(
    appliance: Appliance, first: dict[str, Any], second: dict[str, Any]
) -> None:
    posted(appliance, first)

    posted(appliance, second)

    assert shown(appliance) == {"network": {**STATIC, "mode": "static"}, "app": {"a": 1}}


@pytest.mark.parametrize(("network", "mode"), [(STATIC, "static"), (DHCP, "dhcp")])
def test_new_network_settings_are_put_into_force_by_the_vendors_command(
    appliance: Appliance, network: dict[str, str], mode: str
) -> None:
    job = posted(appliance, {"network": network})

    assert job.calls == [("apply", "network", {**network, "mode": mode}), ("vendor_command", "network.sh", mode)]


def test_a_plugin_that_takes_the_network_settings_replaces_the_vendors_command(appliance: Appliance) -> None:
    job = posted(appliance, {"network": DHCP}, applied=True)

    assert job.calls == [("apply", "network", {**DHCP, "mode": "dhcp"})]


def test_new_app_settings_are_offered_to_plugins_and_do_not_touch_the_network(appliance: Appliance) -> None:
    job = posted(appliance, {"app": {"a": 1}})

    assert job.calls == [("apply", "app", {"a": 1})]
    assert not (appliance.system_etc / "network.conf").exists()


def test_a_failing_vendor_command_fails_the_job(appliance: Appliance) -> None:
    job = FakeJob(appliance, accepted({"network": DHCP}), exit_statuses={"network.sh": 3})

    with pytest.raises(JobError, match="network.sh failed with exit status 3"):
        jobs.change(job)

    assert job.lines[0] == "Updating settings. Please wait.."
    assert job.lines[-2:] == ["network.sh failed with exit status 3", "Invalid or missing settings file"]


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({**STATIC, "mode": "dhcp"}, "mode 'dhcp' has no effect: with ip_address, netmask and gateway it is static"),
        ({**DHCP, "mode": "static"}, "mode 'static' has no effect: without ip_address, netmask and gateway it is dhcp"),
        ({**DHCP, "mode": "a\nb"}, "mode 'a\\nb' has no effect: without ip_address, netmask and gateway it is dhcp"),
        ({**DHCP, "ip_address": "", "mode": "static"}, "mode 'static' has no effect: without ip_address"),
    ],
)
def test_a_mode_that_counts_for_nothing_is_told(appliance: Appliance, network: dict[str, str], told: str) -> None:
    job = posted(appliance, {"network": network})

    assert job.lines[1].startswith(f"Warning: {told}")


def test_a_mode_that_counts_for_nothing_is_told_in_the_answer(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()
    settings = json.dumps({"network": {**DHCP, "mode": "static"}}).encode()

    answer = host.request("POST", "/settings", {"settings": settings}, query="dry-run=1")

    told = "mode 'static' has no effect: without ip_address, netmask and gateway it is dhcp"
    assert (answer.status, answer.json["warnings"]) == (202, [told])


@pytest.mark.parametrize("network", [{**STATIC, "mode": "static"}, {**STATIC, "mode": "Static"}, {**DHCP, "mode": ""}])
def test_a_mode_that_says_what_is_so_is_no_reason_for_a_warning(network: dict[str, str]) -> None:
    assert "warnings" not in accepted({"network": network})


def test_settings_that_cannot_be_replaced_at_all_are_not_told_to_be_lost(appliance: Appliance) -> None:
    posted(appliance, {"network": STATIC, "app": {"a": 1}})
    held = appliance.system_etc / "network.conf"
    if subprocess.run(["chattr", "+i", held], capture_output=True, check=False).returncode:
        pytest.skip("needs root, and a file system that can do this")

    try:
        with pytest.raises(JobError) as failure:
            jobs.change(FakeJob(appliance, accepted({"network": DHCP, "app": {"a": 2}})))
    finally:
        subprocess.run(["chattr", "-i", held], check=True)

    assert failure.value.message.startswith("The settings cannot be written and stay as they were: ")
    assert "could not be put back" not in failure.value.message
    assert shown(appliance) == {"network": {**STATIC, "mode": "static"}, "app": {"a": 1}}


def test_settings_that_cannot_be_written_fail_the_job_and_the_old_ones_stay_in_force(appliance: Appliance) -> None:
    posted(appliance, {"network": STATIC, "app": {"a": 1}})
    appliance.system_etc.rename(appliance.system_etc.with_name("kept"))
    appliance.system_etc.touch()
    job = FakeJob(appliance, accepted({"network": DHCP, "app": {"a": 2}}))

    with pytest.raises(JobError, match="The settings cannot be written and stay as they were: "):
        jobs.change(job)

    assert shown(appliance) == {"network": {**STATIC, "mode": "static"}, "app": {"a": 1}}
    assert job.calls == []


@pytest.mark.parametrize(
    ("network", "lines"),
    [
        (STATIC, []),
        ({**IPV6, "gateway": "fe80::1"}, []),
        (
            {**STATIC, "gateway": "10.0.0.1"},
            ["Warning: gateway 10.0.0.1 is not in the subnet of ip_address, 192.168.1.0/24"],
        ),
        (
            {**IPV6, "gateway": "2001:db8:1::1"},
            ["Warning: gateway 2001:db8:1::1 is not in the subnet of ip_address, 2001:db8::/64"],
        ),
    ],
)
def test_a_gateway_outside_the_subnet_is_a_warning_in_the_log(
    appliance: Appliance, network: dict[str, str], lines: list[str]
) -> None:
    job = posted(appliance, {"network": network})

    assert [line for line in job.lines if line.startswith("Warning")] == lines
    assert (appliance.system_etc / "network.conf").exists()


@pytest.mark.parametrize("network", [DHCP, STATIC, IPV6])
def test_what_is_shown_can_be_posted_back_and_changes_nothing(appliance: Appliance, network: dict[str, str]) -> None:
    posted(appliance, {"network": network, "app": {"name": "testapp", "list": [1, None, {}]}})
    before, conf_before = shown(appliance), conf(appliance)

    posted(appliance, before)

    assert shown(appliance) == before
    assert conf(appliance) == conf_before


def test_the_log_begins_and_ends_as_that_of_the_original(appliance: Appliance) -> None:
    job = posted(appliance, {"network": STATIC})

    assert (job.lines[0], job.lines[-1]) == ("Updating settings. Please wait..", "Updating settings successful")


def test_what_the_original_stored_is_shown_and_can_be_posted_back(appliance: Appliance) -> None:
    network = {"mode": "dhcp", **DHCP, "ip_address": "", "netmask": 24, "gateway": "", "dns1": "", "ntpserver": ""}
    (appliance.etc / "network.json").write_text(json.dumps({**network, "netmask": ""}, separators=(",", ":")))
    (appliance.etc / "app.json").write_text("{}\n")
    before = shown(appliance)

    posted(appliance, before)

    assert before == {"network": {**network, "netmask": ""}, "app": {}}
    assert shown(appliance) == {"network": {**DHCP, "mode": "dhcp"}, "app": {}}


def test_an_address_without_a_gateway_that_the_original_stored_is_shown_as_dhcp(appliance: Appliance) -> None:
    stored = {"mode": "dhcp", **DHCP, "ip_address": "192.168.1.100", "netmask": 24}
    (appliance.etc / "network.json").write_text(json.dumps(stored))

    assert shown(appliance) == {"network": stored}


def test_network_settings_that_another_tool_wrote_without_mode_are_shown_with_it(appliance: Appliance) -> None:
    (appliance.etc / "network.json").write_text(json.dumps(STATIC))

    assert shown(appliance) == {"network": {**STATIC, "mode": "static"}}


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_unreadable_settings_count_as_none(appliance: Appliance, content: str) -> None:
    (appliance.etc / "network.json").write_text(content)

    with pytest.raises(ApiError) as caught:
        shown(appliance)

    assert caught.value.status == 404


def test_without_settings_the_answer_is_404(appliance: Appliance) -> None:
    with pytest.raises(ApiError) as caught:
        shown(appliance)

    assert caught.value.status == 404


def test_posting_starts_the_job_with_exactly_what_was_sent(appliance: Appliance) -> None:
    request = FakeRequest(appliance, {"settings": accepted({"app": {"kind": 1}})})

    asyncio.run(plugin.change(request))

    assert request.started == [("settings", {"app": {"kind": 1}})]


NETWORK = {"interface": "eth0", "hostname": "test.host"}
UNREACHABLE = {
    ("192.168.1.1", "24", "192.168.1.1"): "ip_address and gateway are the same, 192.168.1.1",
    ("192.168.1.0", "24", "192.168.1.1"): "ip_address 192.168.1.0 is the address of the network",
    (
        "192.168.1.255",
        "255.255.255.0",
        "192.168.1.1",
    ): "ip_address 192.168.1.255 is the broadcast address of the network",
    ("10.0.255.255", "16", "10.0.0.1"): "ip_address 10.0.255.255 is the broadcast address",
    ("192.168.1.5", "24", "192.168.1.0"): "gateway 192.168.1.0 is the address of the network",
    ("192.168.1.5", "24", "192.168.1.255"): "gateway 192.168.1.255 is the broadcast address",
    ("224.0.0.5", "24", "224.0.0.1"): "ip_address 224.0.0.5 is a multicast address",
    ("0.0.0.0", "24", "0.0.0.1"): "ip_address 0.0.0.0 means none",
    ("192.168.1.5", "24", "0.0.0.0"): "gateway 0.0.0.0 means none",
    ("255.255.255.255", "32", "255.255.255.255"): "is the broadcast address of all networks",
    ("127.0.0.1", "/8", "127.0.0.2"): "ip_address 127.0.0.1 is a loopback address",
    ("240.0.0.5", "24", "240.0.0.1"): "ip_address 240.0.0.5 is a reserved address",
    ("192.168.1.5", "24", "10.0.0.1"): "gateway 10.0.0.1 is not in the subnet of ip_address, 192.168.1.0/24",
    ("::0", "64", "fe80::1"): "ip_address :: means none",
    ("ff02::1", "64", "fe80::1"): "ip_address ff02::1 is a multicast address",
    ("2001:db8::", "64", "fe80::1"): "ip_address 2001:db8:: is the anycast address of the routers",
    ("2001:db8::5", "64", "2001:db8::5"): "ip_address and gateway are the same",
}


@pytest.mark.parametrize("addresses", UNREACHABLE)
def test_addresses_that_cannot_work_are_warned_of(jidoteki_host: MakeHost, addresses: tuple[str, str, str]) -> None:
    host = jidoteki_host()
    network = {**NETWORK, **dict(zip(("ip_address", "netmask", "gateway"), addresses, strict=True))}
    posted = json.dumps({"network": network})

    tried = host.post("/settings", "-F", f"settings={posted}", query="dry-run=1")
    answer = host.post("/settings", "-F", f"settings={posted}")

    assert (answer.status, answer.json["Location"]) == (202, "/api/v1/admin/settings")
    assert any(UNREACHABLE[addresses] in each for each in answer.json["warnings"]), answer.json
    assert tried.json["warnings"] == answer.json["warnings"]
    log = host.appliance.log / "update_settings.log"
    wait_until(lambda: log.exists() and UNREACHABLE[addresses] in log.read_text())


@pytest.mark.parametrize(
    "addresses",
    [("192.168.1.5", "24", "192.168.1.1"), ("10.0.0.0", "31", "10.0.0.1"), ("10.0.0.1", "31", "10.0.0.0"),
     ("192.168.0.255", "16", "192.168.0.0"), ("2001:db8::5", "64", "fe80::1"), ("2001:db8::", "127", "2001:db8::1")],
)  # fmt: skip
def test_addresses_that_work_are_not_warned_of(jidoteki_host: MakeHost, addresses: tuple[str, str, str]) -> None:
    host = jidoteki_host()
    network = {**NETWORK, **dict(zip(("ip_address", "netmask", "gateway"), addresses, strict=True))}

    answer = host.post("/settings", "-F", f"settings={json.dumps({'network': network})}", query="dry-run=1")

    expected = {"gateway 192.168.0.0 is the address of the network, which no machine can have"}
    assert set(answer.json.get("warnings", ())) == (expected if addresses[2] == "192.168.0.0" else set())


@pytest.mark.parametrize(
    ("listening", "address", "warned"),
    [
        (None, "192.168.1.5", False),
        ("0.0.0.0", "192.168.1.5", False),
        ("0.0.0.0", "2001:db8::5", True),
        ("::", "192.168.1.5", False),
        (["0.0.0.0", "::"], "2001:db8::5", False),
        ("192.168.1.5", "192.168.1.5", False),
        (["192.168.1.5", "127.0.0.1"], "192.168.1.6", True),
        ("127.0.0.1", "192.168.1.5", False),
        ("localhost", "192.168.1.5", False),
    ],
)
def test_an_address_that_is_not_listened_on_is_warned_of(
    listening: str | list[str] | None, address: str, warned: bool
) -> None:
    gateway = "fe80::1" if ":" in address else "192.168.1.1"
    network = {**NETWORK, "ip_address": address, "netmask": "64" if ":" in address else "24", "gateway": gateway}

    told = warnings_of(network, listening)

    assert [f"will not be served at ip_address {address}" in each for each in told] == ([True] if warned else [])
