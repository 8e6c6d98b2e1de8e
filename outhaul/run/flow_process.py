"""Executes one flow run: `python -m outhaul.run.flow_process FLOW_RUN_ID [--tend]`.

This process starts Prefect's engine, watches it, stops it when the flow run is cancelled, and gives the flow run a
final state when the engine dies without one. Both hold an open lock file, so a flow run is alive exactly as long as its
lock is held, whoever was killed. With `--tend` no engine is started: a living one is watched, a dead one is settled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import psutil

from outhaul.errors import OuthaulError, Unreachable
from outhaul.home import Home
from outhaul.run.flow_folder import Processes, folder_of, living

if TYPE_CHECKING:
    from outhaul.adapters.prefect_api import PrefectApi

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0
"""How long a cancelled flow may take to release what it holds, before it is killed."""
SETTLE_SECONDS = 120.0
"""How long to try to reach the server with the final state."""
FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


class FlowProcess:
    """Watches the engine of one flow run until the flow run has a final state."""

    def __init__(self, home: Home, flow_run_id: str, api_url: str) -> None:
        self.home = home
        self.id = flow_run_id
        self.folder = folder_of(home, flow_run_id)
        self._api_url = api_url
        self._told_to_stop = False
        self._unreachable_told = False

    def run(self, *, tend: bool) -> None:
        """Execute the flow run, or only look after what is left of it."""
        signal.signal(signal.SIGTERM, self._stop)
        engine = self._engine_alive() if tend else self._start_engine()
        ended = self._watch(engine) if engine else "its process is gone"
        if inherited_lock() or self.folder.lock() is not None:  # else somebody has restarted it meanwhile
            self._settle(ended)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_stop = True

    def _engine_alive(self) -> psutil.Process | None:
        known = self.folder.read()
        engine = living(known.engine_pid, known.engine_started) if known else None
        if engine is not None:
            self._record(engine)
        return engine

    def _start_engine(self) -> psutil.Process:
        self._record(None)
        engine = psutil.Popen(
            engine_argv(self.home),
            env=engine_env_vars(self.id),
            stdin=subprocess.DEVNULL,
            pass_fds=inherited_lock(),
            start_new_session=True,
        )
        self._record(engine)
        return engine

    def _record(self, engine: psutil.Process | None) -> None:
        me = psutil.Process()
        self.folder.write(
            Processes(
                pid=me.pid,
                started=me.create_time(),
                engine_pid=engine.pid if engine else None,
                engine_started=engine.create_time() if engine else None,
            )
        )

    def _watch(self, engine: psutil.Process) -> str:
        """Wait for the engine's end; says how it ended."""
        stop_at: float | None = None
        while True:
            try:
                return _how_it_ended(engine.wait(timeout=POLL_SECONDS))
            except psutil.TimeoutExpired:
                stop_at = self._stop_if_asked(engine, stop_at)

    def _stop_if_asked(self, engine: psutil.Process, stop_at: float | None) -> float | None:
        """SIGTERM once when the flow run is to stop, SIGKILL after the grace. Returns when to kill."""
        if stop_at is None and (self._told_to_stop or self._state() in ("CANCELLING", "CANCELLED")):
            engine.terminate()
            return time.monotonic() + GRACE_SECONDS
        if stop_at is not None and time.monotonic() > stop_at:
            engine.kill()
        return stop_at

    @cached_property
    def _api(self) -> PrefectApi:
        from outhaul.adapters.prefect_api import PrefectApi  # only once the engine has been started

        return PrefectApi(self._api_url)

    def _state(self) -> str:
        """The flow run's state type; empty while the server does not answer, since the engine works on meanwhile."""
        try:
            return str(self._api.flow_run(self.id)["state_type"])
        except Unreachable as error:
            if not self._unreachable_told:
                print(f"outhaul: {error}", flush=True)
            self._unreachable_told = True
            return ""

    def _settle(self, ended: str) -> None:
        """A final state that says why. A cancelled flow is released here as well, in case it was killed doing so.

        A crashed one is not: its entry script works on, and a restart attaches itself to it; else `reap` releases it.
        """
        state = self._state_at_last()
        if state in ("CANCELLING", "CANCELLED") or (state == "CRASHED" and self._cancel_was_asked()):
            self._finish("CANCELLED", "Cancelled by a person.")
            release(self.home, self.id)
        elif state not in FINAL:
            self._finish("CRASHED", f"The flow's process ended before the flow did: {ended}.\n{self.folder.tail()}")

    def _state_at_last(self) -> str:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not (state := self._state()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return state

    def _cancel_was_asked(self) -> bool:
        """Whether the last state before the crash was Cancelling: the engine reports its SIGTERM as a crash."""
        states = self._api.call("GET", f"/flow_run_states/?flow_run_id={self.id}")
        ordered = sorted(states, key=lambda state: str(state["timestamp"]))
        return len(ordered) > 1 and ordered[-2]["type"] == "CANCELLING"

    def _finish(self, state: str, message: str) -> None:
        self._api.set_state(self.id, state, message, force=True)
        print(f"outhaul: {message.splitlines()[0]}", flush=True)


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "its process is gone"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"


def engine_argv(home: Home) -> list[str]:
    """Bytecode goes to a cache of ours: importing Prefect takes half the time, wherever it is installed."""
    return [sys.executable, "-X", f"pycache_prefix={home.cache / 'bytecode'}", "-m", "prefect.engine"]


def engine_env_vars(flow_run_id: str) -> dict[str, str]:
    env_vars = {name: value for name, value in os.environ.items() if name != "OUTHAUL_FLOW_LOCK"}
    return env_vars | {"PREFECT__FLOW_RUN_ID": flow_run_id}


def inherited_lock() -> tuple[int, ...]:
    """The lock's descriptor, as the starter handed it over."""
    number = os.environ.get("OUTHAUL_FLOW_LOCK")
    return (int(number),) if number else ()


def release(home: Home, flow_run_id: str) -> None:
    """Free what the flow run may still hold."""
    from outhaul.run.release import release_cancelled  # only for the few runs that are cancelled

    release_cancelled(home, flow_run_id)


def detach() -> None:
    """Leave the caller: no child of its to be waited for, no terminal to be interrupted from."""
    if os.fork():
        os._exit(0)
    os.setsid()


def main(arguments: list[str]) -> int:
    detach()
    home = Home(Path(os.environ["OUTHAUL_HOME"]))
    process = FlowProcess(home, arguments[0], os.environ["PREFECT_API_URL"])
    try:
        process.run(tend="--tend" in arguments[1:])
    except OuthaulError as error:
        print(f"outhaul: {error}", flush=True)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
