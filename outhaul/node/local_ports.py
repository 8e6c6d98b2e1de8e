"""Ports on loopback: picked free once and kept under a name, or picked for one replica."""

from __future__ import annotations

import fcntl
import random
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from outhaul.adapters import processes, state_files
from outhaul.errors import Busy, Refused
from outhaul.home import Home

HOST = "127.0.0.1"
RANGE = range(20_000, 32_000)
"""Below the range from which the kernel takes ports for outgoing connections, so that none is lost to one of those
between two starts of its owner."""
TRIES = 200
DYING_SECONDS = 1.0


class _Ports(msgspec.Struct):
    ports: dict[str, int]


@dataclass(frozen=True)
class Holder:
    """The program that listens on a port."""

    pid: int
    program: str


def pick_port(home: Home, name: str, wanted: int | None) -> int:
    """The port for `name`: `wanted`, else the one it had before, else a free one; kept for the next time.

    Refused (`port-in-use`) when a program that is not of this home listens there.
    """
    with _locked(home):
        path = home.node / "ports.json"
        known = state_files.read(path, _Ports) or _Ports({})
        port = wanted or known.ports.get(name) or free_port(set(known.ports.values()))
        _check_usable(home, name, port)
        if known.ports.get(name) != port:
            state_files.write(path, _Ports({**known.ports, name: port}))
        return port


def check_port(home: Home, name: str, port: int) -> None:
    """Refused (`port-in-use`) when a program that is not of this home listens on `port`. Changes nothing."""
    _check_usable(home, name, port)


def known_port(home: Home, name: str) -> int | None:
    """The port that `name` was given before, None when it never was."""
    known = state_files.read(home.node / "ports.json", _Ports)
    return known.ports.get(name) if known else None


def free_port(taken: Collection[int] = ()) -> int:
    """A port that nobody listens on and that is not in `taken`."""
    for port in random.sample(RANGE, TRIES):
        if port not in taken and is_free(port):
            return port
    raise Busy("no-free-port", f"no free port among {TRIES} tried", expected=f"one in {RANGE.start} to {RANGE.stop}")


def is_free(port: int) -> bool:
    """Whether a program could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def holder(port: int) -> Holder | None:
    """Who listens on the port, None when that cannot be known (another user's process)."""
    import psutil  # slow to import, and only wanted for this message

    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
            continue
        if connection.laddr.port == port:
            try:
                return Holder(connection.pid, psutil.Process(connection.pid).name())
            except psutil.NoSuchProcess:
                return None
    return None


def _check_usable(home: Home, name: str, port: int) -> None:
    """A program that was just killed holds its port a moment longer, and cannot be named: so look again for a while."""
    deadline = time.monotonic() + DYING_SECONDS
    while not is_free(port):
        found = holder(port)
        if found and processes.token_of(found.pid).startswith(token_prefix(home)):
            return
        if time.monotonic() > deadline:
            raise _in_use(name, port, found)
        time.sleep(0.05)


def _in_use(name: str, port: int, found: Holder | None) -> Refused:
    return Refused(
        "port-in-use",
        f"port {port} for {name} is in use by another program",
        found=f"{found.program} (pid {found.pid})" if found else "a program that cannot be named (another user's)",
        expected=f"nobody listening on {HOST}:{port}",
        remedy=f"stop that program, or set OUTHAUL_{name.upper()}_PORT to another port",
    )


def token_prefix(home: Home) -> str:
    """How the tokens of all processes of this home begin."""
    return home.sockets.name.rpartition("-")[2] + "/"


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    home.node.mkdir(parents=True, exist_ok=True)
    with (home.node / ".ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
