"""FlowStarter over Prefect's REST API: creates a flow run and executes it at once, without a worker.

A flow run is created in the state Pending. Workers take scheduled runs only, so nobody else ever starts it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from outhaul.adapters.prefect_api import PrefectApi
from outhaul.adapters.prefect_server import client_settings, prefect_folder, ui_url
from outhaul.errors import Busy, Conflict, Refused
from outhaul.home import Home
from outhaul.ports import FlowRun
from outhaul.run.flow_folder import FlowFolder, folder_of, living

FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
WAIT_SECONDS = 0.5


class PrefectStarter:
    """Starts, restarts, shows and cancels flow runs on the server at `api_url`.

    `folder` holds the flows' code; it is the installation's own unless a test brings its own flows.
    """

    def __init__(self, home: Home, api_url: str, folder: Path | None = None) -> None:
        self.home = home
        self.api_url = api_url
        self.folder = folder or prefect_folder()
        self._api = PrefectApi(api_url)

    def close(self) -> None:
        self._api.close()

    def start(
        self, deployment: str, parameters: Mapping[str, object], *, idempotency_key: str | None = None
    ) -> FlowRun:
        """Create a flow run of `deployment` (`flow/deployment`) and execute it at once.

        The child process outlives the caller. With an `idempotency_key` that was used before, the flow run of that
        time is returned, and executed only if it never was. NotFound for an unknown deployment; Refused for parameters
        that it does not take; Unreachable.
        """
        known = self._api.deployment(deployment)
        check_parameters(deployment, known, parameters)
        body: dict[str, object] = {
            "parameters": dict(parameters),
            "state": {"type": "PENDING", "message": "Started from the command line."},
        }
        if idempotency_key is not None:
            body["idempotency_key"] = idempotency_key
        run, _new = self._api.create_flow_run(known["id"], body)
        lock = folder_of(self.home, run["id"]).lock()
        if lock is not None:
            self._execute_if_pending(run, known, lock)
        return self._flow_run(run)

    def restart(self, flow_run_id: str) -> FlowRun:
        """Execute a dead flow run again, from its first line, under the same id.

        Conflict while it is alive, and when it completed. NotFound when the server does not know it.
        """
        run = self._api.flow_run(flow_run_id)
        if run["state_type"] == "COMPLETED":
            raise _completed(run)
        lock = self._lock_of_dead(run)
        try:
            deployment = self._api.call("GET", f"/deployments/{run['deployment_id']}")
            self._api.set_state(flow_run_id, "PENDING", "Restarted from the command line.", force=True)
            self._spawn(folder_of(self.home, flow_run_id), lock, entrypoint=deployment["entrypoint"])
        finally:
            os.close(lock)
        return self.show(flow_run_id)

    def show(self, flow_run_id: str) -> FlowRun:
        return self._flow_run(self._api.flow_run(flow_run_id))

    def cancel(self, flow_run_id: str) -> None:
        """Ask the flow run to stop; returns at once. Does nothing when it has ended."""
        run = self._api.flow_run(flow_run_id)
        if run["state_type"] in FINAL:
            return
        self._api.set_state(flow_run_id, "CANCELLING", "Cancelled from the command line.")
        self.tend(flow_run_id)

    def tend(self, flow_run_id: str) -> None:
        """Have a flow run of this machine watched again when its watcher was killed, or settled when it died whole.

        For a flow run that is watched, or that a worker executes, it does nothing.
        """
        folder = folder_of(self.home, flow_run_id)
        if folder.read() is None or self._watched(flow_run_id):
            return
        lock = folder.lock()
        self._spawn(folder, lock)
        if lock is not None:
            os.close(lock)

    def wait(self, flow_run_id: str, on_state: Callable[[FlowRun], None], timeout: float | None = None) -> FlowRun:
        """Follow the flow run until it has ended and what it held is released; `on_state` hears of each change.

        Busy when `timeout` seconds pass first.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        heard = ""
        while True:
            run = self._api.flow_run(flow_run_id)
            ended = run["state_type"] in FINAL
            if ended and self._watched(flow_run_id):
                run["state_name"] = heard  # a cancelled flow is Crashed for a moment, until its watcher has settled it
                ended = False
            seen = self._flow_run(run)
            if seen.state != heard:
                on_state(seen)
                heard = seen.state
            if ended:
                return seen
            if deadline is not None and time.monotonic() > deadline:
                raise _still_running(seen, timeout)
            time.sleep(WAIT_SECONDS)

    def logs(self, flow_run_id: str, offset: int = 0, most: int = 1 << 20) -> bytes:
        """What the flow run's process on this machine printed, from byte `offset`; empty before its first line."""
        try:
            with folder_of(self.home, flow_run_id).log.open("rb") as file:
                file.seek(offset)
                return file.read(most)
        except FileNotFoundError:
            return b""

    def _execute_if_pending(self, run: Mapping[str, Any], deployment: Mapping[str, Any], lock: int) -> None:
        """The lock is free and the run is pending: it is new, or its starter died before it could execute it."""
        try:
            if run["state_type"] == "PENDING":
                self._spawn(folder_of(self.home, run["id"]), lock, entrypoint=deployment["entrypoint"])
        finally:
            os.close(lock)

    def _watched(self, flow_run_id: str) -> bool:
        known = folder_of(self.home, flow_run_id).read()
        return known is not None and living(known.pid, known.started) is not None

    def _lock_of_dead(self, run: Mapping[str, Any]) -> int:
        """The lock of a flow run that nobody executes, here or on a worker. Conflict when somebody does."""
        if run["state_type"] not in FINAL and worker_has(run):
            raise _alive(run, f"a worker executes it ({run['infrastructure_pid']})")
        lock = folder_of(self.home, run["id"]).lock()
        if lock is None:
            raise _alive(run, "its processes are alive")
        return lock

    def _spawn(self, folder: FlowFolder, lock: int | None, *, entrypoint: str = "") -> None:
        """Start the process that executes the flow at `entrypoint`, or without one looks after what is there.

        It inherits the lock, detaches itself at once and outlives the caller.
        """
        env_vars = {**os.environ, **client_settings(self.home, self.api_url, self.folder)}
        if lock is not None:
            env_vars["OUTHAUL_FLOW_LOCK"] = str(lock)
        if entrypoint:
            env_vars["PREFECT__FLOW_ENTRYPOINT"] = entrypoint  # spares the engine the deployment's pull steps
        mode = [] if entrypoint else ["--tend"]
        with folder.log.open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", "outhaul.run.flow_process", folder.path.name, *mode],
                cwd=self.folder,
                env=env_vars,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,) if lock is not None else (),
                check=True,
            )

    def _flow_run(self, run: Mapping[str, Any]) -> FlowRun:
        url = f"{ui_url(self.api_url)}/runs/flow-run/{run['id']}"
        return FlowRun(id=run["id"], name=run["name"], state=run["state_name"] or "", url=url)


def check_parameters(deployment: str, known: Mapping[str, Any], parameters: Mapping[str, object]) -> None:
    """Refuse names that the flow does not take: the server accepts them, and the flow run then crashes."""
    taken = set((known.get("parameter_openapi_schema") or {}).get("properties") or {})
    unknown = sorted(set(parameters) - taken)
    if unknown:
        raise Refused(
            "flow-parameter-unknown",
            f"the deployment `{deployment}` takes no parameter {', '.join(f'`{name}`' for name in unknown)}",
            found=", ".join(unknown),
            expected=", ".join(sorted(taken)) or "no parameters",
            remedy="outhaul up registers the deployments of this version, if the server's are older",
        )


def worker_has(run: Mapping[str, Any]) -> bool:
    """Whether a worker's process (`host:pid`) may still execute the flow run. One on another host may always."""
    host, _, pid = str(run.get("infrastructure_pid") or "").rpartition(":")
    if not pid.isdigit():
        return False
    if host != socket.gethostname():
        return True
    try:
        return any("prefect" in word for word in psutil.Process(int(pid)).cmdline())
    except psutil.NoSuchProcess:
        return False


def _alive(run: Mapping[str, Any], found: str) -> Conflict:
    return Conflict(
        "flow-run-alive",
        f"the flow run `{run['name']}` is still being executed",
        found=found,
        expected="a flow run that died",
        remedy=f"outhaul run logs --follow {run['id']} follows it; outhaul run cancel {run['id']} stops it",
    )


def _completed(run: Mapping[str, Any]) -> Conflict:
    return Conflict(
        "flow-run-completed",
        f"the flow run `{run['name']}` has completed",
        found=f"state {run['state_name']}",
        expected="a flow run that died, failed or was cancelled",
        remedy="outhaul deploy starts a new one",
    )


def _still_running(run: FlowRun, timeout: float | None) -> Busy:
    return Busy(
        "flow-run-unfinished",
        f"the flow run `{run.name}` did not end within {timeout:g} s",
        found=f"state {run.state}",
        remedy=f"outhaul run show {run.id}",
    )
