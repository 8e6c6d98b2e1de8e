"""The small process that starts an entry script, watches it to its end and writes down how it ended.

    python -IS supervisor.py ATTEMPT_FOLDER

It outlives whoever started it. It is one file and uses only the standard library, so that it starts in a few
hundredths of a second, stays small, and needs no search path. The attempt's folder holds, in this order:

- `spec.json`    what to run; written by the caller
- `lock`         a POSIX lock, held while the supervisor lives; anybody may ask who holds it
- `log.txt`      stdout and stderr, written by the script itself, so that nobody's death loses output
- `started.json` written to disk before the script starts: with it, no supervisor starts the script again
- `cancel`       its presence asks the script to stop
- `ended.json`   written last, when every process of the script is gone

A supervisor that dies takes the script with it (parent-death signal); lock free, started and not ended means *lost*.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

SPEC, LOCK, LOG, STARTED, CANCEL, ENDED = "spec.json", "lock", "log.txt", "started.json", "cancel", "ended.json"

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_AWAITED = {signal.SIGCHLD, signal.SIGTERM}
_SAMPLE_SECONDS = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CANNOT_START = 127
_GONE = (FileNotFoundError, ProcessLookupError)
_libc = ctypes.CDLL(None, use_errno=True)


def main(folder: Path) -> int:
    """Supervise in a child of its own session; return as soon as the script has started or will not be started."""
    reader, writer = os.pipe()
    if os.fork() != 0:
        os.close(writer)
        os.read(reader, 1)  # ends when the child has closed its end
        return 0
    os.close(reader)
    os.setsid()
    supervise(folder, writer)
    return 0


def supervise(folder: Path, ready: int) -> None:
    """Run the attempt, unless another supervisor does or did. Closes `ready` when the script has started."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows either: somebody else holds it
        return
    if (folder / STARTED).exists() or (folder / ENDED).exists():
        return
    spec = json.loads((folder / SPEC).read_bytes())
    started_at = time.time()
    if (folder / CANCEL).exists():
        end = {"exit_code": None, "reason": "cancelled", "peak_memory_bytes": None}
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        write_json(folder / STARTED, {"started_at": started_at})
        end = Watch(folder, spec).to_the_end(ready)
    write_json(folder / ENDED, {"started_at": started_at, "ended_at": time.time(), **end})


class Watch:
    """A running script, its limits, and the reason for which it is being ended, if any."""

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self._folder = folder
        self._spec = spec
        self._reason: str | None = None
        self._kill_at = float("inf")
        self._sample_at = 0.0
        self._peak = 0
        limit = spec["timeout_seconds"]
        self._deadline = float("inf") if limit is None else time.monotonic() + limit

    def to_the_end(self, ready: int) -> dict[str, Any]:
        """Start the script and return when all its processes are gone."""
        kills_before = _kernel_memory_kills()
        # Orphans of the script become our children, so that even a daemon is found and ended.
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        log = os.open(self._folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        script = _start(self._spec, log)
        os.close(ready)
        exit_code = self._wait(script)
        _end_descendants()
        os.fsync(log)
        killed_by_kernel = exit_code == -signal.SIGKILL and _kernel_memory_kills() > kills_before
        reason = self._reason or ("memory-limit" if killed_by_kernel else "exited")
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        return {"exit_code": exit_code, "reason": reason, "peak_memory_bytes": max(self._peak, largest)}

    def _wait(self, script: int) -> int:
        while True:
            arrived = signal.sigtimedwait(_AWAITED, _SAMPLE_SECONDS)
            if arrived is not None and arrived.si_signo == signal.SIGTERM:
                self._end("lost", now=True)  # the machine is going down
            status = _reap(script)
            if status is not None:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= self._sample_at:
                self._sample_at = time.monotonic() + _SAMPLE_SECONDS
                self._look(script)

    def _look(self, script: int) -> None:
        limit = self._spec["memory_bytes"]
        used = _memory(limit)
        self._peak = max(self._peak, used)
        if limit is not None and used > limit:
            self._end("memory-limit", now=True)
        elif time.monotonic() > self._kill_at:
            self._end("", now=True)
        elif time.monotonic() > self._deadline:
            self._end("time-limit", script=script)
        elif (self._folder / CANCEL).exists():
            self._end("cancelled", script=script)

    def _end(self, reason: str, *, script: int = 0, now: bool = False) -> None:
        """Ask the script to stop, or stop it `now`. The first reason counts."""
        asked, self._reason = self._reason, self._reason or reason
        if now:
            _kill_descendants()
        elif asked is None:
            self._kill_at = time.monotonic() + self._spec["grace_seconds"]
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.killpg(script, signal.SIGTERM)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write to disk, complete or not at all; readable for the owner only, since variables may be secret."""
    part = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_ident()}")
    with open(part, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def _start(spec: dict[str, Any], log: int) -> int:
    supervisor = os.getpid()
    script = os.fork()
    if script != 0:
        return script
    try:
        _become(spec, log, supervisor)
    except BaseException as error:  # noqa: BLE001 - whatever it is, this copy of the supervisor must not go on
        os.write(log, f"outhaul: cannot start {spec['argv'][0]}: {error}\n".encode())
    os._exit(_CANNOT_START)


def _become(spec: dict[str, Any], log: int, supervisor: int) -> NoReturn:
    """Turn this forked process into the script."""
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:  # it died before it could take us with it
        os._exit(_CANNOT_START)
    with suppress(OSError):  # some sandboxes forbid it; it only makes the kernel pick the script first
        Path("/proc/self/oom_score_adj").write_text("500")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(spec["cwd"])
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python, and that would be inherited
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execve(spec["argv"][0], spec["argv"], spec["env"])


def _reap(script: int) -> int | None:
    """Collect every child that has ended; the script's status when it is among them."""
    found = None
    with suppress(ChildProcessError):  # none left
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            found = ended[1] if ended[0] == script else found
    return found


def _end_descendants() -> None:
    with suppress(ChildProcessError):  # none left: done
        while True:
            _kill_descendants()
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
            time.sleep(0.002)


def _kill_descendants() -> None:
    for pid in _descendants(os.getpid()):
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    """Children belong to the thread that made them, so every thread is asked."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except _GONE:
        return
    for thread in threads:
        for child in _read(f"/proc/{pid}/task/{thread}/children").split():
            yield int(child)
            yield from _descendants(int(child))


def _memory(limit: int | None) -> int:
    """Bytes that the script's processes hold together.

    Resident sizes count shared pages once per process, which would punish forking; so near the limit the exact
    proportional sizes are added up instead. They are dearer to get.
    """
    processes = list(_descendants(os.getpid()))
    resident = sum(int((_read(f"/proc/{pid}/statm").split() or ["0", "0"])[1]) for pid in processes) * _PAGE
    if limit is None or resident <= limit or len(processes) < 2:
        return resident
    return sum(_proportional(pid) for pid in processes)


def _proportional(pid: int) -> int:
    lines = _read(f"/proc/{pid}/smaps_rollup").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _kernel_memory_kills() -> int:
    """How many processes the kernel killed for want of memory, since it was started. 0 where it does not tell."""
    lines = _read("/proc/vmstat").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (*_GONE, PermissionError):  # ended meanwhile, or not ours to see
        return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
