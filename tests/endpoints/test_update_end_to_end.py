"""The main use case: setting an appliance up over HTTPS with curl, and updating it with a package from openssl."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pace import slowness

from jidoteki.testing import Host, wait_until
from jidoteki.testing.fixtures import MakeHost
from jidoteki.testing.host import COMMAND

MakePackage = Callable[..., Path]

SCRIPT = "#!/bin/sh\necho Hello from $(pwd | sed 's/.*\\///')\n"


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host()


@pytest.fixture
def make_package(host: Host, tmp_path: Path) -> MakePackage:
    """Return a function that makes packages as the documentation tells vendors to."""
    vendor = host.appliance.root / "vendor"

    def make(
        version: str | None = "1.1.0",
        script: str | None = SCRIPT,
        mode: int = 0o755,
        sign_key: Path = vendor / "private.pem",
        passphrase: Path = vendor / "updates.key",
        legacy: bool = False,
        size: int = 0,
    ) -> Path:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        for old in source.iterdir():
            old.unlink()
        (source / "changelog.txt").write_text(f"# Changelog\n\n## {version}\n")
        if version is not None:
            (source / "version.txt").write_text(f"{version}\n")
        if script is not None:
            (source / "update.sh").write_text(script)
            (source / "update.sh").chmod(mode)
        if size:
            (source / "ballast").write_bytes(os.urandom(size))
        package = tmp_path / "software_package-new.enc"
        kind = "-md md5" if legacy else "-md sha256 -pbkdf2"
        commands = f"""
            cd {tmp_path} &&
            tar czf software_package.tar.gz -C source . &&
            openssl dgst -sha256 -sign {sign_key} -out software_package.tar.gz.sign software_package.tar.gz &&
            tar c software_package.tar.gz software_package.tar.gz.sign |
              openssl enc -aes-256-cbc {kind} -pass file:{passphrase} -out {package}
        """
        subprocess.run(["sh", "-c", commands], check=True, capture_output=True)
        return package

    return make


def test_a_newcomer_sets_the_token_and_installs_a_package(host: Host, make_package: MakePackage) -> None:
    (host.appliance.etc / "api.token").unlink()
    assert host.post("/setup", "-F", "newtoken=yourtoken", auth="none").body == b'{"Status":"200 OK"}'
    host.token = "yourtoken"

    answer = host.post("/update", "-F", f"update=@{make_package()}")

    assert answer.status == 202
    assert answer.headers["Location"] == "/api/v1/admin/update"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == b'{"Status":"202 Accepted","Location":"/api/v1/admin/update"}'
    status = host.wait_for_job("/update")
    assert (status["status"], status["percentage"]) == ("success", 100)
    assert status["log"].endswith("[SYSTEM] Updating system successful")
    assert host.get("/version").json == {"version": "1.1.0"}
    assert host.get("/changelog").text == "# Changelog\n\n## 1.1.0\n"
    log = host.get("/update/log")
    assert log.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Updating system. Please wait.." in log.text
    assert "\nHello from update\n" in log.text
    etc = host.appliance.etc
    assert json.loads((etc / "status_update.json").read_text()) == {"status": "success", "percentage": 100}
    assert (etc / "status_update.txt").read_text() == "success\n"
    assert list(host.appliance.spool.iterdir()) == []
    assert list(host.appliance.uploads.iterdir()) == []
    wait_until(lambda: not list(host.appliance.tmp.iterdir()))


@pytest.mark.parametrize("mode", [0o755, 0o644])
@pytest.mark.parametrize("script", [SCRIPT, None])
def test_a_script_need_not_be_executable_nor_be_there(
    host: Host, make_package: MakePackage, mode: int, script: str | None
) -> None:
    host.post("/update", "-F", f"update=@{make_package(script=script, mode=mode)}")

    assert host.wait_for_job("/update")["status"] == "success"


@pytest.mark.parametrize(
    ("installed", "new", "accepted"),
    [
        ("1.0.0", "1.0.0", False),
        ("1.0.0", "0.9.9", False),
        ("1.9.0", "1.10.0", True),
        ("1.0.0-rc.1", "1.0.0", True),
        ("1.0.0", "1.0.0-rc.1", False),
        ("2015.9", "2015.10", True),
        ("2015.10", "2015.9", False),
        ("v1.0.0", "v1.0.1", True),
        ("", "0.0.1", True),
    ],
)
def test_only_newer_versions_are_installed(
    host: Host, make_package: MakePackage, installed: str, new: str, accepted: bool
) -> None:
    (host.appliance.etc / "version.txt").write_text(installed)

    host.post("/update", "-F", f"update=@{make_package(version=new)}")

    status = host.wait_for_job("/update")
    assert (status["status"] == "success") == accepted
    assert status.get("error-code") == (None if accepted else "E1001")
    assert (host.appliance.etc / "version.txt").read_text().strip() == (new if accepted else installed)


def test_a_lowered_version_txt_lets_no_older_package_in_after_a_restart_either(
    host: Host, make_package: MakePackage
) -> None:
    host.post("/update", "-F", f"update=@{make_package(version='2.0.0')}")
    assert host.wait_for_job("/update")["status"] == "success"
    (host.appliance.etc / "version.txt").write_text("1.0.0\n")
    host.stop()
    host.start()

    host.post("/update", "-F", f"update=@{make_package(version='1.5.0')}")

    status = host.wait_for_job("/update")
    assert (status["status"], status["error-code"]) == ("failed", "E1001")
    assert "is not newer than 2.0.0, the highest version that was installed here" in status["error-message"]
    assert (host.appliance.jobs / "highest-version").read_text() == "2.0.0\n"


def test_a_change_of_scheme_waits_for_the_configuration(host: Host, make_package: MakePackage) -> None:
    host.post("/update", "-F", f"update=@{make_package(version='release-1')}")
    refused = host.wait_for_job("/update")
    host.configure(update={"allow-scheme-change-to": "release-1"})
    host.reload()

    host.post("/update", "-F", f"update=@{make_package(version='release-1')}")

    assert "set update.allow-scheme-change-to to release-1 in the configuration" in refused["error-message"]
    assert (refused["error-code"], refused["percentage"]) == ("E1001", 60)
    assert host.wait_for_job("/update")["status"] == "success"
    assert host.get("/version").json == {"version": "release-1"}


def test_e1001_says_both_versions(host: Host, make_package: MakePackage) -> None:
    host.post("/update", "-F", f"update=@{make_package(version='0.1.0')}")

    status = host.wait_for_job("/update")

    assert status["percentage"] == 60
    assert status["error-message"] == "The package's version 0.1.0 is not newer than the installed version 1.0.0"
    assert (host.appliance.etc / "status_error_code.txt").read_text() == "E1001\n"


def test_e1001_for_a_package_without_a_version(host: Host, make_package: MakePackage) -> None:
    host.post("/update", "-F", f"update=@{make_package(version=None)}")

    status = host.wait_for_job("/update")

    assert (status["error-code"], status["error-message"]) == ("E1001", "The package has no version.txt")


def test_e1002_when_the_script_fails(host: Host, make_package: MakePackage) -> None:
    host.post("/update", "-F", f"update=@{make_package(script='echo planted; exit 3')}")

    status = host.wait_for_job("/update")

    assert (status["status"], status["percentage"], status["error-code"]) == ("failed", 80, "E1002")
    assert status["error-message"] == "update.sh failed with exit status 3: planted"
    assert "planted" in status["log"]
    assert status["log"].endswith("Failed updating...")
    assert host.get("/version").json == {"version": "1.0.0"}


def test_the_script_may_give_its_own_message_and_code(host: Host, make_package: MakePackage) -> None:
    script = """
        echo "The database is busy" > $JIDO_ADMIN_PATH/etc/status_error_message.txt
        echo E2042 > $JIDO_ADMIN_PATH/etc/status_error_code.txt
        exit 1
    """

    host.post("/update", "-F", f"update=@{make_package(script=script)}")

    status = host.wait_for_job("/update")
    assert (status["error-message"], status["error-code"]) == ("The database is busy", "E2042")


def test_e1003_when_nothing_was_dropped(host: Host) -> None:
    done = subprocess.run(_jidoteki("update", host), capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "jidoteki: Missing update package (E1003)\n"
    status = host.get("/update").json
    assert (status["status"], status["percentage"]) == ("failed", 20)
    assert (status["error-message"], status["error-code"]) == ("Missing update package", "E1003")
    assert status["log"].endswith("[SYSTEM] Failed updating...")


@pytest.mark.parametrize(
    ("lying", "status", "said"),
    [
        (None, 0, ""),
        ("a directory", 1, "jidoteki: software_package-1.enc is passed over: it is not a regular file\n"),
        ("a package", 0, ""),
    ],
)
def test_a_timer_makes_no_job_where_there_is_no_package(
    host: Host, make_package: MakePackage, lying: str | None, status: int, said: str
) -> None:
    path = host.appliance.uploads / "software_package-1.enc"
    if lying == "a directory":
        path.mkdir()
    elif lying:
        path.write_bytes(make_package().read_bytes())
    before = {each.name for each in host.appliance.jobs.glob("*-update.json")}

    done = subprocess.run([*_jidoteki("update", host), "--if-any"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (status, said)
    made = {each.name for each in host.appliance.jobs.glob("*-update.json")} - before
    assert bool(made) == (lying == "a package")


def _jidoteki(command: str, host: Host) -> list[str]:
    return [*COMMAND, command, "--root", str(host.appliance.root)]


def test_a_package_dropped_by_sftp_is_installed(host: Host, make_package: MakePackage) -> None:
    make_package().rename(host.appliance.uploads / "software_package-1.1.0.enc")

    done = subprocess.run(_jidoteki("update", host), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert host.get("/version").json == {"version": "1.1.0"}
    assert host.get("/update").json["status"] == "success"


def test_e1004_while_one_is_running(host: Host, make_package: MakePackage) -> None:
    package = make_package(script="echo started; sleep 30")
    host.post("/update", "-F", f"update=@{package}")
    wait_until(lambda: host.get("/update").json["percentage"] == 70)

    second = host.post("/update", "-F", f"update=@{package}")
    reboot = host.get("/reboot")

    assert second.status == 400
    assert second.json == {
        "Status": "400 Bad Request",
        "Error-Message": "Update is already running",
        "error-code": "E1004",
    }
    assert (reboot.status, reboot.json["Error-Message"]) == (400, "Reboot cannot start while update is running")
    status = host.get("/update").json
    assert (status["status"], status["percentage"]) == ("running", 70)
    wait_until(lambda: not [*host.appliance.spool.iterdir()])  # nor is the first there any more, whose script runs


def test_e1005_for_a_wrong_passphrase(host: Host, make_package: MakePackage, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.key"
    wrong.write_text("another\n")

    host.post("/update", "-F", f"update=@{make_package(passphrase=wrong)}")

    status = host.wait_for_job("/update")
    assert (status["percentage"], status["error-code"]) == (30, "E1005")
    assert "cannot be decrypted" in status["error-message"]


def test_e1005_for_a_signature_of_somebody_else_and_nothing_is_unpacked(
    host: Host, make_package: MakePackage, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    subprocess.run(["openssl", "genrsa", "-out", stranger, "2048"], check=True, capture_output=True)
    proof = host.appliance.root / "proof"

    host.post("/update", "-F", f"update=@{make_package(sign_key=stranger, script=f'touch {proof}')}")

    status = host.wait_for_job("/update")
    assert (status["percentage"], status["error-code"]) == (40, "E1005")
    assert "signature is not valid" in status["error-message"]
    assert not proof.exists()


def test_a_package_of_older_tools_is_accepted_only_when_configured(
    jidoteki_host: MakeHost, host: Host, make_package: MakePackage
) -> None:
    package = make_package(legacy=True)

    host.post("/update", "-F", f"update=@{package}")
    refused = host.wait_for_job("/update")
    host.configure(update={"legacy-packages": True})
    host.reload()
    host.post("/update", "-F", f"update=@{package}")
    accepted = host.wait_for_job("/update")

    assert (refused["error-code"], accepted["status"]) == ("E1005", "success")


@pytest.mark.parametrize("form", [[], ["-F", "update=;filename=empty"], ["-F", "other=x"]])
def test_a_missing_or_empty_package_is_refused(host: Host, form: list[str]) -> None:
    answer = host.post("/update", *form)

    assert answer.status == 400
    assert "update" in answer.json["Error-Message"]
    assert host.get("/update").body == b'{"status":null,"log":null}'


def test_a_dry_run_judges_the_package_and_leaves_the_appliance_alone(host: Host, make_package: MakePackage) -> None:
    proof = host.appliance.root / "proof"
    good = host.post("/update", "-F", f"update=@{make_package(script=f'touch {proof}')}", query="dry-run=1")
    bad = host.post("/update", "-F", f"update=@{make_package(version='0.1')}", query="dry-run=1")

    told = {"Status": "202 Accepted", "Location": "/api/v1/admin/update", "dry-run": True}
    assert told.items() <= good.json.items()
    assert (bad.status, bad.json["error-code"]) == (400, "E1001")
    assert not proof.exists()
    assert list(host.appliance.spool.iterdir()) == []
    assert list(host.appliance.uploads.iterdir()) == []
    assert host.get("/update").body == b'{"status":null,"log":null}'


@pytest.mark.parametrize("step", [10, 30, 50, 70])
def test_killed_in_the_middle_the_update_is_failed_and_the_next_one_works(
    host: Host, make_package: MakePackage, step: int
) -> None:
    id = host.post("/update", "-F", f"update=@{make_package(script='sleep 30', size=20_000_000)}").headers["Job-Id"]
    record = host.appliance.jobs / f"{id}.json"
    wait_until(lambda: json.loads(record.read_text())["percentage"] >= step and json.loads(record.read_text())["pid"])

    os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    status = host.wait_for_job("/update")
    wait_until(lambda: not (host.appliance.tmp / "update").exists())
    host.post("/update", "-F", f"update=@{make_package()}")
    after = host.wait_for_job("/update")

    assert (status["status"], status["error-code"]) == ("failed", "E1000")
    assert after["status"] == "success"
    assert host.get("/version").json == {"version": "1.1.0"}
    wait_until(lambda: not list(host.appliance.tmp.iterdir()))


def test_an_update_goes_on_when_the_service_is_killed_and_is_found_again(host: Host, make_package: MakePackage) -> None:
    script = "for i in $(seq 40); do echo step $i; sleep 0.2; done; [ -f $PWD/changelog.txt ] || exit 1"
    host.post("/update", "-F", f"update=@{make_package(script=script)}")
    wait_until(lambda: host.get("/update").json["percentage"] == 70)

    host.stop(signal.SIGKILL)
    host.start()

    assert host.get("/update").json["status"] == "running"
    assert host.post("/update", "-F", f"update=@{make_package()}").json["error-code"] == "E1004"
    assert host.wait_for_job("/update")["status"] == "success"
    assert "step 40" in host.get("/update/log").text
    assert host.get("/version").json == {"version": "1.1.0"}


def test_the_update_may_restart_the_service_that_runs_it(host: Host, make_package: MakePackage) -> None:
    assert host.process
    script = f"kill {host.process.pid}; sleep 1; echo survived"
    host.post("/update", "-F", f"update=@{make_package(script=script)}")
    assert host.process.wait(20) == 0
    host.process = None

    host.start()

    assert host.wait_for_job("/update")["status"] == "success"
    assert "survived" in host.get("/update/log").text


def test_a_daemon_left_behind_does_not_keep_the_next_update_from_starting(
    host: Host, make_package: MakePackage
) -> None:
    pid_file = host.appliance.root / "daemon.pid"
    script = f"setsid sleep 20 & echo $! > {pid_file}"
    host.post("/update", "-F", f"update=@{make_package(script=script)}")
    first = host.wait_for_job("/update")

    second = host.post("/update", "-F", f"update=@{make_package(version='1.2.0')}")

    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert (first["status"], second.status) == ("success", 202)
    assert host.wait_for_job("/update")["status"] == "success"


def test_a_big_upload_takes_little_memory_and_nobody_waits(host: Host, tmp_path: Path) -> None:
    big = tmp_path / "big"
    subprocess.run(["dd", "if=/dev/zero", f"of={big}", "bs=1M", "count=1024"], check=True, capture_output=True)
    assert host.process
    status_file = Path(f"/proc/{host.process.pid}/status")

    def peak() -> int:
        return int(next(line.split()[1] for line in status_file.read_text().splitlines() if line.startswith("VmHWM")))

    host.get("/version")
    before = peak()
    certificate = host.appliance.system_etc / "pki/tls/certs/enterprise.crt"
    other = http.client.HTTPSConnection(
        host.url.removeprefix("https://"), context=ssl.create_default_context(cafile=str(certificate)), timeout=10
    )
    with subprocess.Popen(
        ["curl", "-sk", f"{host.url}/api/v1/admin/update{host.query('POST', '/update')}", "-F", f"update=@{big}"],
        stdout=subprocess.PIPE,
    ) as upload:
        slowest = 0.0
        answered = 0
        while upload.poll() is None:
            started = time.monotonic()
            other.request("GET", f"/api/v1/admin/version{host.query('GET', '/version')}")
            assert other.getresponse().read() == b'{"version":"1.0.0"}'
            slowest = max(slowest, time.monotonic() - started)
            answered += 1
            time.sleep(0.01)

    assert answered >= 5
    assert slowest < 0.5 * slowness()
    assert peak() - before < 32 * 1024
    assert host.wait_for_job("/update")["error-code"] == "E1005"
