"""The section of the dashboard: one mistake costs that key alone, and no file of others becomes public."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from jidoteki.testing import Host
from jidoteki.testing.fixtures import MakeHost
from jidoteki.testing.host import COMMAND

KEY = "usr/local/etc/pki/tls/private/enterprise.key"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'


def fetch(host: Host, path: str) -> tuple[int, str]:
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(host.certificate), "--path-as-is", "-w", "\n%{http_code}", f"{host.url}{path}"],
        capture_output=True,
        check=True,
    )
    body, _, status = done.stdout.decode("utf-8", "replace").rpartition("\n")
    return int(status), body


def state(host: Host) -> dict[str, Any]:
    """Return what the first page is told."""
    status, page = fetch(host, "/")
    assert status == 200, page
    found = re.search(r'<script type="application/json" id="state">(.*)</script>', page)
    assert found
    shown: dict[str, Any] = json.loads(found[1])
    return shown


def findings(host: Host) -> str:
    command = [*COMMAND, "check", "--root", str(host.appliance.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_check_says_how_much_of_the_dashboard_a_catalogue_translates(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(plugins={"dashboard": {"languages": {"fr": "/usr/local/etc/fr.json"}}}, start=False)
    host.appliance.replace_file(host.appliance.system_etc / "fr.json", '{"Sign in": "Se connecter", "Sign owt": "x"}')

    assert re.search(
        r"fr has 1 of the dashboard's \d{3} texts; 1 are of no screen of its own: 'Sign owt'", findings(host)
    )


@pytest.mark.parametrize(
    "content",
    ['{"Sign in": ""}', '{"Sign in": {"other": " "}}', '{"Sign in": 5}', '{"Sign in": "Anmelden"}'.encode("utf-16")],
    ids=["empty", "blank", "number", "UTF-16"],
)
def test_a_catalogue_that_browsers_cannot_use_is_told_of(jidoteki_host: MakeHost, content: str | bytes) -> None:
    host = jidoteki_host(plugins={"dashboard": {"languages": {"fr": "/usr/local/etc/fr.json"}}}, start=False)
    host.appliance.replace_file(host.appliance.system_etc / "fr.json", content)
    host.start()

    assert re.search(
        r"languages: fr: /usr/local/etc/fr.json is (wrong: the translation of 'Sign in'|no JSON)", findings(host)
    )
    assert "fr" not in state(host)["languages"]


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"nmae": "Shop"}, "nmae is not one of"),
        ({"name": 5}, "name: must be a text"),
        ({"colours": "red"}, "colours: must be such as"),
        (
            {"colours": {"background": "#777777", "text": "#888888"}},
            "colours: #888888 on #777777 has a contrast of 1.26:1",
        ),
        ({"logo": "/etc/passwd"}, "logo: must be the path of a file that ends in"),
        ({"logo": "/usr/local/etc/missing.svg"}, "logo: /usr/local/etc/missing.svg cannot be read"),
        ({"languages": {"de": "/usr/local/etc/missing.json"}}, "languages: de: /usr/local/etc/missing.json"),
        ({"languages": ["de"]}, "languages: must be paths by language"),
        ({"support": {"phone": 1}}, "support: must be a text"),
    ],
)
def test_mistake_costs_its_key_alone_and_is_told_by_check(
    jidoteki_host: MakeHost, section: dict[str, Any], told: str
) -> None:
    host = jidoteki_host(plugins={"dashboard": {"support": "Call 555", **section}})

    shown = state(host)
    assert shown["name"] == "Admin Dashboard"
    assert shown["logo"] is None
    assert shown["support"] == ("" if "support" in section else "Call 555")
    assert told in findings(host)


def test_section_that_is_right_is_used_and_check_says_nothing_of_it(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(
        start=False,
        plugins={
            "dashboard": {
                "name": "Shop",
                "logo": "usr/local/etc/logo.svg",
                "colours": {"background": "#004400", "text": "#FFFFFF"},
                "languages": {"fr": "usr/local/etc/fr.json"},
            }
        },
    )
    host.appliance.replace_file(host.appliance.system_etc / "logo.svg", SVG)
    host.appliance.replace_file(host.appliance.system_etc / "fr.json", '{"Home": "Accueil"}')
    host.start()
    shown = state(host)

    assert shown["name"] == "Shop"
    assert fetch(host, shown["logo"]) == (200, SVG)
    assert fetch(host, shown["languages"]["fr"])[1] == '{"Home": "Accueil"}'
    assert "--brand-background:#004400;--brand-text:#FFFFFF" in fetch(host, f"{shown['base']}app.css")[1]
    assert "error: dashboard" not in findings(host)


@pytest.mark.parametrize("kind", ["link to the file", "link to a picture", "link to its directory", "copy"])
def test_logo_that_leads_to_a_secret_is_not_shown(jidoteki_host: MakeHost, kind: str) -> None:
    host = jidoteki_host(start=False, plugins={"dashboard": {"logo": "/data/pictures/logo.png"}})
    secret = host.appliance.root / KEY
    pictures = host.appliance.data / "pictures"
    host.start()
    elsewhere = host.appliance.root / "secrets"
    elsewhere.mkdir()
    (elsewhere / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n and a secret")
    if kind == "link to its directory":
        pictures.symlink_to(elsewhere)
        host.appliance.data.chmod(0o777)
    elif kind == "link to a picture":
        pictures.mkdir(parents=True)
        (pictures / "logo.png").symlink_to(elsewhere / "logo.png")
        pictures.chmod(0o777)
    else:
        pictures.mkdir(parents=True)
        if kind == "copy":
            (pictures / "logo.png").write_bytes(secret.read_bytes())
        else:
            (pictures / "logo.png").symlink_to(secret)
    host.reload()

    assert state(host)["logo"] is None


def test_addresses_of_former_scripts_are_missing_and_those_of_screens_are_not(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host()

    assert fetch(host, "/dashboard/assets/0123456789abcdef/app.js")[0] == 404
    assert fetch(host, "/dashboard/assets/../../../etc/passwd")[0] == 404
    assert fetch(host, "/dashboard/network")[0] == 200
