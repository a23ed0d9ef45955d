"""Every hook is documented, with a working example."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from places import ROOT, SAMPLES

import jidoteki.hookspecs
from jidoteki.core.appliance import Appliance
from jidoteki.hookspecs import Hooks
from jidoteki.testing import Host, MakeHost, wait_until
from jidoteki.testing.fixtures import TOKEN
from jidoteki.testing.host import COMMAND

EXAMPLES = SAMPLES / "hooks"
HOOKS = [name for name in vars(Hooks) if name.startswith("jidoteki_")]
MAY_BE_ASYNC = ["jidoteki_startup", "jidoteki_shutdown"]


def reference() -> ModuleType:
    """Return the script that generates the page."""
    spec = importlib.util.spec_from_file_location("hook_reference", ROOT / "docs/hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_hooks_is_the_one_made_from_the_contract() -> None:
    assert reference().page() == (ROOT / "docs/hooks.md").read_text(), "run python docs/hooks.py"


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_documentation_an_example_and_a_test_of_the_example(hook: str) -> None:
    page = (ROOT / "docs/hooks.md").read_text()

    assert f"\n## {hook}\n" in page
    assert vars(Hooks)[hook].__doc__
    assert f"def {hook}(" in (EXAMPLES / f"{hook}.py").read_text()
    assert callable(globals().get(f"test_example_of_{hook}"))


@pytest.fixture(scope="module")
def host(_jidoteki_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Yield a host with all the examples except that of `jidoteki_shutdown`, which is visible only after a stop."""
    root = tmp_path_factory.mktemp("examples") / "root"
    shutil.copytree(_jidoteki_template, root, symlinks=True)
    appliance = Appliance(root, root / "opt/jidoteki/tinyadmin")
    appliance.replace_file(appliance.etc / "api.token", TOKEN + "\n", mode=0o600)
    appliance.replace_file(root / "run/collector.pid", "17\n")
    appliance.replace_file(root / "sys/class/thermal/thermal_zone0/temp", "41500\n")
    for example in EXAMPLES.glob("*.py"):
        appliance.replace_file(appliance.system_etc / "plugins" / example.name, example.read_text())
    made = Host(appliance, TOKEN)
    made.configure(
        endpoints=["settings", "lamp", "count", "note", "metrics", "reminder"],
        plugin_directory="usr/local/etc/plugins",
        health={"refresh": 0.5},
        parameters=None,
        plugins={
            "jidoteki_config_schema": {"colour": "red"},
            "jidoteki_event": {"file": str(root / "refused")},
        },
    )
    made.start()
    yield made
    made.end()


def test_example_of_jidoteki_config_schema(host: Host) -> None:
    assert host.request("GET", "/lamp").json == {"colour": "red", "depth": 3}


def test_example_of_jidoteki_jobs(host: Host) -> None:
    host.appliance.replace_file(host.appliance.data / "one", "1")

    started = host.request("POST", "/count")

    assert started.status == 202
    status = host.wait_for_job("/count")
    assert status["status"] == "success"
    assert " files" in status["log"]


def test_example_of_jidoteki_endpoints(host: Host) -> None:
    assert host.request("GET", "/note").json["error-code"] == "NOTE1"

    tried = host.request("PUT", "/note", {"note": "Gate 7"}, query="dry-run=1")
    assert tried.json["dry-run"] is True
    assert host.request("GET", "/note").status == 404

    host.request("PUT", "/note", {"note": "Gate 7"})
    shown = host.request("GET", "/note")
    assert shown.text == "Gate 7"
    assert shown.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert host.request("PUT", "/note", {"note": "<b>"}).status == 400
    host.assert_audited("request.done", "PUT /api/v1/admin/note 200")


def test_example_of_jidoteki_pages(host: Host) -> None:
    done = subprocess.run(
        ["curl", "-sSi", "--cacert", str(host.certificate), f"{host.url}/hello", f"{host.url}/hello/1/style.css"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Content-Type: text/html; charset=utf-8" in done.stdout
    assert "<h1>Hello</h1>" in done.stdout and "not set up" not in done.stdout
    assert "immutable" in done.stdout and "font-family" in done.stdout


def test_example_of_jidoteki_screens(host: Host) -> None:
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(host.certificate), f"{host.url}/docs/openapi.json"],
        capture_output=True,
        text=True,
        check=True,
    )

    screen = next(each for each in json.loads(done.stdout)["x-jidoteki-screens"] if each["name"] == "reminder")
    assert (screen["title"], screen["group"], screen["path"]) == ("Reminder", "Notes", "/reminder")
    assert [part["kind"] for part in screen["parts"]] == ["status", "form"]


def test_example_of_jidoteki_file_sources(host: Host) -> None:
    package = host.appliance.spool / "shelf/package"
    host.appliance.replace_file(package, "no package")

    missing = host.curl("POST", "/update", "-F", "update=shelf:other")
    tried = host.curl("POST", "/update", "-d", "update=shelf:package", query="dry-run=1")
    started = host.curl("POST", "/update", "-F", "update=shelf:package")

    assert (missing.status, missing.json["Error-Message"]) == (400, "There is no other on the shelf")
    assert (tried.status, tried.json["error-code"]) == (400, "E1005")
    assert started.status == 202
    assert host.wait_for_job("/update")["error-code"] == "E1005"
    assert not package.exists()


def test_example_of_jidoteki_commands(host: Host) -> None:
    host.appliance.replace_file(host.appliance.data / "some", "12345")

    done = subprocess.run(
        [*COMMAND, "backup-size"], capture_output=True, text=True, env={"JIDOTEKI_ROOT": str(host.appliance.root)}
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5


def test_example_of_jidoteki_init(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (packages / "support_key-1.0.dist-info").mkdir(parents=True)
    (packages / "support_key-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: support_key\n")
    (packages / "support_key-1.0.dist-info/entry_points.txt").write_text("[jidoteki]\nsupport-key = jidoteki_init\n")
    shutil.copy(EXAMPLES / "jidoteki_init.py", packages)
    start = f"import sys; sys.path.insert(0, {str(packages)!r}); from jidoteki.core.cli import main; main()"

    done = subprocess.run([sys.executable, "-c", start, "init", tmp_path / "root"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    key = (tmp_path / "root/vendor/support.key").read_text()
    assert len(key) == 64
    assert (tmp_path / "root/opt/jidoteki/tinyadmin/etc/support.key").read_text() == key


def test_example_of_jidoteki_startup(host: Host) -> None:
    assert int((host.appliance.etc / "started.txt").read_text()) > 1_600_000_000


def test_example_of_jidoteki_services(host: Host) -> None:
    assert {"collector": "running"} in host.request("GET", "/services").json["services"]


def test_example_of_jidoteki_check(host: Host) -> None:
    argv: list[str | Path] = [*COMMAND, "check", "--root", host.appliance.root]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout

    sensor = host.appliance.root / "sys/class/thermal/thermal_zone1/temp"
    assert f"warning: {sensor}: it gives no temperature\n    See that the sensor is connected.\n" in told


def test_example_of_jidoteki_health(host: Host) -> None:
    wait_until(lambda: host.request("GET", "/health").json.get("jidoteki_health") == {"celsius": 41.5})


def test_example_of_jidoteki_metrics(host: Host) -> None:
    assert 'thermal_temperature_celsius{zone="0"} 41.5' in host.request("GET", "/metrics").text


def test_example_of_jidoteki_apply(host: Host) -> None:
    settings = {"network": {"interface": "eth0", "hostname": "test.example"}}

    host.request("POST", "/settings", {"settings": json.dumps(settings)})

    written = host.appliance.root / "etc/systemd/network/50-appliance.network"
    wait_until(written.exists)
    assert "Name=eth0" in written.read_text()


def test_example_of_jidoteki_event(host: Host) -> None:
    refused = host.appliance.root / "refused"

    host.curl("GET", "/version", auth="none", source="127.0.0.3")

    wait_until(lambda: refused.exists() and "127.0.0.3 GET /api/v1/admin/version" in refused.read_text())


def test_example_of_jidoteki_shutdown(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(load=(EXAMPLES / "jidoteki_shutdown.py",))

    assert host.stop() == 0

    assert (host.appliance.etc / "stopped.txt").read_text() == "on purpose\n"


def left_out(host: Host) -> dict[str, str | None]:
    """Return the reason why each plugin is left out."""
    done = subprocess.run(
        [*COMMAND, "plugins", "--json", "--root", str(host.appliance.root)], capture_output=True, check=True
    )
    return {row["name"]: row["problem"] for row in json.loads(done.stdout)}


def test_the_sentence_about_async_names_the_hooks_that_may_be(jidoteki_host: MakeHost, tmp_path: Path) -> None:
    files = []
    for hook in HOOKS:
        arguments = ", ".join(argument for argument in ("appliance", "cli", "job", "event") if argument in _names(hook))
        path = tmp_path / f"async_{hook}.py"
        path.write_text(f"from jidoteki.hookspecs import hookimpl\n@hookimpl\nasync def {hook}({arguments}): pass\n")
        files.append(path)

    problems = left_out(jidoteki_host(load=tuple(files)))

    refused = {hook: problems[f"async_{hook}"] for hook in HOOKS if problems[f"async_{hook}"]}
    assert refused == {hook: f"{hook} must not be async" for hook in HOOKS if hook not in MAY_BE_ASYNC}
    sentence = str(jidoteki.hookspecs.__doc__)
    assert "Hooks are plain functions, except `jidoteki_startup` and `jidoteki_shutdown`, which may be" in sentence


def _names(hook: str) -> tuple[str, ...]:
    return tuple(vars(Hooks)[hook].__annotations__)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def handler(request): pass\nasync def run(job): pass", "the handlers of the job async must not be async"),
        ("def handler(request): pass\ndef run(job): pass", "the handler of GET /async must be an async function"),
        ("async def handler(request): pass\ndef run(job): pass", None),
    ],
)
def test_request_handlers_are_async_and_job_handlers_are_not(
    jidoteki_host: MakeHost, tmp_path: Path, code: str, problem: str | None
) -> None:
    path = tmp_path / "async.py"
    path.write_text(f"""from jidoteki.hookspecs import *
{code}
@hookimpl
def jidoteki_jobs(): return [JobType("async", run)]
@hookimpl
def jidoteki_endpoints(): return [Endpoint("GET", "/async", handler)]
""")

    assert left_out(jidoteki_host(load=(path,), enable=("async",)))["async"] == problem
