"""The command line as its users meet it: a process of its own on a home of its own, JSON on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from outhaul.adapters.processes import by_token
from outhaul.home import Home
from outhaul.node.local_ports import token_prefix
from outhaul.node.state import ProcessId

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "examples"
COMMAND_SECONDS = 400.0


class Outhaul:
    """`outhaul(…)` runs one command that must succeed, and returns its answer.

    `prefix` goes before each command, such as one that enters a network namespace.
    """

    def __init__(self, root: Path, bytecode: Path, prefix: Sequence[str] = ()) -> None:
        self.home = Home(root)
        self._prefix = prefix
        self._env_vars = {name: v for name, v in os.environ.items() if not name.startswith(("OUTHAUL_", "PREFECT_"))}
        self._env_vars |= {"OUTHAUL_HOME": str(root), "OUTHAUL_GLOBAL_ENVIRONMENTS": str(root / "global")}
        self.home.cache.mkdir(parents=True)
        (self.home.cache / "bytecode").symlink_to(bytecode)  # compiling Prefect takes long; any home's will do

    def __call__(self, *arguments: str | Path) -> Any:
        ended = self.execute(*arguments, "-o", "json")
        assert ended.returncode == 0, f"outhaul {' '.join(map(str, arguments))}\n{ended.stderr}"
        return json.loads(ended.stdout)

    def refused(self, *arguments: str | Path) -> dict[str, Any]:
        """The error of a command that must fail."""
        ended = self.execute(*arguments, "-o", "json")
        assert ended.returncode in (1, 4), f"exit status {ended.returncode}\n{ended.stderr}"
        return dict(json.loads(ended.stderr.splitlines()[-1])["error"])

    def execute(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, however it ends."""
        return subprocess.run(
            self._argv(arguments),
            env=self._env_vars,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a command whose output is read while it runs."""
        return subprocess.Popen(
            self._argv(arguments),
            env=self._env_vars,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> list[ProcessId]:
        """Everything that runs for this home: what the node keeps, replicas, and the node itself."""
        prefix = token_prefix(self.home)
        return [p for token, found in by_token().items() if token.startswith(prefix) for p in found]

    def _argv(self, arguments: Sequence[str | Path]) -> list[str]:
        return [*self._prefix, sys.executable, "-m", "outhaul.cli", *map(str, arguments)]


def ask(url: str, body: object = None, key: str | None = None) -> httpx.Response:
    """One request as a client sends it: POST with a body, else GET."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.get(url, headers=headers) if body is None else client.post(url, json=body, headers=headers)


def eventually(holds: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `holds()` is true; fail with `what` when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
