"""CR, LF, NUL, quotes, escapes and 64 KiB in every parameter, header and file name: nothing is forged.

Not a line of a log, nor a header, nor a line of a conf file.
"""

from __future__ import annotations

import csv
import json
import subprocess
import time
from urllib.parse import quote_from_bytes

import pytest
from faultkit import Tally, ask, multipart, send, some
from jobcases import records, settings_form
from places import found_below

from jidoteki.hookspecs import PREFIX
from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

FORGED = b"1432140922.000000000,forged,forged,forged,forged,forged"
VALUES = {
    "CR LF": b"x\r\n" + FORGED,
    "LF": b"x\n" + FORGED,
    "CR": b"x\r" + FORGED,
    "NUL": b"x\0" + FORGED,
    "quote and comma": b'x","forged',
    "single quote": b"x'; touch forged; '",
    "substitution": b"x$(touch forged)`touch forged`${IFS}",
    "backslash": b"x\\\n" + FORGED,
    "terminal escape": b"x\x1b]0;forged\x07\x1b[2J",
    "C1 controls": "x\x9b2J\x85".encode(),
    "line separators": "x\u2028\u2029".encode() + FORGED,
    "text that runs backwards": "x\u202e\u2066".encode() + FORGED,
    "not UTF-8": b"x\xff\xfe\xc0\x80" + FORGED,
    "64 KiB": b"x" * 65536 + b"\n" + FORGED,
    "header": b"x\r\nX-Forged: forged\r\n\r\nforged",
}
FORMS = [
    ("/setup", "newtoken"), ("/update", "update"), ("/settings", "settings"), ("/storage", "settings"),
    ("/certs", "public"), ("/certs", "private"), ("/certs", "ca"), ("/license", "license"),
    ("/backup", "action"), ("/backup/restore", "archive"), ("/reboot", "unknown"),
]  # fmt: skip
NETWORK = ["interface", "hostname", "ip_address", "netmask", "gateway", "dns1", "dns2", "ntpserver"]
STORAGE = {
    "nfs": {"mount_options": "sync", "ip": "192.168.1.1", "share": "/share"},
    "aoe": {"device": "e0.1"},
    "iscsi": {"target": "iqn.2016-01.com.example:x", "ip": "192.168.1.1", "username": "u", "password": "p"},
    "nbd": {"export_name": "x", "ip": "192.168.1.1", "port": "1043"},
}


def settings_parts(document: object) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form, in the order in which `ask` takes them."""
    body, headers = settings_form(document)
    return headers, body


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(start=False).start("--http-port", "0")


def nothing_was_forged(host: Host) -> list[str]:
    """Every trace that a forgery would have left."""
    found = []
    for line in csv.reader((host.appliance.log / "jidoteki-audit.log").read_text().split("\n")):
        if line and (len(line) != 6 or line[1] == "forged" or not line[0].replace(".", "").isdigit()):
            found.append(f"audit line {line}")
    for path in host.appliance.log.iterdir():
        content = path.read_bytes()
        found += [f"{path.name} begins a line with the forgery"] if b"\n" + FORGED in content else []
        found += [f"{path.name} holds a control character"] if set(content) & {0, 7, 13, 27, 0x9B - 0x80} else []
    for path in host.appliance.system_etc.glob("*.conf"):
        found += [f"{path.name} holds a forged line"] if b"\n" + FORGED in path.read_bytes() else []
    found += [f"{path} was made by a shell" for path in found_below(host.appliance.root, "forged")]
    return found


def signed(host: Host, method: str, path: str) -> str:
    return host.query(method, path)[1:]


@pytest.mark.parametrize("kind", some(VALUES, ("CR LF", "NUL", "substitution", "64 KiB")))
def test_no_parameter_forges_anything(host: Host, tally: Tally, kind: str) -> None:
    value = VALUES[kind]
    for path, name in FORMS:
        for files in (True, False):
            body, headers = multipart((name, value), files=files)
            reply = ask(host, "POST", path, signed(host, "POST", path), headers, body)
            tally.case(400 <= reply.status < 500 or reply.status in (200, 202), f"{path} {name} {kind}: {reply}")
            tally.case("X-Forged" not in reply.headers, f"{path} {name} {kind}: {reply}")
            if path == "/setup" and reply.status == 200:
                host.token = (host.appliance.etc / "api.token").read_text().rstrip("\n")
    text = value.decode("utf-8", "replace")
    for key in NETWORK:
        network = {"interface": "eth0", "hostname": "host.example", key: text}
        reply = ask(host, "POST", "/settings", signed(host, "POST", "/settings"),
                    *settings_parts({"network": network, "app": {"name": text}}))  # fmt: skip
        tally.case(reply.status in (400, 202), f"network {key} {kind}: {reply}")
    for type, fields in STORAGE.items():
        for key in fields:
            reply = ask(host, "POST", "/storage", signed(host, "POST", "/storage"),
                        *settings_parts({"storage": {"type": type, **fields, key: text}}))  # fmt: skip
            tally.case(reply.status in (400, 202), f"storage {type} {key} {kind}: {reply}")
    time.sleep(0.3)

    for found in nothing_was_forged(host):
        tally.case(False, f"{kind}: {found}")
    assert tally.failed == []


@pytest.mark.parametrize("kind", some(VALUES, ("CR LF", "NUL", "substitution", "64 KiB")))
def test_no_query_path_header_or_name_forges_anything(host: Host, tally: Tally, kind: str) -> None:
    value = VALUES[kind]
    quoted = quote_from_bytes(value[:4000]).encode()
    prefix = PREFIX.encode()
    right = signed(host, "GET", "/version").encode()
    posted = signed(host, "POST", "/backup/restore").encode()
    raw = value.split(b"\n")[0].replace(b"\0", b"").replace(b"\r", b"")[:4000]
    disposition = b'Content-Disposition: form-data; name="archive"; filename="' + raw.replace(b'"', b"%22") + b'"'
    strange = b"--b\r\n" + disposition + b"\r\n\r\nx\r\n--b--\r\n"
    named = b'--b\r\nContent-Disposition: form-data; name="' + quoted[:2000] + b'"\r\n\r\nx\r\n--b--\r\n'
    form = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: "
    requests = {
        "token": b"GET " + prefix + b"/version?token=" + quoted + b" HTTP/1.1\r\n\r\n",
        "hash": b"GET " + prefix + b"/version?hash=" + quoted + b" HTTP/1.1\r\n\r\n",
        "dry-run": b"POST " + prefix + b"/backup/restore?" + posted + b"&dry-run=" + quoted + b" HTTP/1.1\r\n\r\n",
        "path": b"GET " + prefix + b"/" + quoted + b" HTTP/1.1\r\n\r\n",
        "known path": b"GET " + prefix + b"/version/" + quoted + b"?" + right + b" HTTP/1.1\r\n\r\n",
        "method": quoted[:50].replace(b"%", b"") + b" " + prefix + b"/version HTTP/1.1\r\n\r\n",
        "file name": b"POST " + prefix + b"/backup/restore?" + posted + b" HTTP/1.1\r\n" + form
        + str(len(strange)).encode() + b"\r\n\r\n" + strange,
        "field name": b"POST " + prefix + b"/backup/restore?" + posted + b" HTTP/1.1\r\n" + form
        + str(len(named)).encode() + b"\r\n\r\n" + named,
    }  # fmt: skip
    for name in (b"User-Agent", b"Authorization", b"Content-Type", b"Expect", b"Range", b"Accept", b"Sec-Purpose",
                 b"X-Forwarded-For", b"Forwarded", b"Cookie", b"Referer", b"If-None-Match", b"Connection"):  # fmt: skip
        head = b"GET " + prefix + b"/version?" + right + b" HTTP/1.1\r\n" + name + b": "
        requests[f"header {name.decode()}"] = head + raw + b"\r\n\r\n"
    for number, (name_, content) in enumerate(requests.items(), start=1):
        content = content.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: x\r\n", 1)
        reply = send(host, content, f"127.0.3.{number}")
        tally.case(reply.status < 500, f"{name_} {kind}: {reply}")
        tally.case("X-Forged" not in reply.headers, f"{name_} {kind}: {reply}")
        tally.case(not set(reply.body) & {0, 7, 13, 27}, f"{name_} {kind}: {reply}")
    time.sleep(0.3)

    for found in nothing_was_forged(host):
        tally.case(False, f"{kind}: {found}")
    assert tally.failed == []


def test_what_is_accepted_means_the_same_to_a_shell(host: Host, tally: Tally) -> None:
    secret = 'it\'s "$HOME" `x` \\ #;&|'
    storage = {"options": ["iscsi"]}
    host.appliance.replace_file(host.appliance.system_etc / "storage-options.json", json.dumps(storage))
    document = {"storage": {"type": "iscsi", **STORAGE["iscsi"], "password": secret}}

    reply = ask(host, "POST", "/storage", signed(host, "POST", "/storage"), *settings_parts(document))
    deadline = time.monotonic() + 20
    while reply.status == 202 and time.monotonic() < deadline and records(host, "storage")[-1]["status"] == "running":
        time.sleep(0.05)

    tally.case(reply.status in (202, 400), reply)
    if reply.status == 202:
        conf = host.appliance.system_etc / "storage.conf"
        shown = subprocess.run(["sh", "-c", f'. {conf}; printf %s "$password"'], capture_output=True, text=True).stdout
        tally.case(shown == secret, shown)
    assert tally.failed == []
