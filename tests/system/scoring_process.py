"""A real scoring server in a real environment, for tests: start, talk to, stop."""

from __future__ import annotations

import glob
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uv

from outhaul.adapters.bundle import serve_command

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


def find_python(minor: str) -> Path | None:
    """An interpreter of this minor version that runs, wherever this machine has one."""
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    for candidate in [shutil.which(f"python{minor}"), *glob.glob(f"{pyenv}/versions/{minor}.*/bin/python{minor}")]:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return Path(candidate)
    return None


def make_environment(folder: Path, python: Path) -> Path:
    subprocess.run([uv.find_uv_bin(), "venv", "-q", "--python", str(python), str(folder / "env")], check=True)
    return folder / "env/bin/python"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ScoringProcess:
    """`settings` are keys of the server's configuration."""

    def __init__(self, bundle: Path, python: Path, folder: Path, script: str, **settings: Any) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir(exist_ok=True)
        (self.source / "score.py").write_text(script)
        self.state_file = folder / "state.json"
        self.log = folder / "log.txt"
        config = {
            "source_directory": str(self.source),
            "score_script": "score.py",
            "service": "digits",
            "state_file": str(self.state_file),
            "drain_quiet_ms": 100,
            **settings,
        }
        (folder / "config.json").write_text(json.dumps(config))
        with self.log.open("wb") as log:
            command = serve_command(bundle, python, folder / "config.json")
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}
        return found

    def wait_for(self, *states: str) -> ScoringProcess:
        wait_until(lambda: self.state().get("state") in states or self.process.poll() is not None, self.log)
        assert self.state().get("state") in states, self.output()
        return self

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.state()["port"], timeout=20)
        return talk(connection, method, path, body, dict(headers or {}))

    def score(self, data: Any, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", "/score", json.dumps(data), named)

    def health(self, path: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", int(self.state()["health"]), timeout=5)
        return talk(connection, "GET", path, None, {})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.state()["port"]), timeout=20)

    def terminate(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 20) -> int:
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def talk(connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: dict[str, str]) -> Reply:
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def wait_until(reached: Any, what: object, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def waiting(server: ScoringProcess) -> int:
    """Requests at the replica, in run() or queued."""
    load = server.health("/status").json
    return int(load["busy"] + load["queued"])


class Burst:
    """Several requests at once, each from a thread of its own; `replies` holds what came back, in order of asking."""

    def __init__(self, process: ScoringProcess, bodies: list[Any], **headers: str) -> None:
        self.replies: list[Reply | None] = [None] * len(bodies)
        self._threads = [
            threading.Thread(target=self._ask, args=(process, number, body, headers))
            for number, body in enumerate(bodies)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, process: ScoringProcess, number: int, body: Any, headers: dict[str, str]) -> None:
        self.replies[number] = process.score(body, **headers)

    def finish(self) -> list[Reply]:
        for thread in self._threads:
            thread.join(30)
        assert None not in self.replies, "a request got no answer"
        return [reply for reply in self.replies if reply is not None]


Start = Callable[..., ScoringProcess]
"""The fixture `start`: begins a server with a script and settings, which ends with the test."""
