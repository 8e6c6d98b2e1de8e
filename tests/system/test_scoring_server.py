"""What a client sees of the scoring server: v1's contract, limits under load, time limits, health."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outhaul import __version__
from tests.system.scoring_process import SCRIPT, Burst, ScoringProcess, Start, wait_until, waiting


@pytest.fixture(scope="module")
def server(bundle: Path, environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringProcess]:
    folder = tmp_path_factory.mktemp("server")
    process = ScoringProcess(
        bundle, environment, folder, SCRIPT, model_dir="/models/digits/1", response_headers={"X-Replica": "r1"}
    )
    yield process.wait_for("ready")
    process.close()


PREFIX = "/api/v1/service/digits"
NO_PATH = {"message": "The requested URL was not found on the server."}
NO_METHOD = {"message": "The method is not allowed for the requested URL."}
SCRIPT_FAILED = {"message": "An unexpected error occurred in scoring script. Check the logs for more info."}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        ("POST", "/score", b'{"a": 1}', 200, {"a": 1}),
        ("POST", PREFIX + "/score", b'{"a": 1}', 200, {"a": 1}),
        ("GET", "/score?a=1&b=x&b=2", None, 200, {"a": 1, "b": ["x", 2]}),
        ("OPTIONS", "/score", None, 200, b""),
        ("GET", "/", None, 200, b"Healthy"),
        ("GET", PREFIX + "/", None, 200, b"Healthy"),
        ("GET", PREFIX, None, 200, b"Healthy"),
        ("HEAD", "/", None, 200, b""),
        ("PUT", "/score", b"{}", 405, NO_METHOD),
        ("POST", "/", b"", 405, NO_METHOD),
        ("GET", "/nowhere", None, 404, NO_PATH),
        ("GET", "/api/v1/service/other/score", None, 404, NO_PATH),
        ("GET", PREFIX + "xscore", None, 404, NO_PATH),
        ("POST", "/score", b'{"raise": 1}', 500, SCRIPT_FAILED),
        ("POST", "/score", b'{"exit": 1}', 500, SCRIPT_FAILED),
        ("POST", "/score", b'{"unencodable": 1}', 500, SCRIPT_FAILED),
        ("POST", "/score", b"not json", 500, SCRIPT_FAILED),
        ("POST", "/score", b'{"bytes": 1}', 200, b"\x00\x01"),
    ],
)
def test_codes_and_bodies_of_v1(
    server: ScoringProcess, method: str, path: str, body: bytes | None, status: int, answer: Any
) -> None:
    reply = server.request(method, path, body)
    assert reply.status == status
    assert (reply.body if isinstance(answer, bytes) else reply.json) == answer
    assert reply.headers["x-ms-server-version"] == f"outhaul/{__version__}"
    assert reply.headers["x-replica"] == "r1"
    assert reply.headers["x-request-id"] == reply.headers["x-ms-request-id"]


def test_a_body_that_is_not_utf_8_is_400(server: ScoringProcess) -> None:
    reply = server.request("POST", "/score", b"\xff\xfe")
    assert (reply.status, reply.headers["x-ms-run-function-failed"]) == (400, "False")
    assert "Input cannot be decoded as UTF-8" in reply.json["message"]


def test_a_good_answer_says_how_long_run_took_and_echoes_the_ids(server: ScoringProcess) -> None:
    reply = server.score({}, x_ms_client_request_id="mine", TraceId="t1")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-ms-run-function-failed"] == "False"
    assert float(reply.headers["x-ms-run-fn-exec-ms"]) >= 0
    assert [reply.headers[h] for h in ("x-ms-client-request-id", "x-ms-request-id", "traceid")] == [
        "mine",
        "mine",
        "t1",
    ]


def test_an_id_over_100_characters_is_431(server: ScoringProcess) -> None:
    reply = server.score({}, x_request_id="x" * 101)
    assert (reply.status, reply.json) == (431, {"message": "x-request-id must not exceed 100 characters"})


def test_why_run_failed_is_in_the_log_with_the_request_id_and_nowhere_else(server: ScoringProcess) -> None:
    reply = server.score({"raise": 1}, x_request_id="find-me-17")
    assert b"secret" not in reply.body
    wait_until(lambda: "POST /score 500" in server.output().rpartition("find-me-17")[2], "the access line")
    about = server.output().rpartition("request find-me-17:")[2]
    assert "ValueError: the secret detail" in about
    assert "_outhaul_scoring" not in about


@pytest.mark.parametrize(("version", "key"), [("", "swagger"), ("?version=2", "swagger"), ("?version=3", "openapi")])
def test_the_api_description(server: ScoringProcess, version: str, key: str) -> None:
    document = server.request("GET", f"/swagger.json{version}").json
    assert key in document
    assert set(document["paths"]) == {f"{PREFIX}/", f"{PREFIX}/score", f"{PREFIX}/swagger.json"}


def test_an_unknown_version_of_the_api_description_is_404(server: ScoringProcess) -> None:
    assert server.request("GET", "/swagger.json?version=9").status == 404


def test_the_script_runs_as_under_v1(server: ScoringProcess) -> None:
    facts = server.score({"facts": 1}, X_Agent="me").json
    assert facts["main"], "one slot: run() in the main thread"
    assert facts["init_here"]
    assert facts["path"] == facts["cwd"] == str(server.source)
    assert (facts["model_dir"], facts["agent"]) == ("/models/digits/1", "me")
    assert "imported" in server.output(), "output is not held back for a missing newline"


def test_pipelined_requests_are_answered_in_order(server: ScoringProcess) -> None:
    one = b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n"
    with server.connect() as client:
        client.sendall(b"".join(one + b'{"n": %d}' % n for n in range(5)))
        found = b""
        while found.count(b'{"n": ') < 5:
            found += client.recv(65536)
    assert [int(part[:1]) for part in found.split(b'{"n": ')[1:]] == [0, 1, 2, 3, 4]


def test_a_chunked_body_arrives_whole(server: ScoringProcess) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"size": "'
        for _ in range(50):
            yield b"y" * 65536
        yield b'"}'

    assert server.request("POST", "/score", pieces()).json == 50 * 65536


def test_large_bodies_both_ways(server: ScoringProcess) -> None:
    assert server.score({"size": "z" * 30_000_000}).json == 30_000_000
    assert len(server.score({"big": 20_000_000}).body) == 20_000_002


def test_a_body_over_the_limit_is_413(start: Start) -> None:
    server = start(max_body_bytes=1000).wait_for("ready")
    assert server.score({"size": "z" * 1000}).status == 413
    assert server.request("POST", "/score", iter([b"z" * 600] * 2)).status == 413
    assert server.score({"size": "z" * 900}).status == 200


@pytest.mark.parametrize("slots", [1, 3])
def test_never_more_calls_of_run_at_once_than_slots(start: Start, slots: int) -> None:
    server = start(concurrency=slots).wait_for("ready")
    replies = Burst(server, [{"sleep": 0.02, "n": n} for n in range(40)]).finish()
    assert [reply.status for reply in replies] == [200] * 40
    facts = server.score({"facts": 1}).json
    assert facts["most"] == slots
    assert sorted(n for n in facts["seen"] if n is not None) == list(range(40))


def test_first_come_first_served(start: Start) -> None:
    server = start().wait_for("ready")
    bursts = []
    for n in range(5):
        bursts.append(Burst(server, [{"sleep": 0.4 if n == 0 else 0, "n": n}]))
        wait_until(lambda n=n: waiting(server) == n + 1, f"request {n} at the replica")
    for burst in bursts:
        burst.finish()
    assert server.score({"facts": 1}).json["seen"][:5] == [0, 1, 2, 3, 4]


def test_a_request_past_its_deadline_in_the_queue_is_503_and_never_run(start: Start) -> None:
    server = start().wait_for("ready")
    blocker = Burst(server, [{"sleep": 1.0}])
    wait_until(lambda: waiting(server) == 1, "the first request in run()")
    began = time.monotonic()
    reply = server.score({"n": 99}, x_outhaul_deadline_ms="200")
    assert 0.15 < time.monotonic() - began < 0.8
    assert (reply.status, reply.headers["x-busy"]) == (503, "1")
    assert int(reply.headers["retry-after"]) >= 1
    assert "Too many requests for service digits" in reply.json["message"]
    blocker.finish()
    assert 99 not in server.score({"facts": 1}).json["seen"]


def test_a_client_that_leaves_the_queue_is_never_run(start: Start) -> None:
    server = start().wait_for("ready")
    blocker = Burst(server, [{"sleep": 0.6}])
    wait_until(lambda: waiting(server) == 1, "the first request in run()")
    body = b'{"n": 99}'
    client = server.connect()
    client.sendall(b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    wait_until(lambda: waiting(server) == 2, "the second request in the queue")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    blocker.finish()
    assert 99 not in server.score({"facts": 1}).json["seen"]
    assert "client closed the connection" in server.output()


def test_run_past_its_timeout_is_500_and_the_slot_stays_busy_until_it_returns(start: Start) -> None:
    server = start(scoring_timeout_ms=200, max_queue_wait_ms=200).wait_for("ready")
    reply = server.score({"sleep": 1.5, "n": 1})
    assert (reply.status, reply.json) == (500, {"message": "Scoring timeout after 200 ms"})
    assert reply.headers["x-ms-run-function-failed"] == "True"
    load = server.health("/status").json
    assert (load["busy"], load["overdue"]) == (1, 1)
    assert server.health("/ready").status == 503
    assert server.health("/live").status == 200
    assert server.score({"n": 2}).status == 503
    wait_until(lambda: server.health("/ready").status == 200, "ready again")
    assert server.score({"facts": 1}).json["seen"] == [1, None]


def test_a_replica_whose_workers_never_return_is_not_live(start: Start) -> None:
    server = start(scoring_timeout_ms=100, stuck_after_ms=200).wait_for("ready")
    server.score({"sleep": 30})
    wait_until(lambda: server.health("/live").status == 503, "not live")


def test_health_answers_while_run_holds_every_worker(start: Start) -> None:
    server = start(concurrency=2).wait_for("ready")
    burst = Burst(server, [{"sleep": 1.5}] * 4)
    wait_until(lambda: waiting(server) == 4, "all four at the replica")
    began = time.monotonic()
    status = server.health("/status").json
    assert server.health("/ready").status == server.health("/live").status == 200
    assert time.monotonic() - began < 0.5
    assert (status["busy"], status["queued"], status["state"]) == (2, 2, "ready")
    assert [reply.status for reply in burst.finish()] == [200] * 4
    assert server.health("/status").json["handled"] == 4
