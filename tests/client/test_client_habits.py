"""What clients do that the documentation does not say, and that works all the same."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost

FORM = {"Content-Type": "multipart/form-data; boundary=XbX"}
END = b"\r\n--XbX--\r\n"


@pytest.fixture(scope="module")
def host(jidoteki_module_host: Host) -> Host:
    return jidoteki_module_host


def tls_client(host: Host) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(host.certificate))
    return http.client.HTTPSConnection(host.url.removeprefix("https://"), timeout=60, context=context)


def part(name: str, content: bytes, more: bytes = b"", filename: bytes = b'; filename="f"') -> bytes:
    head = b'--XbX\r\n%sContent-Disposition: form-data; name="%s"%s\r\n\r\n' % (more, name.encode(), filename)
    return head + content


def send(host: Host, path: str, body: bytes | Iterable[bytes], headers: dict[str, str]) -> tuple[int, str]:
    """One request with the token and `dry-run=1`; what is an iterable is sent in as many pieces, each in its packet."""
    with contextlib.closing(tls_client(host)) as client:
        pieces = [body] if isinstance(body, bytes) else list(body)
        client.putrequest("POST", f"{PREFIX}{path}?token={TOKEN}&dry-run=1")
        for name, value in {**headers, "Content-Length": str(sum(map(len, pieces)))}.items():
            client.putheader(name, value)
        client.endheaders()
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.1)
            client.send(piece)
        answer = client.getresponse()
        return answer.status, answer.read().decode()


NEW_TOKEN = part("newtoken", b"abc", filename=b"")
WHOLE = NEW_TOKEN + END
FORMS: dict[str, list[bytes]] = {
    "the last line end in a packet of its own": [WHOLE[:-2], WHOLE[-2:]],
    "the last line feed in a packet of its own": [WHOLE[:-1], WHOLE[-1:]],
    "the last boundary in pieces": [WHOLE[:-6], WHOLE[-6:-4], WHOLE[-4:-3], WHOLE[-3:]],
    "no last line end": [WHOLE[:-2]],
    "an epilogue": [WHOLE + b"This is what follows.\r\n"],
    "an epilogue in packets of its own": [WHOLE, b"This is ", b"what follows.\r\n"],
    "a preamble": [b"This is no part.\r\n" + WHOLE],
    "a preamble in a packet of its own": [b"This is no part of", b" the form.\r\n", WHOLE],
    "the first boundary in pieces": [WHOLE[:2], WHOLE[2:4], WHOLE[4:]],
    "a header on two lines": [WHOLE.replace(b"; name", b";\r\n name")],
    "binary, said so": [part("newtoken", b"abc", b"Content-Transfer-Encoding: binary\r\n", b"") + END],
    "eight bits, said so": [part("newtoken", b"abc", b"content-transfer-encoding: 8BIT\r\n", b"") + END],
}


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_that_mime_allows_is_taken_whatever_its_packets(host: Host, kind: str) -> None:
    assert send(host, "/setup", FORMS[kind], FORM)[0] == 200


TOO_MUCH = {
    "an endless epilogue": [WHOLE, bytes(60_000), bytes(60_000)],
    "an endless preamble": [b"x" * 60_000, b"x" * 60_000, b"\r\n" + WHOLE],
    "a part without a name": [b"--XbX\r\nContent-Disposition: form-data\r\n\r\nabc" + END],
    "a part with an empty name": [part("", b"abc") + END],
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_what_no_form_has_is_refused(host: Host, kind: str) -> None:
    assert send(host, "/setup", TOO_MUCH[kind], FORM)[0] == 400


@pytest.mark.parametrize("more", range(4))
def test_curl_uploads_of_any_length_are_taken_on_a_slow_line(host: Host, tmp_path: Path, more: int) -> None:
    """curl sends blocks of 64 KiB: of some lengths the last bytes come alone."""
    package = tmp_path / "package"
    package.write_bytes(b"")
    url = f"{host.url}{PREFIX}/update?token={TOKEN}&dry-run=1"
    asked = subprocess.run(
        ["curl", "-skv", url, "-F", f"update=@{package}"], capture_output=True, text=True, check=True
    ).stderr
    around = int(re.findall(r"> Content-Length: (\d+)", asked)[0])
    package.write_bytes(bytes(2 * 65536 + more - around))

    answer = host.post("/update", "--limit-rate", "400k", "-F", f"update=@{package}", query="dry-run=1")

    assert "multipart" not in answer.json["Error-Message"]


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "x-uuencode"])
@pytest.mark.parametrize(("path", "name"), [("/settings", "settings"), ("/update", "update"), ("/setup", "newtoken")])
def test_a_part_that_is_encoded_is_refused_by_name(host: Host, path: str, name: str, encoding: str) -> None:
    more = f"Content-Transfer-Encoding: {encoding}\r\n".encode()

    status, body = send(host, path, part(name, b"eyJhcHAiOnt9fQ==", more, b"") + END, FORM)

    assert status == 400
    assert f"{name} must be sent as it is, without Content-Transfer-Encoding: {encoding}" in body


@pytest.mark.parametrize("filename", [b"", b'; filename=""'], ids=["text", "file"])
def test_an_optional_file_that_is_sent_empty_counts_as_not_sent(host: Host, tmp_path: Path, filename: bytes) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
         "-keyout", str(key), "-out", str(certificate), "-days", "30"],
        check=True, capture_output=True,
    )  # fmt: skip
    parts = [
        part("public", certificate.read_bytes()),
        part("private", key.read_bytes()),
        part("ca", b"", b"", filename),
    ]

    assert send(host, "/certs", b"\r\n".join(parts) + END, FORM)[0] == 202


def test_a_file_that_is_due_must_not_be_empty(host: Host) -> None:
    status, body = send(host, "/update", part("update", b"") + END, FORM)

    assert (status, "update must not be empty" in body) == (400, True)


@pytest.mark.parametrize("scheme", ["Basic dXNlcjpwdw==", "basic dXNlcjpwdw==", "Negotiate YII=", "Digest username=x"])
@pytest.mark.parametrize("auth", ["token", "hash"])
def test_what_a_proxy_hands_on_is_no_credential(host: Host, scheme: str, auth: str) -> None:
    assert host.get("/version", "-H", f"Authorization: {scheme}", auth=auth).status == 200


def test_a_proxys_password_opens_nothing(host: Host) -> None:
    assert host.get("/version", "-u", f"admin:{TOKEN}", auth="none", source="127.0.0.7").status == 403
    assert host.get("/version", "-u", f"{TOKEN}:{TOKEN}", auth="none", source="127.0.0.8").status == 403


def test_two_credentials_of_ours_are_one_too_many(host: Host) -> None:
    assert host.get("/version", "-H", f"Authorization: Bearer {TOKEN}", auth="token").status == 400


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("body", [b"{}", b" { }\n", b"null", b"[]", b'""', b""])
@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded"]
)
def test_a_body_that_says_nothing_is_taken_where_nothing_is_due(host: Host, body: bytes, kind: str) -> None:
    assert send(host, "/reboot", body, {"Content-Type": kind})[0] == 202


@pytest.mark.parametrize("body", [b'{"delay": 5}', b"{", b"0", b"false", b" " * 5000, b"[" * 1000])
def test_a_body_that_says_something_is_refused_where_nothing_is_due(host: Host, body: bytes) -> None:
    assert send(host, "/reboot", body, JSON)[0] == 415


@pytest.mark.parametrize("body", [b"{}", b'{"newtoken": "abc"}'])
def test_json_is_refused_where_parameters_are_due(host: Host, body: bytes) -> None:
    status, answer = send(host, "/setup", body, JSON)

    assert (status, "multipart/form-data" in answer) == (415, True)


@pytest.mark.parametrize(
    "value", ["settings.json", "/root/settings.json", "./settings", "@settings.json", "~/my settings.json"]
)
@pytest.mark.parametrize("option", ["--form-string", "--data-urlencode"])
def test_the_name_of_a_document_in_its_place_is_suspected(host: Host, option: str, value: str) -> None:
    name = "settings"

    answer = host.post("/settings", option, f"{name}={value}", query="dry-run=1")

    assert answer.status == 400
    assert answer.json["Error-Message"].endswith(f"with curl, write -F {name}=@FILE")


@pytest.mark.parametrize("value", ["update.pkg", "/root/update-1.2.3.pkg", "@update.pkg"])
def test_the_name_of_a_file_in_its_place_is_suspected(host: Host, value: str) -> None:
    answer = host.post("/update", "--form-string", f"update={value}", query="dry-run=1")

    assert answer.json["Error-Message"] == (
        "update must be a file; it looks like the name of a file instead of its content: "
        "with curl, write -F update=@FILE"
    )


def test_what_is_no_name_of_a_file_is_not_suspected(host: Host) -> None:
    answer = host.post("/settings", "--form-string", 'settings={"app": 1.5}', query="dry-run=1")

    assert (answer.status, "name of a file" in answer.text) == (400, False)


class Slowly(io.BytesIO):
    """A file that is read at about 1 MB a second."""

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        time.sleep(len(content) / 1e6)
        return content


@pytest.mark.parametrize("plain", [False, True], ids=["TLS", "HTTP"])
@pytest.mark.parametrize(
    ("path", "status"), [("/update?token=wrong", 403), (f"/update?token={TOKEN}", 400), ("/nothing", 404)]
)
def test_a_refusal_reaches_a_client_that_first_sends_all_of_its_body_slowly(
    jidoteki_host: MakeHost, plain: bool, path: str, status: int
) -> None:
    host = jidoteki_host(start=False).start("--http-port", "0")
    body = part("pakage", bytes(3_000_000)) + END
    plain_client = http.client.HTTPConnection(host.plain_url.partition("//")[2], timeout=60)

    with contextlib.closing(plain_client if plain else tls_client(host)) as client:
        client.request("POST", f"{PREFIX}{path}", Slowly(body), {**FORM, "Content-Length": str(len(body))})
        assert client.getresponse().status == status


SENDS_SLOWLY = """
const https = require("https"), [url, size] = process.argv.slice(1);
const request = https.request(url, {method: "POST", rejectUnauthorized: false, headers: {"Content-Length": size,
  "Content-Type": "multipart/form-data; boundary=XbX"}}, answer => { console.log(answer.statusCode); process.exit(); });
request.on("error", error => { console.log(String(error)); process.exit(1); });
let left = Number(size);
const more = () => { if (left > 0) { const n = Math.min(left, 100000); left -= n; request.write(Buffer.alloc(n));
  setTimeout(more, 100); } else request.end(); };
more();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_a_refusal_reaches_a_slow_node(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()

    done = subprocess.run(
        ["node", "-e", SENDS_SLOWLY, f"{host.url}{PREFIX}/update?token=wrong", "3000000"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.stdout.strip() == "403", done


def test_who_sends_on_and_on_behind_a_refusal_is_cut_off(jidoteki_host: MakeHost) -> None:
    with contextlib.closing(tls_client(jidoteki_host())) as client:
        client.putrequest("POST", f"{PREFIX}/update?token=wrong")
        client.putheader("Content-Length", "9999999")
        client.endheaders()
        started = time.monotonic()

        with contextlib.suppress(OSError):
            while time.monotonic() - started < 30:
                client.send(b"x")
                time.sleep(0.2)

        assert time.monotonic() - started < 15
