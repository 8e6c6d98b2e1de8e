"""Kill a flow's process at a point of its run, start it again, and look for what was done twice or left behind."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil

from outhaul.model.registry import list_models
from outhaul.run.record import Run, RunState, StepState
from outhaul.service.deployer_lock import Lock
from outhaul.service.record import ServiceState
from outhaul.service.rollout import find_service
from outhaul.store.keys import service_lock
from tests.flows.conftest import eventually
from tests.flows.machine import PROJECTS, Machine

HOOK = Path(__file__).parent / "kill_point"
REACHED_SECONDS = 120.0
SETTLED_SECONDS = 60.0
PASSING_NAMES = (".part-*", ".new-*", ".removed-*", "*.tmp", "*.part", ".*.json-*")
"""What files and folders are called before they are whole, or while they are taken away."""


class NeverReached(AssertionError):
    """The flow ended without coming to the point at which it was to be killed."""


@dataclass(frozen=True)
class Deployment:
    """A `deploy` of the tiny project, as its own service, that keeps a book of the entry script's executions."""

    machine: Machine
    folder: Path
    name: str
    reuse: bool = False
    seconds: float = 0.0
    made_by: str = ""
    """The deployment whose training is reused; by default nobody's."""

    @property
    def book(self) -> Path:
        return self.folder / f"{self.made_by or self.name}.book"

    @property
    def words(self) -> list[str]:
        arguments = ["--train-arguments", f"{self.book} {self.seconds}"]
        # The base image is part of the environment's hash and nothing else here: each deployment builds its own.
        environment = ["--base-image", f"example.com/{self.made_by or self.name}"]
        reuse = ["--reuse"] if self.reuse else []
        return ["deploy", str(PROJECTS / "tiny"), "--service", self.name, *arguments, *environment, *reuse]

    def complete(self) -> str:
        """Deploy without disturbance. Returns the run's id."""
        return self.machine.ok(*self.words, "-o", "json").run_id

    def stop_at(self, point: str) -> Flow:
        """Start it, and return when its flow's process stands still at `point`. NeverReached when it does not."""
        reached = self.folder / f"{self.name}.reached"
        env_vars = {"PYTHONPATH": str(HOOK), "KILL_POINT": point, "KILL_POINT_REACHED": str(reached)}
        flow = self.start(**env_vars)

        def point_is_reached() -> bool:
            if not reached.exists() and not self.machine.flow_alive(flow.run_id):
                raise NeverReached(self.machine.flow(flow.run_id).log.read_text()[-3000:])
            return reached.exists()

        eventually(point_is_reached, REACHED_SECONDS)
        return flow

    def wait_for_training(self) -> None:
        """Return when the entry script runs."""
        eventually(self.book.exists, REACHED_SECONDS)

    def start(self, **env_vars: str) -> Flow:
        started = self.machine.ok(*self.words, "--detach", "-o", "json", **env_vars)
        return Flow(self.machine, started.json["id"])


@dataclass(frozen=True)
class Flow:
    """The processes of one flow run."""

    machine: Machine
    run_id: str

    def kill(self, *, watcher: bool) -> None:
        """SIGKILL the flow's process, and its watcher before it where that is asked; wait until both are gone.

        A watcher that lives ends by itself, when it has told Prefect that the flow crashed.
        """
        known = self.machine.flow(self.run_id).read()
        assert known is not None
        assert known.engine_pid is not None
        for pid in [known.pid] * watcher + [known.engine_pid]:
            os.kill(pid, signal.SIGKILL)

        def flow_is_dead() -> bool:
            return not self.machine.flow_alive(self.run_id)

        eventually(flow_is_dead, SETTLED_SECONDS)

    def restart(self) -> Run:
        """`outhaul run restart`, to the end."""
        self.machine.ok("run", "restart", self.run_id, "-o", "json")
        return self.machine.run(self.run_id)


def check_done(deployment: Deployment, run: Run) -> None:
    """It completed, everything was done exactly once, and the run holds nothing any more."""
    check_completed(run)
    check_done_once(deployment, run)
    check_nothing_held(deployment.machine, run.id)
    lock = deployment.machine.records.read(service_lock(deployment.name), Lock)[0]
    assert lock.released


def check_completed(run: Run) -> None:
    assert (run.state, run.error) == (RunState.COMPLETED, None)
    unfinished = {step.name: step.state for step in run.steps if step.state not in (StepState.DONE, StepState.REUSED)}
    assert unfinished == {}


def check_done_once(deployment: Deployment, run: Run) -> None:
    workspace = deployment.machine.workspace
    assert deployment.book.read_text() == "trained\n"
    models = [model for model in list_models(workspace, "tiny") if model.provenance.run == (run.reused_from or run.id)]
    assert [model.ref for model in models] == run.models
    assert len(models) == 1
    service = find_service(workspace, deployment.name)
    assert service.state is ServiceState.HEALTHY
    assert [(version.weight, version.models) for version in service.versions] == [(100, run.models)]
    deployments = [t.deployment for t in workspace.cluster.deployments() if t.service == deployment.name]
    assert deployments == [f"{deployment.name}-{service.versions[0].number}"]
    assert deployment.machine.ok("service", "run", deployment.name, "-d", "{}").json == {"model": "0"}


def check_nothing_held(machine: Machine, run_id: str) -> None:
    """No slot, no temporary storage, no process, however the run has ended."""
    assert run_id not in [lease.owner for lease in machine.workspace.compute.leases()]
    assert [str(path) for path in machine.home.slots.glob(f"*/{run_id}*")] == []

    def processes_are_gone() -> bool:
        return processes_of(run_id) == []

    eventually(processes_are_gone, SETTLED_SECONDS)


def processes_of(run_id: str) -> list[str]:
    """The command lines of all processes that carry the run's id in their environment or arguments."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
            if any(run_id in word for word in words) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):  # ended while it was looked at, or not ours
            continue
    return found


def half_written(machine: Machine) -> list[str]:
    """Everything below the home that has a passing name. The bytecode cache and Prefect's own files do not count."""
    own = [path for path in machine.home.root.iterdir() if path.name not in ("cache", "prefect")]
    own.append(machine.home.cache / "projects")
    return [str(path) for folder in own for name in PASSING_NAMES for path in folder.rglob(name)]
