"""The dashboard's files: what is vendored is upstream's, and every text has a German translation."""

from __future__ import annotations

import gzip
import hashlib
import json
import re

import pytest
from places import ROOT

from jidoteki.plugins.dashboard.assets import PRELOADED

STATIC = ROOT / "plugins/dashboard/static"
VENDORED = json.loads((ROOT / "plugins/dashboard/vendor.json").read_text())
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_PLAIN = re.compile(rf"\b(?:t|phrase)\(\s*{_TEXT}")
_PLURAL = re.compile(rf"\bplural\(\s*[^\"]+?,\s*{_TEXT},\s*{_TEXT}")
_VALUE = re.compile(r"\{[^{}\n\"]*\}")
PLACES = re.compile(r"\{\w+\}")


def texts() -> set[str]:
    """Return the English texts in the scripts."""
    found: set[str] = set()
    for script in STATIC.rglob("*.js"):
        if script.parent.name != "vendor":
            content = script.read_text()
            found.update(_PLAIN.findall(content), (other for _, other in _PLURAL.findall(content)))
    return {json.loads(f'"{each}"') for each in found} - {""}


def test_german_has_every_text_and_no_other() -> None:
    german = json.loads((STATIC / "languages/de.json").read_text())

    assert sorted(texts() - german.keys()) == []
    assert sorted(german.keys() - texts()) == []


def test_translations_have_the_same_places_for_values() -> None:
    german = json.loads((STATIC / "languages/de.json").read_text())
    for english, translated in german.items():
        for form in translated.values() if isinstance(translated, dict) else (translated,):
            assert set(PLACES.findall(form)) == set(PLACES.findall(english)), english


def test_each_sentence_of_the_appliance_that_is_translated_is_still_said_by_it() -> None:
    source = " ".join(
        path.read_text() for room in ("core", "plugins", "hookspecs") for path in (ROOT / room).rglob("*.py")
    )
    said = _VALUE.sub("{}", source)
    listed = (STATIC / "sentences.js").read_text().partition("SENTENCES = [")[2].partition("];")[0]
    sentences = re.findall(rf"phrase\({_TEXT}\)", listed)

    assert len(sentences) > 20
    assert [each for each in sentences if _VALUE.sub("{}", each).removeprefix("must be ") not in said] == []


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_file_is_that_of_its_record(name: str) -> None:
    record = VENDORED[name]
    assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == record["sha256"]
    assert record["integrity"].startswith("sha512-")
    assert (STATIC / "vendor" / record["licence-file"]).is_file()


def test_no_file_is_vendored_without_a_record() -> None:
    files = {each.name for each in (STATIC / "vendor").iterdir() if not each.name.endswith(".d.ts")}
    assert files == {*VENDORED, *(record["licence-file"] for record in VENDORED.values())}


def test_whole_dashboard_is_small() -> None:
    shipped = [each for each in STATIC.rglob("*") if each.suffix in (".js", ".css", ".svg")]
    own = sum(each.stat().st_size for each in shipped)
    assert own < 320 * 1024
    assert sum(len(gzip.compress(each.read_bytes())) for each in shipped) < 118 * 1024


def test_no_address_of_another_host_is_loaded() -> None:
    for script in STATIC.rglob("*.js"):
        if script.parent.name != "vendor":
            code = re.sub(r"^\s*(//|\*|/\*).*$", "", script.read_text(), flags=re.M)
            assert not re.search(r"https?://(?!www\.w3\.org)", code), script


def test_all_that_the_first_screen_imports_is_loaded_at_once() -> None:
    needed, found = ["app.js"], set()
    while needed:
        name = needed.pop()
        found.add(name)
        imported = re.findall(r'^(?:import|export) [^"]*"\./([^"]+)"', (STATIC / name).read_text(), flags=re.M)
        needed += set(imported) - found

    assert found == set(PRELOADED)
