"""The files by which a flow run's processes are known on this machine: log, pids, and the lock that says "alive"."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from outhaul.adapters import state_files
from outhaul.home import Home

TAIL_LINES = 20
TAIL_BYTES = 8192


class Processes(msgspec.Struct, kw_only=True):
    """`flow.json`: who executes the flow run. Start times (Unix seconds) tell a process from a later one of its pid."""

    pid: int
    started: float
    engine_pid: int | None = None
    engine_started: float | None = None


@dataclass(frozen=True)
class FlowFolder:
    """The files of one flow run's processes, in the run's own folder."""

    path: Path

    @property
    def log(self) -> Path:
        """What the engine printed, in all executions."""
        return self.path / "flow.log"

    @property
    def processes(self) -> Path:
        return self.path / "flow.json"

    def lock(self) -> int | None:
        """A descriptor that holds the flow run, None while somebody else does. Whoever inherits it holds it too."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "flow.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def read(self) -> Processes | None:
        return state_files.read(self.processes, Processes)

    def write(self, processes: Processes) -> None:
        state_files.write(self.processes, processes)

    def tail(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-TAIL_LINES:])
        except FileNotFoundError:
            return ""


def folder_of(home: Home, flow_run_id: str) -> FlowFolder:
    return FlowFolder(home.runs / flow_run_id)


def flow_is_alive(home: Home, flow_run_id: str) -> bool:
    """Whether a process of this machine executes the flow run."""
    known = folder_of(home, flow_run_id).read()
    if known is None:
        return False
    return any(
        living(pid, started) is not None
        for pid, started in ((known.pid, known.started), (known.engine_pid, known.engine_started))
    )


def living(pid: int | None, started: float | None) -> psutil.Process | None:
    """The process of that pid if it is still the one that was recorded."""
    if pid is None or started is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None
