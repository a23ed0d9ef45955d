"""`/docs`: the manual and the interactive reference of one appliance, offline and under a strict policy."""

from __future__ import annotations

import html.parser
import re
import subprocess

import pytest
from places import ROOT

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost

MANUAL = ROOT / "docs/api.md"


def fetch(host: Host, path: str, *arguments: str) -> tuple[int, dict[str, str], str]:
    """GET a path outside of the API's prefix; return status, headers with lower-case names, and body."""
    certificate = host.appliance.system_etc / "pki/tls/certs/enterprise.crt"
    done = subprocess.run(
        ["curl", "-sS", "-i", "--cacert", str(certificate), *arguments, f"{host.url}{path}"],
        capture_output=True,
        text=True,
        check=True,
    )
    head, _, body = done.stdout.partition("\n\n")
    status, *lines = head.splitlines()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


class Elements(html.parser.HTMLParser):
    """The elements of a page with their attributes, the rows of its tables, and all other text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.prose = ""
        self._in_cell = self._in_example = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._in_cell = self._in_cell or tag in ("td", "th")
        self._in_example = self._in_example or tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")
        self._in_example = self._in_example and tag != "pre"

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data
        elif not self._in_example:
            self.prose += data

    def values(self, name: str, *tags: str) -> list[str]:
        """Return the values of an attribute, of these elements or of all."""
        return [a[name] or "" for tag, a in self.found if name in a and (not tags or tag in tags)]


def test_page_needs_no_credential_and_shows_the_manual_and_every_operation(jidoteki_module_host: Host) -> None:
    status, headers, page = fetch(jidoteki_module_host, "/docs")

    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "/api/v1/admin/backup/restore" in page
    assert "From then on each request needs one of" in page


def test_page_policy_allows_nothing_inline_and_no_other_origin(jidoteki_module_host: Host) -> None:
    _, headers, page = fetch(jidoteki_module_host, "/docs")
    elements = Elements(page)

    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert not elements.values("style")
    assert not [tag for tag, _ in elements.found if tag == "style"]
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert elements.values("src", "script") == ["/docs/page.js"]


def test_page_loads_nothing_from_elsewhere(jidoteki_module_host: Host) -> None:
    _, _, page = fetch(jidoteki_module_host, "/docs")
    elements = Elements(page)

    loaded = [*elements.values("src"), *elements.values("href", "link")]
    answers = [fetch(jidoteki_module_host, each)[0] for each in loaded]

    assert len(loaded) == 3
    assert answers == [200, 200, 200]


@pytest.mark.parametrize("name", ["page.js", "page.css", "icon.svg"])
def test_assets_name_no_other_host(jidoteki_module_host: Host, name: str) -> None:
    _, _, asset = fetch(jidoteki_module_host, f"/docs/{name}")

    assert re.findall(r"https?://[^\"' ]+", asset) in ([], ["http://www.w3.org/2000/svg"])


def test_each_field_of_the_page_has_a_label(jidoteki_module_host: Host) -> None:
    _, _, page = fetch(jidoteki_module_host, "/docs")
    elements = Elements(page)

    fields = elements.values("id", "input", "textarea", "select")

    assert len(fields) > 10
    assert set(fields) == set(elements.values("for", "label"))
    assert len(elements.values("id")) == len(set(elements.values("id")))


def test_page_and_document_show_only_what_is_enabled_and_follow_a_reload(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(endpoints=["storage"])

    before = fetch(host, "/docs")[2], fetch(host, "/docs/openapi.json")[2]
    host.configure(endpoints=["license"])
    host.reload()
    after = fetch(host, "/docs")[2], fetch(host, "/docs/openapi.json")[2]

    assert ["/api/v1/admin/storage" in each for each in (*before, *after)] == [True, True, False, False]
    assert ['"/api/v1/admin/license"' in each for each in (before[1], after[1])] == [False, True]


def test_docs_refuse_other_methods_and_unknown_paths(jidoteki_module_host: Host) -> None:
    posted = fetch(jidoteki_module_host, "/docs", "-X", "POST")
    unknown = fetch(jidoteki_module_host, "/docs/nothing")
    climbing = fetch(jidoteki_module_host, "/docs/../page.js", "--path-as-is")
    beside = fetch(jidoteki_module_host, "/docsx")

    assert (posted[0], posted[1]["allow"]) == (405, "GET, HEAD")
    assert [each[0] for each in (unknown, climbing, beside)] == [404, 404, 404]


def test_docs_are_listed_among_the_endpoints_as_in_the_reference(jidoteki_module_host: Host) -> None:
    listed = jidoteki_module_host.get("/endpoints").json["endpoints"]

    assert listed[-1] == "/docs"
    assert "/api/v1/admin/docs" not in listed


def test_every_table_of_the_manual_is_one_on_the_page(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(enable=("tokens",), authentication={"named-tokens": True})
    written = [line for line in MANUAL.read_text().splitlines() if line.startswith("|") and not line.startswith("|-")]

    page = Elements(fetch(host, "/docs")[2])

    assert len(page.rows) == len(written) > 40
    assert "|" not in page.prose
    endpoints = {row[0]: row[1:] for row in page.rows if len(row) == 3}
    assert endpoints["GET /tokens"] == [
        "",
        "the named tokens with their scopes, when they were made, and when they expire, if they do",
    ]
    shown = "name, scopes: separated by commas, expires: seconds since the epoch, for ever by default"
    assert endpoints["POST /tokens"][0] == shown
    assert endpoints["POST /tokens/revoke"][0] == "name"


def test_every_link_on_the_page_leads_somewhere(jidoteki_module_host: Host) -> None:
    page = Elements(fetch(jidoteki_module_host, "/docs")[2])

    links = set(page.values("href", "a"))
    places = {f"#{each}" for each in page.values("id")}
    here = [link for link in links if link.startswith("/")]

    assert [fetch(jidoteki_module_host, link)[0] for link in here] == [200] * len(here)
    assert [link for link in links - places if not link.startswith(("https://", "/"))] == []
    assert "what the backup lacks" in " ".join(" ".join(row) for row in page.rows)
