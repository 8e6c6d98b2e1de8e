"""The node's own files: what to keep running, what was seen of it, logs, and the lock that a living node holds."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outhaul.adapters import state_files
from outhaul.errors import Busy
from outhaul.home import Home
from outhaul.node.state import KeptState


class NodeFolder:
    """The node's files: what to keep running, what was seen of it, and logs."""

    def __init__(self, home: Home) -> None:
        self.root = home.node
        self.services = home.node / "services"
        self.record = home.node / "node.json"
        self.lock = home.node / ".node.lock"
        self.state = home.node / "state"
        self.logs = home.node / "logs"

    def make(self) -> None:
        for folder in (self.services, self.state, self.logs):
            folder.mkdir(parents=True, exist_ok=True)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def states(self) -> dict[str, KeptState]:
        return state_files.CachedFolder(self.state, KeptState).read()


@contextmanager
def node_lock(folder: NodeFolder, wait_seconds: float = 0.0) -> Iterator[None]:
    """Held while a node lives; the kernel frees it when it dies. Busy when another has it for longer."""
    folder.root.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with folder.lock.open("a") as lock:
        while not _try_lock(lock.fileno()):
            if time.monotonic() >= deadline:
                raise Busy(
                    "node-running",
                    "another node runs for this home, or is being stopped",
                    found=f"{folder.lock} is locked",
                    remedy="wait for it, or end it with `outhaul down`",
                )
            time.sleep(0.02)
        yield


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
