"""schemathesis makes thousands of requests out of the document, right and wrong ones, and checks every answer.

`JIDOTEKI_FUZZ_EXAMPLES` is how many examples it makes for each operation in its last phase (`make fuzz`: many), and
`JIDOTEKI_FUZZ_CASES` how many cases there must have been: an operation without parameters has but a few, so that it
takes several rounds, each with a seed of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jidoteki.testing import Host
from jidoteki.testing.fixtures import TOKEN, MakeHost

HERE = Path(__file__).parent
EXAMPLES = int(os.environ.get("JIDOTEKI_FUZZ_EXAMPLES", "10"))
CASES = int(os.environ.get("JIDOTEKI_FUZZ_CASES", "1000"))
SEED = int(os.environ.get("JIDOTEKI_FUZZ_SEED", "1") or time.time())
SECONDS = 3600 if CASES > 1000 else 540
ROUNDS = 8


def fuzz(host: Host, seed: int) -> int:
    """One round: how many cases were made, after none failed."""
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "JIDOTEKI_FUZZ_TOKEN": TOKEN}
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml")),
            *("run", f"{host.url}/docs/openapi.json", "--tls-verify", str(host.certificate), "--checks", "all"),
            *("--max-examples", str(EXAMPLES), "--seed", str(seed), "--continue-on-failure", "--no-color"),
            *("--workers", "2"),
        ],
        cwd=host.appliance.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    generated = re.search(r"(\d+) generated", done.stdout)
    return int(generated[1]) if generated else 0


@pytest.mark.timeout(SECONDS + 60)
def test_no_request_makes_the_server_fail_or_answer_what_is_not_documented(jidoteki_host: MakeHost) -> None:
    host = jidoteki_host(
        enable=("tokens",),
        authentication={"named-tokens": True, "signatures": True},
        limits={"failed-authentication-pause": 0.1},
        plugins={"dashboard": {"enabled": False}},  # it brings along answers that have no end
    )

    cases = 0
    for number in range(ROUNDS):
        cases += fuzz(host, SEED + number)
        if cases >= CASES:
            break

    assert cases >= CASES
    assert host.get("/version").status == 200
    assert "Traceback" not in (host.appliance.log / "jidoteki-admin-api.log").read_text()
