"""How a scoring server starts, drains and fails: real processes, signals, sockets."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.system.scoring_process import Burst, Start, wait_until, waiting


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


def test_draining_under_load_loses_nothing(start: Start) -> None:
    """As a router does it: new connections come until the replica is seen to be not ready."""
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
