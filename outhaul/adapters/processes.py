"""Processes of this machine: started detached, named by pid and start, found again, ended with all they started.

A signal goes through a pidfd that was checked against the process's start, so a recycled pid is never signalled. Each
process carries a token in its environment that its descendants inherit: that is how a process is found whose pid
could not be noted in time, and how children are found that outlived it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from outhaul.errors import Failed
from outhaul.node.state import ProcessId

TOKEN = "OUTHAUL_PROCESS"
_PROC = Path("/proc")
_GONE = (FileNotFoundError, ProcessLookupError)
_PF_EXITING = 0x4
"""Of a process's flags in /proc/<pid>/stat (see proc(5)): set from the moment on that it begins to end."""


@dataclass(frozen=True)
class Launch:
    """What to start. `env_vars` are all it gets, but for the token; stdout and stderr are appended to `log`."""

    argv: Sequence[str]
    env_vars: Mapping[str, str]
    cwd: Path
    log: Path
    token: str


@dataclass(frozen=True)
class Started:
    """A process, and our handle on it where we are its parent: it must be waited for, else a zombie stays."""

    process: ProcessId
    child: subprocess.Popen[bytes] | None


def spawn(launch: Launch) -> Started:
    """Start in a session of its own, so that neither a closed terminal nor the starter's death ends it.

    Failed when it cannot be executed.
    """
    _reap()
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with launch.log.open("ab") as log:
            popen = subprocess.Popen(
                list(launch.argv),
                cwd=launch.cwd,
                env={**launch.env_vars, TOKEN: launch.token},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise Failed(
            "cannot-start",
            f"cannot start {launch.argv[0]}",
            found=str(error),
            expected="a program that this user may execute, in a folder that exists",
            remedy="see the message; if a file is gone, run the command again that made it",
        ) from error
    _children.append(popen)
    return Started(ProcessId(popen.pid, _started(_stat(popen.pid))), popen)


_children: list[subprocess.Popen[bytes]] = []
"""Held while they run: they may outlive us on purpose, which a Popen that nobody holds complains about."""


def _reap() -> None:
    """Let the kernel forget those that have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def identify(pid: int) -> ProcessId | None:
    """The process that has this pid now, None when there is none, it is a zombie, or it is on its way out."""
    try:
        fields = _stat(pid)
    except _GONE:
        return None
    # A process that was killed has lost its memory, and with it its token, some time before it becomes a zombie. Who
    # took it for alive then would wait for what it never does: `up` for a node that is dead a moment later.
    ending = fields[0] in ("Z", "X") or int(fields[6]) & _PF_EXITING
    return None if ending else ProcessId(pid, _started(fields))


def alive(process: ProcessId) -> bool:
    """Whether this very process runs."""
    return identify(process.pid) == process


@contextmanager
def watched(process: ProcessId) -> Iterator[int | None]:
    """A pidfd of this very process, None when it has ended."""
    fd = open_pidfd(process)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def open_pidfd(process: ProcessId) -> int | None:
    """A descriptor that becomes readable when the process ends; None when it has ended. The caller closes it."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if alive(process):  # checked after opening: from here on the descriptor means this process, whatever its pid does
        return fd
    os.close(fd)
    return None


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Signal this very process. False when it has ended."""
    with watched(process) as fd:
        if fd is None:
            return False
        with suppress(ProcessLookupError):  # ended since: what was asked for is so
            signal.pidfd_send_signal(fd, number)
        return True


def by_token() -> dict[str, list[ProcessId]]:
    """Token → every living process of this user that carries it. Reads the environment of them all: some 10 ms."""
    found: dict[str, list[ProcessId]] = {}
    for process in _own_processes():
        token = token_of(process.pid)
        if token:
            found.setdefault(token, []).append(process)
    return found


def leader(processes: Sequence[ProcessId]) -> ProcessId | None:
    """The one among them that was started by `spawn`: it leads a session."""
    return next((process for process in processes if _session(process.pid) == process.pid), None)


def in_session(processes: Sequence[ProcessId], leader: ProcessId) -> list[ProcessId]:
    """Those that stayed in the leader's session, the leader itself among them while it lives."""
    return [process for process in processes if _session(process.pid) == leader.pid]


def end_all(processes: Sequence[ProcessId], number: signal.Signals = signal.SIGKILL) -> None:
    """Signal each of them."""
    for process in processes:
        send(process, number)


def memory_bytes(process: ProcessId) -> int:
    """Resident memory of the process and its descendants. Shared pages count once per process. 0 when it has ended."""
    return _tree_memory(process.pid) if alive(process) else 0


def _tree_memory(pid: int) -> int:
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
        # Children belong to the thread that made them, so every thread is asked.
        children = [child for thread in (_PROC / str(pid) / "task").iterdir() for child in _children_of(thread)]
    except _GONE:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_tree_memory(child) for child in children)


def _children_of(thread: Path) -> list[int]:
    try:
        return [int(child) for child in (thread / "children").read_text().split()]
    except _GONE:
        return []


def _own_processes() -> Iterator[ProcessId]:
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal():
            with suppress(*_GONE):  # ended while we looked
                if entry.stat().st_uid == os.getuid():
                    process = identify(int(entry.name))
                    if process:
                        yield process


def token_of(pid: int) -> str:
    """The token that a process was started with or inherited; empty when it has none."""
    try:
        env_vars = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except (*_GONE, PermissionError):  # ended, or not ours after all (setuid): nothing we started
        return ""
    start = f"{TOKEN}=".encode()
    return next((v[len(start) :].decode() for v in env_vars if v.startswith(start)), "")


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except _GONE:
        return -1


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; the program's name before them may hold anything."""
    return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(") ")[2].split()


def _started(fields: list[str]) -> str:
    return f"{_boot()}/{fields[19]}"


@cache
def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
