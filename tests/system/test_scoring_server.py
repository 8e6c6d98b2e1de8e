"""The scoring server as it really runs: a bundle, a process, an environment's Python, sockets."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uv

from outhaul import __version__
from outhaul.adapters.bundle import ensure_bundle, serve_command
from outhaul.errors import OuthaulError
from tests.system.scoring_process import Burst, ScoringProcess, find_python, wait_until

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = ["3.8", "3.9", "3.12", "3.13"]

SCRIPT = """
import json, os, sys, threading, time
in_flight, most, seen, lock = 0, 0, [], threading.Lock()
print("imported", end="")

def init():
    global init_thread
    init_thread = threading.current_thread()

def run(data, request_headers):
    global in_flight, most
    with lock:
        in_flight += 1
        most = max(most, in_flight)
    try:
        asked = json.loads(data)
        seen.append(asked.get("n"))
        time.sleep(asked.get("sleep", 0))
        if asked.get("raise"):
            raise ValueError("the secret detail")
        if asked.get("exit"):
            sys.exit(9)
        if asked.get("big"):
            return "x" * asked["big"]
        if "size" in asked:
            return len(asked["size"])
        if asked.get("bytes"):
            return b"\\x00\\x01"
        if asked.get("unencodable"):
            return object()
        facts = {
            "most": most, "seen": seen, "main": threading.current_thread() is threading.main_thread(),
            "init_here": threading.current_thread() is init_thread, "path": sys.path[0], "cwd": os.getcwd(),
            "model_dir": os.environ["AZUREML_MODEL_DIR"], "agent": request_headers.get("X-Agent"),
        }
        return facts if asked.get("facts") else asked
    finally:
        with lock:
            in_flight -= 1
"""


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="session")
def bundle(bundles: Path) -> Path:
    return ensure_bundle(bundles, Path(sys.executable), THIS)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with nothing in it."""
    return make_environment(tmp_path_factory.mktemp("environment"), Path(sys.executable))


def make_environment(folder: Path, python: Path) -> Path:
    subprocess.run([uv.find_uv_bin(), "venv", "-q", "--python", str(python), str(folder / "env")], check=True)
    return folder / "env/bin/python"


Start = Callable[..., ScoringProcess]


@pytest.fixture
def start(bundle: Path, environment: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[ScoringProcess] = []

    def begin(script: str = SCRIPT, **settings: Any) -> ScoringProcess:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(ScoringProcess(bundle, environment, folder, script, **settings))
        return started[-1]

    yield begin
    for process in started:
        process.close()


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


def waiting(server: ScoringProcess) -> int:
    load = server.health("/status").json
    return int(load["busy"] + load["queued"])


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


def test_health_on_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "h")
    server = start(health_socket=path).wait_for("ready")
    assert server.state()["health"] == path
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_draining_loses_nothing(start: Start, number: int) -> None:
    server = start(drain_quiet_ms=600).wait_for("ready")
    burst = Burst(server, [{"sleep": 1.5}, *[{"sleep": 0.1}] * 3])
    wait_until(lambda: waiting(server) == 4, "one in run(), three queued")
    server.terminate(number)
    wait_until(lambda: server.state()["state"] == "draining", "the drain")
    assert server.health("/ready").status == 503
    assert server.health("/live").status == 200
    late = server.score({})
    assert (late.status, late.headers["connection"]) == (200, "close")
    replies = burst.finish()
    assert [(r.status, r.headers.get("connection")) for r in replies] == [(200, "close")] * 4
    assert server.wait() == 0
    assert server.state()["state"] == "stopped"


def test_draining_under_load_on_kept_connections_loses_nothing(start: Start) -> None:
    """As a router does it: connections are kept, a new one is opened when told to close, none once it is not ready."""
    server = start(drain_quiet_ms=400, concurrency=2).wait_for("ready")

    def client(_: int) -> int:
        answered = 0
        while server.state()["state"] == "ready":
            assert server.score({"sleep": 0.01}).status == 200
            answered += 1
        return answered

    with ThreadPoolExecutor(8) as pool:
        counts = pool.map(client, range(8))
        time.sleep(0.5)
        server.terminate()
        assert sum(counts) > 20
    assert server.wait() == 0


def test_the_drain_limit_ends_a_run_that_never_returns(start: Start) -> None:
    server = start(drain_limit_ms=500).wait_for("ready")
    with server.connect() as client:
        client.sendall(b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n" + b'{"sleep": 30}')
        wait_until(lambda: waiting(server) == 1, "the request in run()")
        server.terminate()
        assert server.wait(5) == 0
    assert "cut off" in server.output()


def test_a_termination_during_init_ends_at_once(start: Start) -> None:
    server = start("import time\ndef init(): print('in init'); time.sleep(60)\ndef run(data): pass")
    wait_until(lambda: "in init" in server.wait_for("starting").output(), "init")
    with pytest.raises(ConnectionRefusedError):
        server.connect()
    assert server.health("/ready").status == 503
    assert server.health("/status").json["state"] == "starting"
    server.terminate()
    assert server.wait(5) == 0


def test_a_thread_the_script_left_running_does_not_keep_a_drained_replica(start: Start) -> None:
    script = "import threading, time\ndef init(): threading.Thread(target=time.sleep, args=(90,)).start()\n"
    server = start(script + "def run(data): return 1").wait_for("ready")
    server.terminate()
    assert server.wait(10) == 0


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("def init(): raise RuntimeError('no model here')\ndef run(data): pass", "RuntimeError: no model here"),
        ("def init(): pass", "does not have a run() function defined"),
        ("def run(data): pass", "does not have a init() function defined"),
        ("def init(:", "SyntaxError"),
        ("import not_installed_anywhere", "No module named 'not_installed_anywhere'"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("def init(): pass\ndef run(): pass", "needs to accept an argument for input data"),
    ],
)
def test_a_script_that_cannot_start_ends_with_3_and_says_why(start: Start, script: str, why: str) -> None:
    server = start(script)
    assert server.wait() == 3
    state = server.state()
    assert state["state"] == "failed"
    assert why in state["message"]
    assert why in server.output()
    assert "_outhaul_scoring" not in state["message"]


def test_a_failed_init_lists_the_model_files(start: Start, tmp_path: Path) -> None:
    model = tmp_path / "models" / "digits"
    model.mkdir(parents=True)
    (model / "weights.bin").write_text("")
    server = start("def init(): 1 / 0\ndef run(data): pass", model_dir=str(tmp_path / "models"))
    assert server.wait() == 3
    assert "weights.bin" in server.output()


def test_a_port_in_use_is_found_before_init(start: Start) -> None:
    first = start().wait_for("ready")
    second = start("def init(): print('never')\ndef run(data): pass", port=first.state()["port"])
    assert second.wait() == 4
    assert "Address already in use" in second.state()["message"]
    assert "never" not in second.output()


def test_a_wrong_configuration_ends_with_2(start: Start) -> None:
    server = start(concurency=2)
    assert server.wait() == 2
    assert "unknown key `concurency`" in server.output()


FAKES = ["uvicorn", "h11", "httptools", "uvloop", "click", "pydantic", "typing_extensions"]
WHO_SCRIPT = f"""
import {", ".join(FAKES)}, queue, json
def init(): pass
def run(data):
    return {{m.__name__: getattr(m, "WHO", None) for m in ({", ".join(FAKES)})}}
"""


@pytest.mark.parametrize("minor", [THIS, *OTHERS])
@pytest.mark.parametrize("place", ["site-packages", "source"])
def test_the_users_packages_stay_the_users(bundles: Path, tmp_path: Path, minor: str, place: str) -> None:
    """An environment, or a project, with other packages under the names of those the server uses."""
    base = Path(sys.executable) if minor == THIS else find_python(minor)
    if base is None:
        pytest.skip(f"no Python {minor} on this machine")
    python = make_environment(tmp_path, base)
    target = (
        tmp_path / "source" if place == "source" else next((tmp_path / "env/lib").glob("python*")) / "site-packages"
    )
    target.mkdir(exist_ok=True)
    for name in FAKES:
        (target / f"{name}.py").write_text(f"WHO = 'user {name}'\n")
    (target / "queue.py").write_text("raise ImportError('the server must not import this')\n")
    server = ScoringProcess(ensure_bundle(bundles, base, minor), python, tmp_path, WHO_SCRIPT)
    try:
        assert server.wait_for("ready").score({}).json == {name: f"user {name}" for name in FAKES}
        server.terminate()
        assert server.wait() == 0
    finally:
        server.close()


def test_the_users_own_uvloop_is_whole(bundle: Path, tmp_path: Path) -> None:
    """Compiled modules register under the name they were built with; the user's must not get the bundle's half."""
    python = make_environment(tmp_path, Path(sys.executable))
    install = [uv.find_uv_bin(), "pip", "install", "-q", "--python", str(python), "uvloop==0.21.0"]
    subprocess.run(install, check=True)
    script = (
        "import uvloop, uvloop.loop\ndef init(): pass\ndef run(data): return [uvloop.__version__, uvloop.loop.__file__]"
    )
    server = ScoringProcess(bundle, python, tmp_path, script)
    try:
        version, file = server.wait_for("ready").score({}).json
        assert version == "0.21.0"
        assert str(tmp_path) in file
    finally:
        server.close()


def test_a_bundle_is_made_once_by_many_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ensure_bundle(tmp_path, Path(sys.executable), THIS), range(4)))
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == [made[0].name]
    assert json.loads((made[0] / "bundle.json").read_text())["version"] == __version__
    assert [p for p in made[0].rglob("*") if p.is_file() and p.stat().st_mode & 0o222] == []
    assert serve_command(made[0], Path("/env/bin/python"), Path("/c.json"))[0] == "/env/bin/python"


def test_a_bundle_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OuthaulError):
        ensure_bundle(tmp_path, tmp_path / "no-python", THIS)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
