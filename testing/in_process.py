"""A client of a service in the test's own event loop, so that breakpoints work in handlers and jobs."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from aiohttp.test_utils import BaseTestServer, TestClient
from yarl import URL

from jidoteki.core.appliance import Appliance
from jidoteki.core.http.protocol import make_request
from jidoteki.core.service.pipeline import Pipeline
from jidoteki.core.service.service import Service
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import job_threads
from jidoteki.testing.calls import Answer, audit_lines, credential, is_audited
from jidoteki.testing.forms import form
from jidoteki.testing.job_threads import JobThread

#: The header that identifies the request of a handler's exception.
NUMBER = "Jidoteki-Test-Request"
SHUTDOWN_TIMEOUT = 1.0
LOOK_EACH = 0.01
#: Options of aiohttp's session, without a timeout, as a breakpoint may take any time.
SESSION: dict[str, Any] = {"timeout": ClientTimeout(total=None), "auto_decompress": False}

_raised: contextvars.ContextVar[list[BaseException]] = contextvars.ContextVar("raised")


class _Log(logging.Handler):
    """A log handler that keeps the service's errors, and assigns exceptions to the requests that they ended."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []
        self.first: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self.first = self.first or error
            _raised.get([]).append(error)


class ServiceServer(BaseTestServer):
    """A server of an appliance over plain HTTP, based on aiohttp's test server.

    :param jobs: the jobs that run in this process.
    """

    def __init__(self, appliance: Appliance, jobs: list[JobThread]) -> None:
        super().__init__()
        #: Exceptions of handlers, by the number of the request.
        self.raised: dict[str, BaseException] = {}
        self.log = _Log()
        logging.getLogger("jidoteki").addHandler(self.log)
        self._jobs = jobs
        self._service = Service(appliance, appliance.configuration)
        self._pipeline = Pipeline(self._service)

    async def _make_runner(self, **options: Any) -> web.ServerRunner:
        await self._service.start()
        server = web.Server(self._answer, request_factory=make_request, auto_decompress=False, access_log=None)
        return web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        errors: list[BaseException] = []
        _raised.set(errors)
        response = await self._pipeline(request)
        if errors:
            self.raised[request.headers.get(NUMBER, "")] = errors[0]
        return response

    async def close(self) -> None:
        """Stop the service and the jobs that still run."""
        if self.closed:
            return
        try:
            await super().close()
            await job_threads.end(self._jobs)
            await self._service.stop()
        finally:
            logging.getLogger("jidoteki").removeHandler(self.log)


class InProcessClient:
    """A client of a service that runs in the test's own event loop, with its jobs in threads of the test's process.

    Requests are authenticated by default. Exceptions of handlers and jobs, except those of the contract, are raised by
    the next call of this client that learns of them.

    :param appliance: the served appliance.
    :param token: the valid API token.
    :param client: aiohttp's client of `server`.
    :param jobs: the jobs that run in this process.
    :param raise_server_exceptions: whether such exceptions are raised; else the response is 500, or the job failed.
    """

    def __init__(
        self,
        appliance: Appliance,
        token: str | None,
        client: TestClient[Any, Any],
        server: ServiceServer,
        jobs: list[JobThread],
        raise_server_exceptions: bool = True,
    ) -> None:
        self.appliance = appliance
        self.token = token
        self.raise_server_exceptions = raise_server_exceptions
        self._client = client
        self._server = server
        self._jobs = jobs
        self._numbers = map(str, itertools.count())

    async def request(
        self,
        method: str,
        path: str,
        values: Mapping[str, str | bytes] | None = None,
        auth: str = "hash",
        query: str = "",
        headers: Mapping[str, str] | None = None,
        source: str = "",
    ) -> Answer:
        """Make a request.

        :param path: without the prefix.
        :param values: the form; bytes are sent as a file. For GET and HEAD a part of the query.
        :param auth: hash, token or none.
        :param query: a further part of the query, such as `dry-run=1`.
        :param source: the loopback address to connect from; by default that of all other requests.
        :raises Exception: an exception of the handler, or of a job since the last request.
        """
        fields = dict(values or {})
        asked = [credential(method, path, self.token, auth), query]
        if method in ("GET", "HEAD"):
            asked.append(urlencode(fields))
            fields = {}
        body, described = form(fields)
        number = next(self._numbers)
        url = URL(f"{PREFIX}{path}?{'&'.join(filter(None, asked))}", encoded=True)
        async with self._session(source) as session:
            async with session.request(
                method,
                self._client.make_url(url),
                data=body,
                headers={**described, **(headers or {}), NUMBER: number},
                allow_redirects=False,
            ) as response:
                answer = Answer(response.status, dict(response.headers), await response.read())
        self._raise(number)
        return answer

    @asynccontextmanager
    async def _session(self, source: str) -> AsyncIterator[ClientSession]:
        if not source:
            yield self._client.session
            return
        async with ClientSession(connector=TCPConnector(local_addr=(source, 0)), **SESSION) as session:
            yield session

    def _raise(self, number: str) -> None:
        """Raise the exception of a request's handler, or of any job, each once."""
        errors = [self._server.raised.pop(number, None), *[job.take_fault() for job in self._jobs]]
        for error in errors:
            if error and self.raise_server_exceptions:
                raise error

    async def get(self, path: str, values: Mapping[str, str | bytes] | None = None, **options: Any) -> Answer:
        """Make a GET request: `request` with the same options."""
        return await self.request("GET", path, values, **options)

    async def post(self, path: str, values: Mapping[str, str | bytes] | None = None, **options: Any) -> Answer:
        """Make a POST request: `request` with the same options."""
        return await self.request("POST", path, values, **options)

    async def wait_for_job(self, path: str, seconds: float = 60.0) -> dict[str, Any]:
        """Poll the status at `path` until it is no longer `running`, and return it.

        :raises AssertionError: it timed out.
        :raises Exception: an exception of the job.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = await self.get(path)
            assert answer.status == 200, answer
            status: dict[str, Any] = answer.json
            if status["status"] != "running":
                return status
            await asyncio.sleep(LOOK_EACH)
        raise AssertionError(f"{path} is still running after {seconds:g} seconds")

    def audit(self) -> list[list[str]]:
        """Return the lines of the audit log: time, id, location, user, action, target."""
        return audit_lines(self.appliance)

    async def assert_audited(self, action: str, target: str, seconds: float = 5.0) -> None:
        """Assert that the audit log gets a line with this action and a target that begins with `target`.

        :param action: such as `request.done`.
        :param target: such as `POST /api/v1/admin/setup 200`.
        :raises AssertionError: it has none within `seconds`; the message has its lines.
        """
        deadline = time.monotonic() + seconds
        while not is_audited(self.appliance, action, target):
            if time.monotonic() > deadline:
                raise AssertionError(f"No line {action} {target} in the audit log: {self.audit()}")
            await asyncio.sleep(LOOK_EACH)
