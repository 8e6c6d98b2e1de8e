"""One attempt of a run on this machine, seen from outside: its folder, its supervisor, its state."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from outhaul.adapters import processes
from outhaul.adapters.processes import TOKEN
from outhaul.errors import Failed
from outhaul.ports import AttemptStatus
from outhaul.run import supervisor
from outhaul.run.record import EndReason
from outhaul.run.script_environment import kept

_LOCK_QUERY = "hhqqi4x"
"""struct flock: type, whence, start, length, pid."""
_STARTS = 3
_POLL_SECONDS = 0.02


class AttemptOnDisk:
    """The folder `runs/<owner>/attempt-<number>` and the processes that belong to it."""

    def __init__(self, runs: Path, owner: str, number: int) -> None:
        self.number = number
        self._folder = runs / owner / f"attempt-{number}"
        self._token = str(self._folder)  # unique on the machine, also when two homes know the same run

    @staticmethod
    def of(runs: Path, owner: str) -> Iterator[AttemptOnDisk]:
        """Every attempt of the run, the first one first."""
        numbers = (path.name.removeprefix("attempt-") for path in (runs / owner).glob("attempt-*"))
        yield from (AttemptOnDisk(runs, owner, n) for n in sorted(int(n) for n in numbers if n.isdecimal()))

    def start(self, spec: Mapping[str, object]) -> None:
        """Start the script under a supervisor of its own, at most once whoever else tries.

        Failed when the supervisor cannot be started.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        env = {**spec["env"], TOKEN: self._token}  # type: ignore[dict-item]
        for _ in range(_STARTS):
            status = self.status()
            if status.running or status.reason is not None:
                return
            supervisor.write_json(self._folder / supervisor.SPEC, {**spec, "env": env})
            self._supervise()
        raise Failed(
            "supervisor-failed",
            "the entry script's supervisor does not start",
            found=self._read("supervisor.log")[-2000:].decode(errors="replace"),
            expected="a process that holds the attempt's lock",
            remedy="see what it says above, mostly a full disk, then start the run again",
        )

    def status(self) -> AttemptStatus:
        """What is known of the attempt now."""
        # In this order: who wrote `started` held the lock, and who gave the lock back had written `ended`.
        started = self._read(supervisor.STARTED)
        alive = self._supervisor() is not None
        ended = self._read(supervisor.ENDED)
        if ended:
            return _ended(json.loads(ended))
        started_at = json.loads(started)["started_at"] if started else None
        if alive or not started:
            return AttemptStatus(running=alive, started_at=started_at)
        return AttemptStatus(running=False, reason=EndReason.LOST, started_at=started_at)

    def read_log(self, offset: int, most: int) -> bytes:
        try:
            with (self._folder / supervisor.LOG).open("rb") as log:
                return os.pread(log.fileno(), most, offset)
        except FileNotFoundError:  # nothing was started yet
            return b""

    def cancel(self) -> None:
        """Ask the script to stop. Asked before it was started, it never will be."""
        if self.status().reason is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / supervisor.CANCEL).touch()

    def end(self, grace_seconds: float) -> None:
        """Stop the script and wait until none of its processes is left."""
        if self._supervisor() is not None:
            self.cancel()
        deadline = time.monotonic() + grace_seconds + 5.0
        while (pid := self._supervisor()) is not None:
            if time.monotonic() > deadline:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        self.end_strays()

    def end_strays(self) -> None:
        """End what outlived a supervisor that was killed: the children of the script."""
        while left := processes.by_token().get(self._token):
            processes.end_all(left)
            time.sleep(_POLL_SECONDS)

    def _supervise(self) -> None:
        command = [sys.executable, "-IS", supervisor.__file__, str(self._folder)]
        with (self._folder / "supervisor.log").open("ab") as log:
            # Not the caller's variables: a supervisor must not be taken for a part of the flow that started it.
            subprocess.run(
                command,
                env=kept(os.environ),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the caller's terminal is not meant for the script
                check=False,
            )

    def _supervisor(self) -> int | None:
        """The pid of the supervisor, None when none lives. The kernel knows: it holds the lock."""
        try:
            lock = os.open(self._folder / supervisor.LOCK, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            question = struct.pack(_LOCK_QUERY, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = struct.unpack(_LOCK_QUERY, fcntl.fcntl(lock, fcntl.F_GETLK, question))
        finally:
            os.close(lock)
        return None if answer[0] == fcntl.F_UNLCK else int(answer[4])

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return b""


def _ended(end: Mapping[str, float]) -> AttemptStatus:
    return AttemptStatus(
        running=False,
        exit_code=end["exit_code"],  # type: ignore[arg-type]
        reason=EndReason(str(end["reason"])),
        started_at=end["started_at"],
        ended_at=end["ended_at"],
        peak_memory_bytes=end["peak_memory_bytes"],  # type: ignore[arg-type]
    )
