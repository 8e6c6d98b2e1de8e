"""The replica's state and counters, as the health listener and the state file show them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

STARTING, READY, DRAINING, STOPPED, FAILED = "starting", "ready", "draining", "stopped", "failed"

MESSAGE_LINES = 20


@dataclass
class Load:
    """Counters of one moment. `overdue`: calls past their timeout that have not returned; `stuck`: those past the
    time after which nobody should wait for them."""

    busy: int = 0
    queued: int = 0
    overdue: int = 0
    stuck: int = 0
    handled: int = 0
    failed: int = 0


@dataclass
class Status:
    """starting → ready → draining → stopped; failed from starting."""

    service: str
    version: int
    replica: str
    slots: int
    state: str = STARTING
    message: str = ""
    host: str = ""
    port: int = 0
    health: str = ""
    """Path of the health socket, or its port as text."""
    init_seconds: float | None = None

    def fail(self, message: str) -> None:
        self.state = FAILED
        self.message = "\n".join(message.splitlines()[-MESSAGE_LINES:])

    def ready(self, load: Load) -> tuple[bool, str]:
        """Whether to send requests here, and why not."""
        if self.state != READY:
            return False, self.state
        if load.overdue >= self.slots:
            return False, f"all {self.slots} workers are in a call of run() that is past its timeout"
        return True, self.state

    def live(self, load: Load) -> bool:
        """Whether waiting longer makes sense; False asks for a restart."""
        return self.state != FAILED and load.stuck < self.slots

    def describe(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "message": self.message,
            "service": self.service,
            "version": self.version,
            "replica": self.replica,
            "pid": os.getpid(),
            "host": self.host,
            "port": self.port,
            "health": self.health,
            "init_seconds": self.init_seconds,
        }


def write_state_file(path: str, status: Status) -> None:
    """Whole or not at all. Does nothing without a path."""
    if not path:
        return
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(status.describe(), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
