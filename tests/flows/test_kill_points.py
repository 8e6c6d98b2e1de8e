"""SIGKILL of the flow's process at the start and at the end of each step; `outhaul run restart` completes the run.

Several kill points are gone through at the same time, on one machine and one Prefect server.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.flows.killing import Deployment, check_done, half_written
from tests.flows.machine import Machine

AT_ONCE = 3
FIRST = (
    "zip_project",
    "scale_up_compute",
    "hash_environment",
    "look_up_workspace_registry",
    "look_up_global_registry",
    "build_image",
    "push_image",
    "download_project",
    "unzip_project",
    "run_entry_script",
    "save_outputs",
    "scale_down_compute",
    "register_model",
    "roll_out_router",
    "roll_out_service",
    "check_service",
)
REUSED = (
    "zip_project",
    "look_up_earlier_run",
    "hash_environment",
    "look_up_workspace_registry",
    "roll_out_router",
    "roll_out_service",
    "check_service",
)
POINTS = [
    (kind, f"{step}:{moment}")
    for kind, steps in (("first", FIRST), ("reuse", REUSED))
    for step in (*steps, "record")
    for moment in ("start", "end")
]

Outcomes = dict[tuple[str, str], "Future[None]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("books")


@pytest.fixture(scope="module")
def earlier(machine: Machine, folder: Path) -> Deployment:
    """The deployment whose training the others reuse."""
    earlier = Deployment(machine, folder, "earlier")
    earlier.complete()
    return earlier


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, machine: Machine, earlier: Deployment, folder: Path) -> Iterator[Outcomes]:
    """Every kill point that was asked for, under way."""
    asked = [item.callspec.params for item in request.session.items if "point" in getattr(item, "fixturenames", ())]  # type: ignore[attr-defined]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            (params["kind"], params["point"]): pool.submit(_kill_and_restart, machine, folder, **params)
            for params in asked
        }


def _kill_and_restart(machine: Machine, folder: Path, kind: str, point: str) -> None:
    name = f"{kind}-{POINTS.index((kind, point))}"
    reused = {"reuse": True, "made_by": "earlier"} if kind == "reuse" else {}
    deployment = Deployment(machine, folder, name, **reused)  # type: ignore[arg-type]
    flow = deployment.stop_at(point)
    flow.kill(watcher=point.endswith(":end"))
    check_done(deployment, flow.restart())
    machine.ok("service", "delete", name, "--yes")


@pytest.mark.parametrize(("kind", "point"), POINTS, ids=lambda value: value)
def test_a_killed_flow_completes_when_it_is_started_again(outcomes: Outcomes, kind: str, point: str) -> None:
    outcomes[kind, point].result()


def test_every_step_of_a_first_deployment_has_its_kill_points(machine: Machine, folder: Path) -> None:
    run = machine.run(Deployment(machine, folder, "reference").complete())
    assert tuple(step.name for step in run.steps) == FIRST


def test_every_step_of_a_deployment_that_reuses_has_its_kill_points(machine: Machine, earlier: Deployment) -> None:
    again = Deployment(machine, earlier.folder, earlier.name, reuse=True)
    run = machine.run(again.complete())
    assert tuple(step.name for step in run.steps) == REUSED
    check_done(again, run)


def test_output_and_work_of_a_running_script_survive_the_death_of_its_flow(machine: Machine, folder: Path) -> None:
    deployment = Deployment(machine, folder, "long", seconds=3.0)
    flow = deployment.start()
    deployment.wait_for_training()
    flow.kill(watcher=True)
    run = flow.restart()
    lines = machine.ok("run", "logs", run.id).out.decode().splitlines()
    assert lines[:-1] == [f"line {number}" for number in range(len(lines) - 1)]
    assert lines[-1] == f"printed {len(lines) - 1} lines"
    assert deployment.book.read_text() == "trained\n"
    assert [attempt.number for attempt in run.attempts] == [1]


def test_no_killed_flow_left_anything_half_written(outcomes: Outcomes, machine: Machine) -> None:
    for outcome in outcomes.values():
        outcome.exception()
    assert half_written(machine) == []
