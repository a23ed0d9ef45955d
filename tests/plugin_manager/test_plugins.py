"""Third-party plugins: what they can do, and that a bad one never takes the host down."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from jidoteki.core.config.loading import Config, defaults
from jidoteki.core.plugin_manager.isolation import Calls, RaisedError, told
from jidoteki.core.plugin_manager.manager import Plugins
from jidoteki.core.plugin_manager.sources import Source
from jidoteki.hookspecs import Hooks, hookspec
from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeAppliance, MakeHost
from jidoteki.testing.host import COMMAND

Make = Callable[..., Host]

HEAD = """
from jidoteki.hookspecs import *
import asyncio, os, sys, time
import voluptuous as vol

async def handler(request):
    return {"hello": "world"}

"""

GOOD = HEAD + '@hookimpl\ndef jidoteki_endpoints(appliance):\n    return [Endpoint("GET", "/good", handler)]\n'


@pytest.fixture
def make(jidoteki_host: MakeHost, tmp_path: Path) -> Make:
    """Runs a host with one good plugin and one with the given code, called `other`, and enables them."""

    def with_plugin(code: str, enable: tuple[str, ...] = ("good", "other"), **sections: Any) -> Host:
        for name, content in (("good", GOOD), ("other", HEAD + code)):
            (tmp_path / f"{name}.py").write_text(content)
        files = (tmp_path / "good.py", tmp_path / "other.py")
        return jidoteki_host(load=files, enable=enable, **sections)

    return with_plugin


def plugins(host: Host) -> dict[str, str | None]:
    """Why each plugin is left out, as the command line tells."""
    done = subprocess.run(
        [*COMMAND, "plugins", "--json", "--root", str(host.appliance.root)], capture_output=True, check=True
    )
    return {row["name"]: row["problem"] for row in json.loads(done.stdout)}


ENDPOINTS = "@hookimpl\ndef jidoteki_endpoints(appliance):\n    "

LEFT_OUT = {
    "JIDOTEKI_CONTRACT = '1.99'\n" + ENDPOINTS + "return []": "needs version 1.99 of the contract",
    "JIDOTEKI_CONTRACT = '2.0'\n" + ENDPOINTS + "return []": "needs version 2.0 of the contract",
    "JIDOTEKI_CONTRACT = 'new'\n" + ENDPOINTS + "return []": "is not a version",
    "@hookimpl(wrapper=True)\ndef jidoteki_endpoints(appliance):\n    return (yield)": "as a wrapper",
    "raise RuntimeError('planted')": "RuntimeError: planted",
    "sys.exit(3)": "SystemExit: 3",
    "def :": "SyntaxError",
    "pass": "implements no hook",
    "@hookimpl\ndef jidoteki_endpoints(appliance, more): return []": "does not follow the contract",
    "@hookimpl\ndef jidoteki_nonsense(): pass": "jidoteki_nonsense, which is not a hook",
    ENDPOINTS + "raise ValueError('planted')": "ValueError: planted",
    ENDPOINTS + "sys.exit(0)": "SystemExit",
    ENDPOINTS + "return 'text'": "must return a list of Endpoint",
    ENDPOINTS + "return [1]": "must return a list of Endpoint",
    ENDPOINTS + "return [Endpoint('GET', '/version', handler)]": "belongs to the plugin information already",
    ENDPOINTS + "return [Endpoint('GET', '/good', handler)]": "belongs to the plugin good already",
    ENDPOINTS + "return [Endpoint('GET', 'other', handler)]": "must look like /name/part",
    ENDPOINTS + "return [Endpoint('FETCH', '/other', handler)]": "is not one of GET",
    ENDPOINTS + "return [Endpoint('GET', '/other', lambda request: {})]": "must be an async function",
    ENDPOINTS + "return [Endpoint('GET', '/other', handler, body='text/plain')]": "which only a change may",
    ENDPOINTS + "return [Endpoint('POST', '/other', handler, parameters=17)]": "are not a schema",
    "@hookimpl\nasync def jidoteki_endpoints(appliance): return []": "must not be async",
    "@hookimpl\ndef jidoteki_jobs(appliance): return [JobType('update', run=print)]": "belongs to the plugin update",
    "@hookimpl\ndef jidoteki_jobs(appliance): return [JobType('Bad Name', run=print)]": "must be lower-case",
    "@hookimpl\ndef jidoteki_jobs(appliance): return [JobType('odd', run=print, input=17)]": "must be a function",
    "@hookimpl\ndef jidoteki_config_schema(): return {}": "must return a voluptuous.Schema",
    "@hookimpl\ndef jidoteki_config_schema(): return vol.Schema({vol.Required('x'): int})": "x is required",
}  # fmt: skip


@pytest.mark.parametrize("code", LEFT_OUT)
def test_a_bad_plugin_is_left_out_with_the_reason_and_its_siblings_stay(make: Make, code: str) -> None:
    host = make(code)

    assert host.get("/version").status == 200
    assert host.get("/good").json == {"hello": "world"}
    problem = plugins(host)["other"]
    assert problem
    assert LEFT_OUT[code] in problem
    wait_until(lambda: "The plugin other is left out" in host.errors())
    out_of_service = host.get("/other")
    assert out_of_service.status == 503
    assert "The plugin other is out of service" in out_of_service.json["Error-Message"]
    assert host.get("/other", auth="none", source="127.0.0.2").status == 403


def test_a_plugin_directory_that_cannot_be_looked_for_takes_nothing_down(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(plugin_directory="usr/local/etc/" + "x" * 300)

    assert host.get("/version").status == 200


def test_a_plugin_that_hangs_while_loading_is_given_up_on(make: Make) -> None:
    host = make("time.sleep(1000)")

    assert host.get("/good").status == 200
    assert host.get("/other").json["Error-Message"].endswith("did not finish within 10 seconds")


def test_a_slow_machine_gives_up_strangers_and_never_its_own_endpoints(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD.replace("import asyncio", "import time; time.sleep(0.5); import asyncio"))
    host = jidoteki_host(load=(tmp_path / "good.py",), enable=("good",), start=False)
    hasty = (
        "from jidoteki.core.plugin_manager import manager; manager.LOADING_TIMEOUT = 0.0001; "
        "from jidoteki.core.cli import main; main()"
    )

    with mock.patch.object(Host, "_command", (sys.executable, "-c", hasty)):
        host.start()

    wait_until(lambda: "The plugin good is left out" in host.errors())
    assert [host.get(path).status for path in ("/version", "/health", "/storage")] == [200, 200, 404]
    assert host.get("/good").status == 503


HANDLERS = {
    "raise RuntimeError('planted')": 500,
    "sys.exit(3)": 500,
    "return object()": 500,
    "return {'a': object()}": 500,
    "return JsonResponse({}, status=299)": 299,
    "raise ApiError(409, 'planted\\r\\nX: y')": 409,
    "return TextFile(request.appliance.etc / 'nothing')": 404,
    "raise KeyboardInterrupt": 500,
    "raise ApiError(400)": 400,
    "raise ApiError(599)": 599,
    "return [1, 2]": 200,
    "return EncodedJson(b'[3]')": 200,
}


@pytest.mark.parametrize("code", HANDLERS)
def test_a_handler_that_fails_answers_500_and_nothing_else_suffers(make: Make, code: str) -> None:
    endpoint = "Endpoint('GET', '/other', other, responses={200: 'Done', 299: 'Odd'})"
    host = make(f"async def other(request):\n    {code}\n{ENDPOINTS}return [{endpoint}]")

    answer = host.get("/other")

    assert answer.status == HANDLERS[code]
    assert "planted" not in answer.text or answer.status == 409
    assert "X" not in answer.headers
    if answer.status >= 400:
        message = answer.json["Error-Message"].replace("\r\n", "??")
        assert message and answer.headers["Error-Message"] == message
    if answer.status == 500:
        assert answer.json["Error-Message"] == "An internal error: the service's log has the details"
    assert host.get("/good").json == {"hello": "world"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-type", "application/json; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("content-length", "2"),
    ],
)
def test_a_header_of_a_plugin_takes_the_place_of_the_services_own(make: Make, name: str, value: str) -> None:
    host = make(f"""
async def other(request):
    return JsonResponse({{}}, headers={{{name!r}: {value!r}}})

@hookimpl
def jidoteki_endpoints(appliance):
    return [Endpoint("GET", "/other", other)]
""")

    told = host.get("/other", "-i").body.decode()

    head = told.partition("\r\n\r\n")[0].splitlines()
    assert [line.partition(": ")[2] for line in head if line.lower().startswith(f"{name}:")] == [value]


def test_hooks_that_fail_or_hang_at_events_do_not_matter(make: Make) -> None:
    host = make("""
@hookimpl
def jidoteki_event(event): sys.exit(1)
@hookimpl
async def jidoteki_startup(appliance): raise RuntimeError("planted startup")
@hookimpl
def jidoteki_shutdown(appliance): sys.exit(1)
@hookimpl
def jidoteki_services(appliance): return 17
@hookimpl
def jidoteki_health(appliance): time.sleep(1000)
""", enable=("good",))  # fmt: skip

    assert host.get("/services").status == 200
    assert host.post("/setup", "-F", "newtoken=another").status == 200
    wait_until(lambda: "planted startup" in host.errors())
    assert host.stop() == 0


def test_a_traceback_is_logged_once_for_each_place_and_type_up_to_a_number() -> None:
    calls = Calls()

    def raised(code: str) -> BaseException | None:
        with pytest.raises(RaisedError) as caught:
            calls.within("other", "jidoteki_health", 10, partial(exec, compile(code, "/other.py", "exec")))
        assert told(caught.value).endswith(f"(/other.py, line {code.count(chr(10)) + 1})")
        return calls.first(caught.value)

    assert isinstance(raised("{}['x']"), KeyError)
    assert raised("{}['x']") is None and raised("{}['y']") is None
    assert raised("\n{}['x']") and raised("[][0]")
    assert sum(raised("\n" * number + "{}['x']") is not None for number in range(2, 200)) == 97


def test_what_plugins_add_to_services_and_health_is_shown(make: Make) -> None:
    host = make("""
@hookimpl
def jidoteki_services(appliance): return [("mine", True), ("yours", False)]
@hookimpl
def jidoteki_health(appliance): return {"temperature": 42}
""", enable=("good",))  # fmt: skip

    services = host.get("/services").json["services"]

    assert {"mine": "running"} in services
    assert {"yours": "not running"} in services
    wait_until(lambda: host.get("/health").json.get("other") == {"temperature": 42})


def test_a_plugin_is_told_of_audit_lines_and_jobs(make: Make) -> None:
    host = make("""
@hookimpl
def jidoteki_event(event):
    with open(os.path.join(os.environ["PROOF"]), "a") as file:
        file.write(f"{event.kind} {event.action} {event.target} {event.user} {event.id}\\n")
""", start=False)  # fmt: skip
    proof = host.appliance.root / "proof"
    host.start(env={"PROOF": str(proof)})

    host.get("/reboot")
    host.get("/version", auth="none", source="127.0.0.2")

    wait_until(lambda: proof.exists() and "job.end" in proof.read_text() and "failure" in proof.read_text())
    text = proof.read_text()
    assert "job job.start reboot running admin 000001-reboot" in text
    assert "job job.end reboot success admin 000001-reboot" in text
    assert "audit request.done GET /api/v1/admin/reboot 202 000001-reboot admin" in text
    assert "audit authentication.failure GET /api/v1/admin/version" in text


def test_a_plugin_puts_settings_into_force_in_its_own_way(make: Make) -> None:
    host = make("""
@hookimpl
def jidoteki_apply(job, name, document):
    if name == "network":
        job.log(f"applied {document['hostname']}")
        return True
""", enable=("good",))  # fmt: skip

    host.post("/settings", "-F", 'settings={"network": {"interface": "eth0", "hostname": "test.host"}}')

    log = host.appliance.log / "update_settings.log"
    wait_until(lambda: log.exists() and "applied test.host" in log.read_text())


def test_a_section_of_the_configuration_is_validated_and_handed_on(make: Make) -> None:
    host = make(
        """
async def other(request): return dict(request.config)
@hookimpl
def jidoteki_config_schema(): return vol.Schema({vol.Optional("count", default=3): int, vol.Optional("name"): str})
@hookimpl
def jidoteki_endpoints(appliance): return [Endpoint("GET", "/other", other)]
""",
        plugins={"other": {"name": "x"}},
    )

    assert host.get("/other").json == {"count": 3, "name": "x"}


def test_a_plugin_file_that_others_can_write_is_refused(make: Make) -> None:
    host = make(ENDPOINTS + "return []", start=False)
    path = host.appliance.system_etc / "plugins/other.py"
    path.chmod(0o666)
    host.start()

    assert "must belong to root or the service's user" in str(plugins(host)["other"])


def test_a_handler_that_blocks_the_event_loop_is_named_in_the_log(make: Make) -> None:
    host = make(f"async def other(request):\n    time.sleep(1.5)\n    return {{}}\n{ENDPOINTS}"
                "return [Endpoint('GET', '/other', other)]")  # fmt: skip

    host.get("/other")

    wait_until(lambda: "blocked the event loop" in host.errors())
    wait_until(lambda: "the plugin other" in host.errors())


def test_the_kit_waits_for_jobs_and_reads_the_audit_log(jidoteki_host: MakeHost) -> None:
    started = time.time()
    host = jidoteki_host()

    host.post("/setup", "-F", "newtoken=another")

    assert [line[4] for line in host.audit()] == ["request.begun", "request.done", "token.update.success"]
    assert float(host.audit()[0][0]) >= started


def test_a_plugin_that_implements_a_deprecated_hook_is_told_so_and_works(
    jidoteki_appliance: MakeAppliance, caplog: pytest.LogCaptureFixture
) -> None:
    class Later(Hooks):
        @hookspec(warn_on_impl=DeprecationWarning("jidoteki_old goes away with version 2: implement jidoteki_jobs"))
        def jidoteki_old(self, appliance: object) -> None:
            """Was replaced."""

    appliance = jidoteki_appliance()
    path = appliance.root / "older.py"
    path.write_text(HEAD + "@hookimpl\ndef jidoteki_old(appliance): pass\n")
    path.parent.chmod(0o755)
    path.chmod(0o644)
    loaded = Plugins(appliance, Config(defaults()), Later)

    plugin = loaded.load(Source("older", "file", str(path)))

    assert plugin.problem is None
    assert "jidoteki_old goes away with version 2: implement jidoteki_jobs" in caplog.text


def test_a_trace_of_the_hooks_is_logged_when_asked_for(make: Make) -> None:
    host = make(ENDPOINTS + "return []", start=False)
    host.start(env={"JIDOTEKI_TRACE_PLUGINS": "1"})

    told = "Trace: jidoteki_endpoints of good returned [Endpoint("
    wait_until(lambda: told in (host.appliance.log / "jidoteki-admin-api.log").read_text())
