"""The plugin on a host of its own, over HTTPS."""

from pathlib import Path

import pytest

from jidoteki.testing import Host, MakeHost


@pytest.fixture
def host(jidoteki_host: MakeHost, tmp_path: Path) -> Host:
    """A host on which only `there.example` answers pings."""
    program = tmp_path / "ping"
    program.write_text('#!/bin/sh\necho "$@"\ntest "$4" = there.example\n')
    program.chmod(0o755)
    return jidoteki_host(enable=("probe",), plugins={"probe": {"count": 2, "program": str(program)}})


def test_a_host_that_answers_is_a_success(host: Host) -> None:
    answer = host.request("POST", "/probe", {"host": "there.example"})

    assert answer.status == 202
    status = host.wait_for_job("/probe")
    assert status["status"] == "success"
    assert "-c 2 -- there.example" in status["log"]
    host.assert_audited("request.done", "POST /api/v1/admin/probe 202")


def test_a_host_that_does_not_answer_is_a_failure_with_a_code(host: Host) -> None:
    host.request("POST", "/probe", {"host": "away.example"})

    status = host.wait_for_job("/probe")
    assert status["status"] == "failed"
    assert status["error-message"] == "No answer from away.example"
    assert status["error-code"] == "PROBE1"


def test_what_is_no_host_name_is_refused(host: Host) -> None:
    answer = host.curl("POST", "/probe", "-F", "host=not a host")

    assert answer.status == 400
    assert "host must be" in answer.json["Error-Message"]
    assert answer.json["error-field"] == "/host"
