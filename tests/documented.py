"""Compares answers of a host with what its own OpenAPI document promises.

As a pytest plugin (`-p documented`) it does so for every answer that any test fetches through the kit's `Host.curl`.
"""

from __future__ import annotations

import functools
import json
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from jidoteki.testing import Answer, Host

PREFIX = "/api/v1/admin"
UNSERVED = (400, 404, 405, 503)
"""What a path that the document does not have may answer: 503 where its plugin is out of service."""


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
    operation = document["paths"].get(path, {}).get(method.lower())
    if operation is None:
        return None if answer.status in UNSERVED else f"{method} {path} answered {answer.status}, but is not described"
    responses = operation["responses"]
    response = responses.get(str(answer.status), responses.get("default"))
    if response is None:
        return f"{method} {path} answered {answer.status}, which is not described: {answer.body[:200]!r}"
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    problem = _content(document, response, answer)
    return f"{method} {path} answered {answer.status}, but {problem}" if problem else None


def _content(document: dict[str, Any], response: dict[str, Any], answer: Answer) -> str | None:
    if "content" not in response:
        return f"with a body: {answer.body[:200]!r}" if answer.body else None
    headers = {name.lower(): value for name, value in answer.headers.items()}
    media = headers.get("content-type", "").partition(";")[0]
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


@pytest.fixture(autouse=True)
def every_answer_is_documented(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compare whatever `Host.curl` fetches during a test with the host's document."""
    problems: list[str] = []
    fetch = Host.curl

    @functools.wraps(fetch)
    def curl(host: Host, method: str, path: str, *arguments: str, **options: Any) -> Answer:
        answer = fetch(host, method, path, *arguments, **options)
        try:
            document = document_of(host)
        except OSError:  # the test keeps the host from answering anything more
            return answer
        problem = undocumented(document, method, f"{PREFIX}{path}".partition("?")[0], answer)
        if problem:
            problems.append(problem)
        return answer

    monkeypatch.setattr(Host, "curl", curl)
    yield
    assert problems == []
