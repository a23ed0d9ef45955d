"""The operations of the document: parameters and responses of each method of a path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jidoteki.core import json_schema
from jidoteki.core.http.routes import SAFE, Route, Routes, first_level, parameter_of
from jidoteki.core.openapi import components, security, starting
from jidoteki.hookspecs import PREFIX, Described, Endpoint, Upload
from jidoteki.hookspecs.trials import MAX_SECONDS, MIN_SECONDS

FILES = ("text/plain", "application/octet-stream")
ANYTHING = ("application/json", *FILES)
ACCEPTED = {"$ref": "#/components/schemas/Accepted"}
OTHER_ERRORS = {status: {"$ref": "#/components/responses/OtherError"} for status in ("4XX", "5XX")}


def describe(routes: Routes, route: Route) -> dict[str, Any]:
    """Return the operation object of a route."""
    endpoint = route.endpoint
    summary = endpoint.summary or f"{endpoint.method} {endpoint.path}"
    operation: dict[str, Any] = {
        "operationId": _identity(endpoint),
        "summary": summary,
        "tags": [first_level(endpoint.path)[1:]],
        "responses": _responses(route, endpoint),
        **security.scopes(routes, endpoint.method, endpoint.path, route.changes),
        **starting.described(routes, route),
    }
    if endpoint.starts:
        operation["description"] = f"Refused with 400 while the job {endpoint.starts}, or one that excludes it, runs."
    parameters = _query(route, endpoint)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body:
        operation["requestBody"] = {"required": True, "content": {endpoint.body: {}}}
    elif endpoint.method not in SAFE:
        operation["requestBody"] = _body(route, endpoint)
    if (endpoint.method, endpoint.path) == ("POST", "/setup"):
        operation["security"] = [*security.requirements(routes.authentication), {}]
        operation["description"] = "Needs no credential as long as no token is set."
    return operation


def describe_head(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the HEAD operation of a GET operation: with the same headers and no content."""
    responses = {
        status: {key: each for key, each in _resolved(response).items() if key != "content"}
        for status, response in operation["responses"].items()
    }
    kept = {key: each for key, each in operation.items() if key in ("tags", "parameters", "security", security.SCOPES)}
    return {
        "operationId": operation["operationId"].replace("get", "head", 1),
        "summary": f"{operation['summary']}: the headers only",
        **kept,
        "responses": responses,
    }


def _resolved(response: Mapping[str, Any]) -> Mapping[str, Any]:
    name = response.get("$ref", "").rpartition("/")[2]
    resolved: Mapping[str, Any] = components.RESPONSES[name] if name else response
    return resolved


def _identity(endpoint: Endpoint) -> str:
    words = "".join(c if c.isalnum() else " " for c in endpoint.path).split()
    return endpoint.method.lower() + "".join(word.capitalize() for word in words)


def _form(route: Route, endpoint: Endpoint) -> json_schema.Schema:
    assert route.form is not None
    return json_schema.of_form(endpoint.parameters, route.form.kinds)


def _query(route: Route, endpoint: Endpoint) -> list[dict[str, Any]]:
    form = _form(route, endpoint)
    in_path = parameter_of(endpoint.path)
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path" if name == in_path else "query",
            "required": name in form.get("required", ()),
            "schema": schema,
        }
        for name, schema in form["properties"].items()
        if endpoint.method == "GET" or name == in_path
    ]
    if route.changes:
        parameters.append({"$ref": "#/components/parameters/dry-run"})
    if _may_be_empty(endpoint):
        parameters.append({"$ref": "#/components/parameters/prefer"})
    if endpoint.confirm is not None:
        parameters.append({"$ref": "#/components/parameters/confirm"})
    if _may_have_key(endpoint):
        parameters.append({"$ref": "#/components/parameters/idempotency-key"})
    return parameters


def _may_have_key(endpoint: Endpoint) -> bool:
    return endpoint.method == "POST" and not endpoint.body


def _may_be_empty(endpoint: Endpoint) -> bool:
    """Return whether there may be nothing to show, which who prefers 204 is not told as an error."""
    return endpoint.method == "GET" and 404 in endpoint.responses


PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "nothing=204: the status is 204, and not 404, where there is nothing to show",
    "schema": {"type": "string", "examples": ["nothing=204"]},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A name of your choice for this request: sent again within 24 hours, it is answered as before and "
    "not carried out twice",
    "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"},
}
CONFIRM = {
    "name": "confirm",
    "in": "query",
    "description": "Seconds within which the change must be confirmed; otherwise everything is put back as it was",
    "schema": {"type": "integer", "minimum": MIN_SECONDS, "maximum": MAX_SECONDS},
}
DRY_RUN = {
    "name": "dry-run",
    "in": "query",
    "description": "1: everything is checked and answered as for real, and nothing is changed",
    "schema": {"type": "string", "enum": ["1", "true", "", "0", "false"]},
}


def _body(route: Route, endpoint: Endpoint) -> dict[str, Any]:
    assert route.form is not None
    form = _form(route, endpoint)
    in_path = parameter_of(endpoint.path)
    if in_path:
        form["properties"].pop(in_path, None)
        form["required"] = [name for name in form.get("required", ()) if name != in_path]
    examples = {title: {"value": dict(values)} for title, values in endpoint.examples.items()}
    extra = {"examples": examples} if examples else {}
    json_names = [name for name, kind in route.form.kinds.items() if name != in_path and json_schema.is_json(kind)]
    multipart: dict[str, Any] = {"schema": form, **extra}
    if json_names:
        multipart["encoding"] = {name: {"contentType": "application/json"} for name in json_names}
    content = {"multipart/form-data": multipart}
    uploads = any(isinstance(each, Upload) for each in route.form.kinds.values())
    if not uploads and not json_names:
        content["application/x-www-form-urlencoded"] = {"schema": form, **extra}
    return {"required": bool(form.get("required")), "content": content}


def _responses(route: Route, endpoint: Endpoint) -> dict[str, Any]:
    statuses = [*components.EVERYWHERE, *(components.WITH_BODY if endpoint.method not in SAFE else ())]
    statuses += components.WITH_KEY if _may_have_key(endpoint) else ()
    responses: dict[int, Any] = {status: components.shared_error(status) for status in statuses}
    for status, said in (endpoint.responses or _default_responses(route)).items():
        described = said if isinstance(said, Described) else _by_default(endpoint, status, said)
        if status >= 400:
            responses[status] = components.error(status, described.description)
        else:
            known = isinstance(said, Described) or status == 202
            responses[status] = _success(status, described, (described.media,) if known else ANYTHING)
    if _may_be_empty(endpoint):
        responses[204] = components.NOTHING
    if _is_file(responses.get(200, {})):
        responses |= _partial(responses[200])
    answers = {str(status): responses[status] for status in sorted(responses)}
    return answers if route.plugin.source.trusted else answers | OTHER_ERRORS


def _default_responses(route: Route) -> dict[int, str]:
    return {200: "Done", 202: "A job was started"} if route.changes else {200: "The answer"}


def _by_default(endpoint: Endpoint, status: int, description: str) -> Described:
    """Return the description of a response for which only a sentence is declared."""
    accepted = {"Status": "202 Accepted", "Location": PREFIX + endpoint.path}
    return Described(description, examples=(accepted,) if status == 202 else ())


def _success(status: int, described: Described, media: tuple[str, ...]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": described.description}
    if status == 204:
        return response
    body: dict[str, Any] = {}
    schema = ACCEPTED if status == 202 and described.schema is None else described.schema
    if schema is not None:
        body["schema"] = dict(schema)
    if len(described.examples) == 1:
        body["example"] = described.examples[0]
    elif described.examples:
        body["examples"] = {str(number): {"value": each} for number, each in enumerate(described.examples, start=1)}
    response["content"] = dict.fromkeys(media, body)
    if status == 202:
        response["headers"] = components.headers("Location", "Job-Id")
    elif "application/octet-stream" in media:
        response["headers"] = components.headers("Content-Disposition")
    return response


def _is_file(response: Mapping[str, Any]) -> bool:
    return any(media in response.get("content", {}) for media in FILES)


def _partial(response: Mapping[str, Any]) -> dict[int, Any]:
    """Return the responses to requests with a Range or a condition."""
    content: dict[str, Any] = {media: {} for media in FILES if media in response["content"]}
    part = {"description": "The part asked for", "headers": components.headers("Content-Range"), "content": content}
    names = {304: "NotModified", 412: "PreconditionFailed", 416: "RangeNotSatisfiable"}
    return {206: part, **{status: {"$ref": f"#/components/responses/{name}"} for status, name in names.items()}}
