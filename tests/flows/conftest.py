"""One real Prefect server for all flow tests, and a home per test."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from outhaul.adapters.prefect_server import own_api_url, server_process
from outhaul.home import Home
from tests.flows.machine import Machine

SERVER_SECONDS = 180.0
TEST_SECONDS = 300.0
"""More than elsewhere: the first test waits for the server's start."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def eventually(holds: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `holds()` is true; fail with its name when it never is."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {getattr(holds, '__name__', holds)}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def kept(process: Mapping[str, Any], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process as `outhaul up` would keep it, and end it with its whole group."""
    Path(process["cwd"]).mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            process["argv"],
            env={**os.environ, **process["env_vars"]},
            cwd=process["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.wait()


@pytest.fixture(scope="session")
def bytecode(pytestconfig: pytest.Config) -> Path:
    """Prefect's compiled modules, shared by all homes and sessions: compiling them takes seconds."""
    return pytestconfig.cache.mkdir("bytecode")


def new_home(root: Path, bytecode: Path) -> Home:
    home = Home(root)
    home.cache.mkdir(parents=True)
    (home.cache / "bytecode").symlink_to(bytecode)
    return home


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> Iterator[str]:
    """The API's URL of a real server with an empty database, on loopback."""
    root = tmp_path_factory.mktemp("prefect-server")
    process = server_process(new_home(root / "home", bytecode), free_port())
    with kept(process, root / "server.log") as server:

        def server_answers() -> bool:
            assert server.poll() is None, (root / "server.log").read_text()[-4000:]
            try:
                return httpx.get(process["ready"]["http"], trust_env=False).is_success
            except httpx.TransportError:
                return False

        eventually(server_answers, SERVER_SECONDS)
        yield own_api_url(int(process["argv"][-1]))


@pytest.fixture
def home(tmp_path: Path, bytecode: Path) -> Home:
    """An empty home."""
    return new_home(tmp_path / "home", bytecode)


@pytest.fixture(scope="module")
def machine(prefect_api: str, tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> Iterator[Machine]:
    """A home that is up, on the shared server. One per module: a worker of another one would take its flow runs."""
    root = tmp_path_factory.mktemp("machine")
    machine = Machine(
        new_home(root / "home", bytecode),
        {
            "OUTHAUL_HOME": str(root / "home"),
            "OUTHAUL_GLOBAL_ENVIRONMENTS": str(root / "global"),
            "OUTHAUL_SLOTS": "8",
            "PREFECT_API_URL": prefect_api,
        },
    )
    try:
        machine.ok("up")
        yield machine
    finally:
        machine.ok("down")
