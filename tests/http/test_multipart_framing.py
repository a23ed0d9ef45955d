"""Multipart forms with any valid framing, in pieces of any size."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jidoteki.core.http.multipart_forms import MAX_PADDING, Padding
from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN

SETTINGS = json.dumps({"app": {"a": 1}}).encode()
DISPOSITION = b'Content-Disposition: form-data; name="settings"'
MULTIPART = "multipart/form-data; boundary=XbX"


def form(
    padding: bytes = b"", disposition: bytes = DISPOSITION, content: bytes = SETTINGS, end: bytes = b"--"
) -> bytes:
    delimiter = b"--XbX" + padding
    return delimiter + b"\r\n" + disposition + b"\r\n\r\n" + content + b"\r\n--XbX" + end + padding + b"\r\n"


@pytest.fixture(scope="module")
def host(jidoteki_module_host: Host) -> Host:
    return jidoteki_module_host


def status(host: Host, body: bytes, kind: str = MULTIPART, pieces: int = 0) -> int:
    """Return the status for a form, sent in pieces of that many bytes, or at once for 0."""
    context = ssl.create_default_context(cafile=str(host.certificate))
    server = urlsplit(host.url)
    with contextlib.closing(http.client.HTTPSConnection(str(server.hostname), server.port, context=context)) as client:
        content = (body[at : at + pieces] for at in range(0, len(body), pieces)) if pieces else body
        path = f"{PREFIX}/settings?token={TOKEN}&dry-run=1"
        client.request("POST", path, content, {"Content-Type": kind}, encode_chunked=bool(pieces))
        return client.getresponse().status


@pytest.mark.parametrize("pieces", [0, 1, 7])
@pytest.mark.parametrize("padding", [b"", b" ", b"\t", b"  \t ", b" " * MAX_PADDING])
def test_blanks_behind_a_delimiter_mean_nothing(host: Host, padding: bytes, pieces: int) -> None:
    assert status(host, form(padding), pieces=pieces) == 202


@pytest.mark.parametrize(
    "body",
    [
        form(b" " * (MAX_PADDING + 1)),
        form(b" x"),
        form().replace(b"\r\n--XbX--", b"\r\n--XbX --"),
        form(content=SETTINGS[:5] + b"--XbX \r\n" + SETTINGS[5:]),  # this is content, and not JSON
    ],
    ids=["too many", "more than blanks", "blanks within", "not at the beginning of a line"],
)
def test_what_is_no_delimiter_is_not_made_one(host: Host, body: bytes) -> None:
    assert status(host, body) == 400


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data;\tboundary=XbX", "multipart/form-data \t;\t boundary=XbX",
        'multipart/form-data; boundary="XbX"',
        'multipart/form-data; boundary="Xb\\X"', 'multipart/form-data; boundary="\\X\\b\\X"; charset="a\\"b"',
        'multipart/form-data; charset="\\"; boundary=no\\""; boundary=XbX', "Multipart/Form-Data; BOUNDARY=XbX",
    ],
)  # fmt: skip
def test_a_boundary_is_named_as_any_parameter(host: Host, kind: str) -> None:
    assert status(host, form(), kind) == 202


def test_a_tab_in_the_header_of_a_part_is_a_blank(host: Host) -> None:
    assert status(host, form(disposition=DISPOSITION.replace(b"; ", b";\t"))) == 202


PIECE = st.sampled_from([b"\r\n--XbX", b"--XbX", b" ", b"\t", b"\r\n", b"\r", b"x", b"--"])


@given(st.lists(PIECE, max_size=20).map(b"".join), st.integers(1, 12))
def test_in_pieces_the_same_is_taken_out_and_nothing_but_blanks_behind_delimiters(content: bytes, size: int) -> None:
    padding = Padding("XbX")

    rest = b"".join(padding.taken_out_of(content[at : at + size]) for at in range(0, len(content), size))

    lines = re.sub(rb"(\r\n--XbX)[ \t]+(?=\r|\Z)", rb"\1", b"\r\n" + content)[2:]
    assert rest == re.sub(rb"((?:\A|\r\n)--XbX)[ \t]+(?!\r|[ \t]|\Z)", rb"\1 ", lines)
