"""`GET /events`: live events, followed as browsers and curl do."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from eventkit import PREFIX, Told, following, publishing
from pace import slowness

from jidoteki.core.http.connection import LINGER_TIMEOUT
from jidoteki.testing import Host, MakeHost, wait_until


@pytest.fixture
def host(jidoteki_host: MakeHost) -> Host:
    return jidoteki_host(enable=("events", "settings"))


def change_settings(host: Host, name: str = "a") -> str:
    """Change settings, and return the id of the job."""
    answer = host.post("/settings", "-F", f"settings={json.dumps({'app': {'name': name}})}")
    assert answer.status == 202, answer
    return answer.headers["Job-Id"]


def test_it_begins_with_hello_and_the_state(host: Host) -> None:
    with following(host) as curl:
        hello, state = curl.wait_for("hello"), curl.wait_for("state")

    assert "200 OK" in curl.head and "text/event-stream" in curl.head and "no-store" in curl.head
    assert hello.data["version"] == host.get("/version").json["version"]
    assert state.id == f"{hello.data['boot']}-0"
    assert state.data["jobs"] == host.get("/jobs").json["jobs"]
    assert "disk" in state.data["health"] and state.data["services"]


def test_a_job_is_told_from_its_start_to_its_end_with_its_log(host: Host) -> None:
    with following(host) as curl:
        curl.wait_for("state")
        id = change_settings(host)
        curl.wait_for("job", lambda job: job["id"] == id and job["status"] == "success")
        record = host.get(f"/jobs/{id}").json
        told = curl.events()

    jobs = [each.data for each in told if each.name == "job"]
    assert jobs[0]["status"] == "running"
    assert jobs[-1] == {key: value for key, value in record.items() if key != "log"}
    log = "".join(each.data["text"] for each in told if each.name == "log")
    assert log == (host.appliance.jobs / f"{id}.log").read_text() != ""
    numbers = [int(each.id.partition("-")[2]) for each in told[1:]]
    assert numbers == list(range(len(told) - 1))


def test_curl_goes_on_after_a_restart_without_a_gap_or_a_repeat(host: Host) -> None:
    port = host.url.rsplit(":", 1)[1]
    told: list[Told] = []
    last = ""
    for number in range(3):
        with following(host, *(["-H", f"Last-Event-ID: {last}"] if last else [])) as curl:
            curl.wait_for("hello" if last else "state")
            id = change_settings(host, str(number))
            curl.wait_for("job", lambda job: job["id"] == id and job["status"] == "success")  # noqa: B023
            if number < 2:
                host.stop()
                curl.wait_for("bye")
                curl.process.wait(5)
            told += curl.events()
            last = curl.last_id()
        if number < 2:
            host.start("--port", port)

    assert "reset" not in [each.name for each in told]
    numbers = [int(each.id.partition("-")[2]) for each in told if each.id]
    assert numbers == list(range(numbers[-1] + 1))
    assert len({each.id.partition("-")[0] for each in told if each.id}) == 1


def test_what_jobs_did_while_the_service_was_down_is_told(host: Host) -> None:
    (host.appliance.bin / "network.sh").write_text("#!/bin/sh\nsleep 3\necho done\n")
    with following(host) as curl:
        curl.wait_for("hello")
        network = {"network": {"interface": "eth7", "hostname": "test.host"}}
        id = host.post("/settings", "-F", f"settings={json.dumps(network)}").headers["Job-Id"]
        curl.wait_for("job", lambda job: job["id"] == id)
        host.stop()
        curl.process.wait(5)
        last = curl.last_id()
    record = host.appliance.jobs / f"{id}.json"
    wait_until(lambda: json.loads(record.read_text())["status"] == "success")
    host.start()

    with following(host, "-H", f"Last-Event-ID: {last}") as curl:
        curl.wait_for("job", lambda job: job["id"] == id and job["status"] == "success")

    assert [each.name for each in curl.events()][0] == "hello"
    assert "reset" not in [each.name for each in curl.events()]


def test_the_log_of_a_job_is_told_whole_over_a_restart(host: Host) -> None:
    script = "#!/bin/sh\nfor number in $(seq 60); do echo line $number; sleep 0.1; done\n"
    (host.appliance.bin / "network.sh").write_text(script)
    port = host.url.rsplit(":", 1)[1]
    with following(host) as curl:
        curl.wait_for("hello")
        network = {"network": {"interface": "eth7", "hostname": "test.host"}}
        id = host.post("/settings", "-F", f"settings={json.dumps(network)}").headers["Job-Id"]
        curl.wait_for("log", lambda log: "line 9" in log["text"])
        host.stop()
        curl.process.wait(5)
    host.start("--port", port)
    with following(host, "-H", f"Last-Event-ID: {curl.last_id()}") as after:
        after.wait_for("job", lambda job: job["id"] == id and job["status"] == "success")

    told = [each.data for each in (*curl.named("log"), *after.named("log"))]
    assert "".join(each["text"] for each in told) == (host.appliance.jobs / f"{id}.log").read_text()
    assert [each["offset"] for each in told[1:]] == [each["end"] for each in told[:-1]]
    assert len(curl.named("log")) > 1 and len(after.named("log")) > 1


@pytest.mark.parametrize("id", ["0123456789abcdef-1", "x", "-1", "{boot}-999", "{boot}-", "٣-٣"])
def test_an_id_that_is_not_known_gets_reset_and_the_state(host: Host, id: str) -> None:
    with following(host) as curl:
        boot = curl.wait_for("hello").data["boot"]
        curl.wait_for("state")
    id = id.replace("{boot}", boot)
    with following(host, "-H", f"Last-Event-ID: {id}") as curl:
        curl.wait_for("state")

    assert [each.name for each in curl.events()[:3]] == ["hello", "reset", "state"]


@pytest.mark.parametrize("last", ["", "0123456789abcdef-7"], ids=["knows nothing", "knows another boot"])
def test_a_client_whose_connection_breaks_before_the_state_gets_it_at_the_next(host: Host, last: str) -> None:
    with following(host, "-H", f"Last-Event-ID: {last}") as curl:
        curl.wait_for("state")
        names = [each.name for each in curl.events()]
        before = curl.events()[: names.index("state")]
    known = [last, *(each.id for each in before if each.id)]

    with following(host, "-H", f"Last-Event-ID: {known[-1]}") as curl:
        curl.wait_for("state", seconds=5)
        assert [each.name for each in curl.events()[: len(before)]] == [each.name for each in before]


def test_a_service_that_was_killed_begins_anew(host: Host) -> None:
    with following(host) as curl:
        boot = curl.wait_for("hello").data["boot"]
        change_settings(host)
        last = curl.wait_for("job").id
    host.stop(signal.SIGKILL)
    host.start()

    with following(host, "-H", f"Last-Event-ID: {last}") as curl:
        hello = curl.wait_for("hello")
        curl.wait_for("reset")
        jobs = curl.wait_for("state").data["jobs"]

    assert hello.data["boot"] != boot
    assert jobs


def test_the_33rd_stream_is_told_when_to_come_again(host: Host) -> None:
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(following(host)) for _ in range(32)]
        for each in streams:
            each.wait_for("hello")
        answer = host.get("/events")
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "5"
        streams[0].end()

        def begins() -> bool:
            with following(host) as curl:
                return bool(wait_until(lambda: curl.head)) and "200 OK" in curl.head

        assert wait_until(begins, 10)


def test_the_service_is_gone_within_two_seconds_with_32_streams(host: Host) -> None:
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(following(host)) for _ in range(32)]
        for each in streams:
            each.wait_for("state")
        began = time.monotonic()
        assert host.stop() == 0
        taken = time.monotonic() - began
        for each in streams:
            each.wait_for("bye", seconds=5)

    assert taken < 2 * slowness()


def test_a_reload_keeps_the_stream(host: Host) -> None:
    with following(host) as curl:
        curl.wait_for("state")
        host.reload()
        id = change_settings(host)
        curl.wait_for("job", lambda job: job["id"] == id and job["status"] == "success")


def test_a_token_that_is_changed_ends_its_streams(host: Host) -> None:
    with following(host) as curl:
        curl.wait_for("state")
        began = time.monotonic()
        assert host.post("/setup", "-F", "newtoken=another-token-of-mine").status == 200
        curl.process.wait(5)

    assert time.monotonic() - began < 3


@pytest.fixture
def publisher(jidoteki_host: MakeHost) -> Host:
    return publishing(jidoteki_host)


def test_plugins_publish_events_and_hear_of_them(publisher: Host) -> None:
    with following(publisher) as curl:
        curl.wait_for("state")
        publisher.get("/publisher", query="count=3")
        curl.wait_for("publisher.tick", lambda data: data["number"] == 3)
        publisher.post("/publisher")
        curl.wait_for("job", lambda job: job["status"] == "success")
        heard = publisher.get("/publisher").json["heard"]

    assert [each.data["number"] for each in curl.named("publisher.tick")][:3] == [1, 2, 3]
    assert heard[:1] == ["publisher.started"]
    assert {"publisher.tick", "job", "log", "audit"} <= set(heard)


def test_more_events_at_once_than_there_is_room_for_are_told_of_as_lost(publisher: Host) -> None:
    with following(publisher) as curl:
        boot = curl.wait_for("hello").data["boot"]
        curl.wait_for("state")
        publisher.get("/publisher", query="count=6000&step=10000")
        reset = curl.wait_for("reset")
        publisher.get("/publisher", query="first=9999")
        curl.wait_for("publisher.tick", lambda data: data["number"] == 9999)

    assert not reset.id.startswith(boot)
    assert len(curl.named("state")) == 2


@pytest.mark.parametrize("way", ["the end", "the client", "the service"])
def test_a_plugin_streams_until_either_side_ends_it(publisher: Host, way: str) -> None:
    ended = publisher.appliance.etc / "stream-ended"
    with following(publisher, path="/publisher/ticks", query=f"count={5 if way == 'the end' else 10_000}") as curl:
        wait_until(lambda: b"tick 4" in curl.output)
        if way == "the client":
            curl.process.send_signal(signal.SIGTERM)
        elif way == "the service":
            publisher.stop()
        status = curl.process.wait(5)
        wait_until(ended.exists, 3 * slowness())

    lines = curl.output.partition(b"\r\n\r\n")[2].decode().splitlines()
    goodbye = ["goodbye"] if way == "the service" else []
    assert lines == [f"tick {number}" for number in range(len(lines) - len(goodbye))] + goodbye
    assert (status == 0) is (way != "the client")


def test_progress_is_told_at_most_four_times_a_second(publisher: Host) -> None:
    with following(publisher) as curl:
        curl.wait_for("state")
        began = time.monotonic()
        publisher.post("/publisher")
        curl.wait_for("job", lambda job: job["status"] == "success")
        seconds = time.monotonic() - began

    running = [each.data["percentage"] for each in curl.named("job") if each.data["status"] == "running"]
    assert running == sorted(running)
    assert 3 <= len(running) <= 4 * seconds + 2
    lines = "".join(each.data["text"] for each in curl.named("log")).splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == [str(number) for number in range(200)]


def test_each_event_needs_a_scope_for_what_it_tells(publisher: Host) -> None:
    made = publisher.post("/tokens", "-F", "name=watcher", "-F", "scopes=/events,/publisher")
    token = made.json["token"]

    with following(publisher, token=token) as curl, following(publisher) as everything:
        hello = curl.wait_for("hello")
        everything.wait_for("state")
        publisher.post("/publisher")
        everything.wait_for("job", lambda job: job["status"] == "success")
        publisher.get("/publisher")
        curl.wait_for("publisher.tick")
        began = time.monotonic()
        publisher.post("/tokens/revoke", "-F", "name=watcher")
        curl.process.wait(5)
        taken = time.monotonic() - began

    assert hello.data["version"] is None
    assert curl.wait_for("state").data == {}
    assert {each.name for each in curl.events()} == {"hello", "state", "publisher.tick"}
    assert {"job", "log", "audit"} <= {each.name for each in everything.events()}
    assert taken < 2 * slowness()


def test_without_a_scope_for_events_there_are_none(publisher: Host) -> None:
    token = publisher.post("/tokens", "-F", "name=other", "-F", "scopes=/publisher").json["token"]

    assert publisher.get("/events", "-H", f"Authorization: Bearer {token}", auth="none").status == 403
    assert publisher.get("/events", auth="none").status == 403


@contextmanager
def reading_nothing(host: Host) -> Iterator[ssl.SSLSocket]:
    """Yield a client with small buffers that reads the beginning of a stream, and no more until it is told to."""
    context = ssl.create_default_context(cafile=host.certificate)
    context.check_hostname = False
    name, port = host.url.rpartition("/")[2].rsplit(":", 1)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect((name, int(port)))
    with context.wrap_socket(plain) as client:
        client.settimeout(20)
        query = host.query("GET", "/events")
        client.sendall(f"GET {PREFIX}/events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        yield client


def test_a_client_that_sleeps_is_told_the_end_and_not_waited_for(publisher: Host) -> None:
    with reading_nothing(publisher) as client:
        began = time.monotonic()
        assert publisher.stop() == 0
        taken = time.monotonic() - began
        received = b""
        while piece := client.recv(65536):
            received += piece

    assert received.endswith(b"event: bye\ndata: {}\n\n\r\n0\r\n\r\n")
    assert taken < LINGER_TIMEOUT


def test_clients_that_take_nothing_do_not_hold_up_the_end(publisher: Host) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(reading_nothing(publisher))
        for _ in range(3):
            publisher.get("/publisher", query="count=3000&size=1000")
        began = time.monotonic()
        assert publisher.stop() == 0
        taken = time.monotonic() - began

    assert taken < 2 * slowness()


def test_a_client_that_reads_too_slowly_gets_reset_and_costs_little(publisher: Host) -> None:
    assert publisher.process
    memory = Path(f"/proc/{publisher.process.pid}/status")
    with following(publisher) as curl:
        curl.wait_for("state")
        publisher.get("/publisher", query="count=3000&size=1000")  # fills the ring
        before = resident(memory)
        with reading_nothing(publisher) as slow:
            for _ in range(3):
                publisher.get("/publisher", query="count=3000&size=1000")
            after = resident(memory)
            taken = b""
            while b"event: reset" not in taken[-100_000:]:
                piece = slow.recv(65536)
                assert piece, "The stream has ended"
                taken += piece
        curl.wait_for("publisher.tick", lambda data: data["number"] == 3000)

    assert after - before < 4 * 1024 * 1024


def test_clients_that_take_nothing_make_room(jidoteki_host: MakeHost) -> None:
    host = publishing(jidoteki_host, limits={"idle-body": 1})
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(reading_nothing(host))
        assert host.get("/events").status == 503
        host.get("/publisher", query="count=1000&size=1000")

        def begins() -> bool:
            with following(host) as curl:
                return bool(wait_until(lambda: curl.head)) and "200 OK" in curl.head

        assert wait_until(begins, 30)


def test_a_stream_with_little_in_it_is_not_too_slow(jidoteki_host: MakeHost) -> None:
    host = publishing(jidoteki_host, limits={"idle-body": 1, "minimum-upload-rate": 10_000_000})
    with following(host) as curl:
        curl.wait_for("state")
        for number in range(1, 13):
            host.get("/publisher", query=f"first={number}")
            time.sleep(0.5)
        curl.wait_for("publisher.tick", lambda data: data["number"] == 12)
        time.sleep(10)
        assert curl.process.poll() is None
        wait_until(lambda: curl.output.endswith(b"\n:\n\n"), 10)


def resident(status: Path) -> int:
    """Return the resident memory in bytes."""
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmRSS"))


def test_a_client_that_is_gone_is_counted_no_more_at_once(host: Host) -> None:
    for _ in range(40):
        with following(host) as curl:
            curl.wait_for("hello")


@pytest.mark.parametrize("method", ["HEAD"])
def test_the_headers_alone_take_no_place(host: Host, method: str) -> None:
    for _ in range(40):
        assert host.request(method, "/events").status == 200
