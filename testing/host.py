"""A host in a process of its own, and requests to it as its users make them."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from jidoteki.core.appliance import Appliance
from jidoteki.core.jobs import processes
from jidoteki.core.jobs.records import Records
from jidoteki.hookspecs import PREFIX, programs
from jidoteki.testing import forked
from jidoteki.testing.calls import Answer, audit_lines, configure, credential, is_audited
from jidoteki.testing.forms import form

COMMAND = (sys.executable, "-c", "from jidoteki.core.cli import main; main()")
START_TIMEOUT = 20.0


def wait_until(condition: Callable[[], Any], seconds: float = 20.0, interval: float = 0.02) -> Any:
    """Return the first true value of `condition`.

    :raises AssertionError: it timed out.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(interval)
    raise AssertionError(f"not so within {seconds:g} seconds")


class Host:
    """A running `jidoteki serve` on a temporary appliance.

    :param appliance: with a root that `jidoteki init` made.
    :param token: the valid API token.
    """

    #: What is run as `jidoteki`.
    _command = COMMAND

    def __init__(self, appliance: Appliance, token: str | None) -> None:
        self.appliance = appliance
        self.token = token
        self.url = ""
        self.plain_url = ""
        self.process: subprocess.Popen[str] | forked.ForkedProcess | None = None
        #: The same while it listens, as far as the test itself lets it.
        self._up: subprocess.Popen[str] | forked.ForkedProcess | None = None
        self._own = tempfile.TemporaryDirectory(prefix="jidoteki-host-", ignore_cleanup_errors=True)
        self._directory = Path(self._own.name)
        self.error_file = self._directory / "errors"
        """The file with its standard error."""

    def configure(self, **sections: Any) -> None:
        """Change keys of the configuration; `_` in a name stands for `-`. Call `start` or `reload` afterwards."""
        configure(self.appliance, sections)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, prefix: tuple[str, ...] = ()) -> Host:
        """Start the host and wait until it listens.

        :param arguments: more arguments of `jidoteki serve`.
        :param prefix: a command that runs it.
        """
        argv = ["serve", "--root", str(self.appliance.root), "--port", "0", *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("JIDO")}
        with self.error_file.open("ab") as errors:
            if env or prefix or self._command is not COMMAND:
                self.process = subprocess.Popen(
                    [*prefix, *self._command, *argv], stdout=subprocess.PIPE, stderr=errors, text=True,
                    env=environment | dict(env or {}), start_new_session=True,
                )  # fmt: skip
            else:
                self.process = forked.start(argv, environment, errors.fileno())
        assert self.process.stdout
        for _ in range(2 if "--http-port" in arguments else 1):
            line = self.process.stdout.readline()
            if not line.startswith("Listening on "):
                raise AssertionError(f"The host did not start: {self.errors()}")
            url = line.split()[-1].removesuffix(PREFIX)
            if url.startswith("https"):
                self.url = url
            else:
                self.plain_url = url
        self._up = self.process
        return self

    def errors(self) -> str:
        """Return its standard error."""
        return self.error_file.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the host and return its exit status."""
        if self.process is None:
            return 0
        self._up = None
        self.process.send_signal(number)
        status = self.process.wait(20)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None
        return status

    def end(self) -> None:
        """Stop the host if it runs, and kill remaining jobs, so that nothing writes to its root any more."""
        self.stop()
        for record in Records(self.appliance.jobs).all():
            if record.pid:
                processes.kill_rest(record.pid, f"{programs.ADMIN}={self.appliance.admin}")

    def reload(self) -> None:
        """Let the host reload its configuration, and wait until it has."""
        assert self.process
        log = self.appliance.log / "jidoteki-admin-api.log"
        before = log.read_text().count("The configuration was read again")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log.read_text().count("The configuration was read again") > before)

    def query(self, method: str, path: str, auth: str = "hash") -> str:
        """Return the query that authenticates a request; `auth` is hash, token or none."""
        asked = credential(method, path, self.token, auth)
        return f"?{asked}" if asked else ""

    @property
    def certificate(self) -> Path:
        """The path of its certificate, for clients to trust."""
        return self.appliance.system_etc / "pki/tls/certs/enterprise.crt"

    def curl(
        self, method: str, path: str, *arguments: str, auth: str = "hash", query: str = "", source: str = "127.0.0.1"
    ) -> Answer:
        """Make a request with curl over TLS.

        :param path: without the prefix.
        :param arguments: more arguments of curl, such as `-F`, `name=value`.
        :param query: a further part of the query, such as `dry-run=1`.
        :param source: the loopback address to connect from.
        """
        asked = "&".join(each for each in (self.query(method, path, auth).removeprefix("?"), query) if each)
        with tempfile.TemporaryDirectory(dir=self._directory) as directory:
            body, head = Path(directory, "body"), Path(directory, "head")
            body.touch()
            how = ["--head"] if method == "HEAD" else ["-X", method]
            where = os.devnull if method == "HEAD" else str(body)
            url = f"{self.url}{PREFIX}{path}{'?' if asked else ''}{asked}"
            done = subprocess.run(
                ["curl", "-sS", "--cacert", str(self.certificate), "--interface", source, "--max-time", "120",
                 "-o", where, "-D", str(head), *how, url, *arguments],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            blocks = head.read_text().replace("\r", "").rstrip("\n").split("\n\n") if head.exists() else [""]
            lines = blocks[-1].split("\n")
            if not lines[0]:
                raise AssertionError(f"curl failed: {done.stderr}{self.errors()}")
            headers = {name: value for name, _, value in (line.partition(": ") for line in lines[1:])}
            return Answer(int(lines[0].split()[1]), headers, body.read_bytes())

    def request(
        self,
        method: str,
        path: str,
        values: Mapping[str, str | bytes] | None = None,
        auth: str = "hash",
        query: str = "",
    ) -> Answer:
        """Make a request over TLS from Python, without running curl.

        :param path: without the prefix.
        :param values: the form; bytes are sent as a file. For GET and HEAD a part of the query.
        """
        fields = dict(values or {})
        asked = [self.query(method, path, auth).removeprefix("?"), query]
        if method in ("GET", "HEAD"):
            asked.append(urlencode(fields))
            fields = {}
        body, headers = form(fields)
        context = ssl.create_default_context(cafile=self.certificate)
        server = urlsplit(self.url)
        connection = http.client.HTTPSConnection(str(server.hostname), server.port, timeout=120, context=context)
        try:
            connection.request(method, f"{PREFIX}{path}?{'&'.join(filter(None, asked))}", body, headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str, *arguments: str, **options: str) -> Answer:
        """Make a GET request with `curl`."""
        return self.curl("GET", path, *arguments, **options)

    def post(self, path: str, *arguments: str, **options: str) -> Answer:
        """Make a POST request with `curl`."""
        return self.curl("POST", path, *arguments, **options)

    def wait_for_job(self, path: str, seconds: float = 60.0) -> dict[str, Any]:
        """Poll the status at `path` until it is no longer `running`, and return it; the host may restart meanwhile."""

        def ended() -> dict[str, Any] | None:
            up = self._up
            try:
                answer = self.get(path)
            except AssertionError:
                if up and up is self._up:
                    raise
                return None
            assert answer.status == 200, answer
            status: dict[str, Any] = answer.json
            return status if status["status"] != "running" else None

        result: dict[str, Any] = wait_until(ended, seconds)
        return result

    def audit(self) -> list[list[str]]:
        """Return the lines of the audit log: time, id, location, user, action, target."""
        return audit_lines(self.appliance)

    def assert_audited(self, action: str, target: str) -> None:
        """Assert that the audit log gets a line with this action and a target that begins with `target`.

        :param action: such as `request.done`.
        :param target: such as `POST /api/v1/admin/setup 200`.
        :raises AssertionError: it has none within five seconds; the message has its lines.
        """
        try:
            wait_until(lambda: is_audited(self.appliance, action, target), seconds=5)
        except AssertionError:
            raise AssertionError(f"No line {action} {target} in the audit log: {self.audit()}") from None
