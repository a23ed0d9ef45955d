"""The exceptions of the client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

MAX_MESSAGE: Final = 1000
MAX_CODE: Final = 64


class ClientError(Exception):
    """A request that failed; the message is a sentence for a person."""


class UnreachableError(ClientError):
    """A missing or incomplete response: wrong address, untrusted certificate, lost connection, or timeout."""


class UntrustedError(UnreachableError):
    """The appliance shows a certificate that is not trusted."""


class ConnectionLostError(UnreachableError):
    """The connection broke once it was there: what was asked for may have been done."""


class ApiResponseError(ClientError):
    """An error response of the appliance.

    :param status: the HTTP status.
    :param message: the appliance's message, or else the status in words.
    :param code: the error code for scripts, such as `E1004`; None if the response has none.
    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        #: Whether the appliance says that the same request may be made again later.
        self.again = False


class JobOutcomeError(ClientError):
    """A job that did not succeed, or whose end is unknown.

    :param message: the appliance's message.
    :param code: the error code, such as `E1001`; None if there is none.
    :param status: the last known status.
    """

    def __init__(self, message: str, code: str | None = None, status: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status or {}


def response_error(status: int, headers: Mapping[str, str], body: bytes) -> ApiResponseError:
    """Return the exception for an error response."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    told = document if isinstance(document, dict) else {}
    message = told.get("Error-Message") or headers.get("Error-Message") or told.get("Status") or _in_words(status)
    if told.get("First-Run") is True:
        message = f"{message} (the first run waits for its passphrase: POST /setup?token=PASSPHRASE)"
    code = told.get("error-code")
    problem = ApiResponseError(status, sentence(message), None if code is None else sentence(code, MAX_CODE))
    problem.again = "Retry-After" in headers
    return problem


def sentence(said: object, limit: int = MAX_MESSAGE) -> str:
    """Return a text of an appliance as one line without characters that control a terminal.

    :param limit: characters to keep.
    """
    text = str(said)
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def _in_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"The appliance answered with status {status}"
