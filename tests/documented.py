"""Compares every answer that a test fetches from a host with what the OpenAPI document of that host promises."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import re
import ssl
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from jidoteki.core.cli import openapi
from jidoteki.testing import Answer, Host, InProcessClient

PREFIX = "/api/v1/admin"
UNSERVED = (400, 403, 404, 405, 503)
"""What a path that the document does not have may answer; 503 and 403 where its plugin is out of service."""
SLOW_IMPORTS = ["jidoteki.core.openapi", "jidoteki.core.cli.openapi", "jidoteki.testing", "jsonschema", "pytest"]


def document_of(host: Host) -> dict[str, Any]:
    """The document as the host serves it.

    :raises OSError: the host does not answer.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(f"{host.url}/docs/openapi.json", timeout=10, context=context) as response:
        document: dict[str, Any] = json.load(response)
    return document


def undocumented(document: dict[str, Any], method: str, path: str, answer: Answer) -> str | None:
    """Say what of an answer is not as the document has it; None when all is.

    :param path: with the prefix, without the query.
    """
    operation = _item(document, path.removesuffix("/")).get(method.lower())
    if operation is None:
        return None if answer.status in UNSERVED else f"{method} {path} answered {answer.status}, but is not described"
    responses = operation["responses"]
    response = responses.get(str(answer.status), responses.get(f"{answer.status // 100}XX"))
    if response is None:
        return f"{method} {path} answered {answer.status}, which is not described: {answer.body[:200]!r}"
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    problem = _content(document, response, answer)
    return f"{method} {path} answered {answer.status}, but {problem}" if problem else None


def _item(document: dict[str, Any], path: str) -> dict[str, Any]:
    """What the document says of a path, of which a part may be a parameter there."""
    templates = (
        each for each in document["paths"] if "{" in each and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path)
    )
    item: dict[str, Any] = document["paths"].get(path) or document["paths"].get(next(templates, ""), {})
    return item


def _content(document: dict[str, Any], response: dict[str, Any], answer: Answer) -> str | None:
    if "content" not in response:
        return f"with a body: {answer.body[:200]!r}" if answer.body else None
    media = content_type(answer)
    described = response["content"].get(media)
    if described is None:
        return f"as {media!r}"
    if media != "application/json" or "schema" not in described or not answer.body:
        return None
    schema = {**described["schema"], "components": document["components"]}
    try:
        jsonschema.validate(answer.json, schema, cls=jsonschema.Draft202012Validator)
    except jsonschema.ValidationError as error:
        return f"{error.json_path} {error.message}: {answer.body[:200]!r}"
    return None


def content_type(answer: Answer) -> str:
    """The media type of an answer, without parameters; empty when there is none."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return headers.get("content-type", "").partition(";")[0]


class Comparison:
    """What was answered, to be compared with the documents of the hosts that answered.

    A document is made by `jidoteki openapi` in a process of its own, so that the host under test has nothing to do with
    it, and once for all hosts of the same configuration and plugins.
    """

    def __init__(self, processes: ProcessPoolExecutor) -> None:
        self._processes = processes
        self._documents: dict[bytes, dict[str, Any]] = {}
        self._current: dict[int, dict[str, Any]] = {}
        self._seen: list[tuple[dict[str, Any], str, str, Answer]] = []

    def started(self, host: Host | InProcessClient) -> None:
        """A host has just read its configuration."""
        key = _fingerprint(host)
        if key not in self._documents:
            made = self._processes.submit(_make_document, str(host.appliance.root)).result(60)
            self._documents[key] = json.loads(made)
        self._current[id(host)] = self._documents[key]

    def answered(self, host: Host | InProcessClient, method: str, path: str, answer: Answer) -> None:
        """A host has answered; compared later, so that no test takes the time for it for the host's."""
        kept = answer if "json" in content_type(answer) else Answer(answer.status, answer.headers, answer.body[:200])
        self._seen.append((self._current[id(host)], method, f"{PREFIX}{path}".partition("?")[0], kept))

    def problems(self) -> list[str]:
        """All that was not as described since this was last asked."""
        seen, self._seen = self._seen, []
        return [problem for each in seen if (problem := undocumented(*each))]


def _make_document(root: str) -> str:
    return CliRunner().invoke(openapi.command, ["--root", root]).stdout


def _fingerprint(host: Host | InProcessClient) -> bytes:
    plugins = sorted((host.appliance.system_etc / "plugins").glob("*.py"))
    digest = hashlib.sha256()
    for path in [host.appliance.configuration, *plugins]:
        digest.update(f"{path.name} ".encode())
        with suppress(OSError), open(path if path.is_file() else os.devnull, "rb") as file:
            digest.update(file.read(1024 * 1024))  # one that somebody made without an end is told by its beginning
    return digest.digest()


def _wrapping(original: Any, wrapper: Any) -> Any:
    return functools.wraps(original)(wrapper)


@pytest.fixture(scope="session", autouse=True)
def _comparison() -> Iterator[Comparison]:
    """See all that hosts of the kit answer."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(SLOW_IMPORTS)
    processes = ProcessPoolExecutor(1, context, max_tasks_per_child=1)
    comparison = Comparison(processes)

    def start(host: Host, *arguments: str, **options: Any) -> Host:
        started: Host = originals["start"](host, *arguments, **options)
        comparison.started(host)
        return started

    def reload(host: Host) -> None:
        originals["reload"](host)
        comparison.started(host)

    def curl(host: Host, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
        answer: Answer = originals["curl"](host, method, path, *arguments, **options)
        comparison.answered(host, method, path, answer)
        return answer

    def request(host: Host, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
        answer: Answer = originals["request"](host, method, path, *arguments, **options)
        comparison.answered(host, method, path, answer)
        return answer

    def begin(client: InProcessClient, *arguments: Any, **options: Any) -> None:
        begin_client(client, *arguments, **options)
        comparison.started(client)

    async def call(client: InProcessClient, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
        answer = await call_client(client, method, path, *arguments, **options)
        comparison.answered(client, method, path, answer)
        return answer

    wrappers = {"start": start, "reload": reload, "curl": curl, "request": request}
    originals: dict[str, Any] = {name: getattr(Host, name) for name in wrappers}
    begin_client, call_client = InProcessClient.__init__, InProcessClient.request
    with pytest.MonkeyPatch.context() as patch:
        for name, wrapper in wrappers.items():
            patch.setattr(Host, name, _wrapping(originals[name], wrapper))
        patch.setattr(InProcessClient, "__init__", _wrapping(begin_client, begin))
        patch.setattr(InProcessClient, "request", _wrapping(call_client, call))
        yield comparison
    processes.shutdown()


@pytest.fixture(autouse=True)
def _every_answer_is_documented(_comparison: Comparison) -> Iterator[None]:
    """Compare whatever hosts answered during a test with their documents."""
    yield
    problems = _comparison.problems()
    assert not problems, "\n".join(problems)
