"""A home with the real node and stand-in replicas, for tests that need processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from outhaul.adapters import processes
from outhaul.adapters.process_cluster import ProcessCluster
from outhaul.home import Home
from outhaul.node.control import ProcessStatus, down, status, up
from outhaul.node.local_ports import token_prefix
from outhaul.node.state import KeptProcess
from outhaul.service.replica import Replica, ReplicaTemplate

NODE = Path(__file__).with_name("node.py")


class Machine:
    """What a test does to a machine, and what it sees of it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.cluster = ProcessCluster(self.home)
        self.notes = root / "notes"

    def up(self, *kept: KeptProcess, patience: float = 20.0) -> list[ProcessStatus]:
        return up(self.home, kept, patience=patience, argv=[sys.executable, str(NODE), str(self.home.root)])

    def status(self, name: str) -> ProcessStatus:
        return next(s for s in status(self.home) if s.name == name)

    def pids(self) -> dict[str, int | None]:
        return {s.name: s.pid for s in status(self.home) if s.name != "node"}

    def kill_node(self) -> None:
        pid = self.status("node").pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.status("node").pid is None)

    def processes(self) -> list[processes.ProcessId]:
        """Every living process of this home, the node and grandchildren included."""
        prefix = token_prefix(self.home)
        return [p for token, found in processes.by_token().items() if token.startswith(prefix) for p in found]

    def kill_everything(self) -> None:
        processes.end_all(self.processes())
        until(lambda: not self.processes())

    def template(self, deployment: str = "digits-1", **env_vars: str) -> ReplicaTemplate:
        return ReplicaTemplate(
            deployment=deployment,
            service=deployment.rpartition("-")[0],
            version=1,
            environment="e",
            snapshot="s",
            score_script="score.py",
            env_vars={"NOTES": str(self.notes), "PYTHONPATH": os.pathsep.join(sys.path), **env_vars},
        )

    def replicas(self, state: str = "ready") -> list[Replica]:
        return [r for r in self.cluster.replicas() if r.state == state]

    def until_ready(self, number: int, seconds: float = 15.0) -> list[Replica]:
        until(lambda: len(self.replicas()) == number == len(self.cluster.replicas()), seconds)
        return self.replicas()

    def noted(self, word: str) -> list[list[str]]:
        """The replicas' own notes of that word: [word, replica, pid, time]."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.split() for line in lines if line.split()[0] == word]


def until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait for it; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} seconds"
        time.sleep(0.01)
    return time.monotonic() - began


@contextmanager
def machine(root: Path) -> Iterator[Machine]:
    """A machine that is clean afterwards, whatever the test did."""
    made = Machine(root)
    try:
        yield made
    finally:
        down(made.home, patience=10.0)
        processes.end_all(made.processes())


def sleeper(name: str, *, after: Sequence[str] = (), order: int = 0) -> KeptProcess:
    """A kept process that only sleeps."""
    return KeptProcess(name=name, argv=["sleep", "600"], after=list(after), order=order, stop_seconds=2.0)
