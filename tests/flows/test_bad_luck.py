"""Scripts that fail in every way: the run says why, what was written is saved, and the old version goes on serving."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from outhaul.adapters.prefect_api import PrefectApi
from outhaul.adapters.prefect_starter import PrefectStarter
from outhaul.run.outputs import read_manifest
from outhaul.run.record import EndReason, RunState
from outhaul.service.deployer_lock import Lock
from outhaul.store.keys import service_lock
from tests.flows.conftest import eventually
from tests.flows.killing import Deployment, check_nothing_held, half_written
from tests.flows.machine import Answer, Machine, project

SERVICE = "steady"
BYTES_PRINTED = 100_000_000
BYTES_SHOWN = 2_000_000
"""More than the first and last thousand lines, and some in between."""
Described = dict[str, Any]


def unchanged(_: Described) -> None:
    """The project as it is."""


def with_train(**settings: object) -> Callable[[Described], None]:
    return lambda described: described["train"].update(settings)


@pytest.fixture(scope="module")
def steady(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A service that serves a good model. Returns what it answers."""
    good = project(tmp_path_factory.mktemp("good"), "unlucky")
    machine.ok("deploy", str(good), "--service", SERVICE, "--train-arguments", "good", "-o", "json")
    return answer_of(machine)


def answer_of(machine: Machine) -> str:
    return str(machine.ok("service", "run", SERVICE, "-d", "{}").json)


@pytest.fixture
def deploy(machine: Machine, steady: str, tmp_path: Path) -> Callable[..., Answer]:
    """Deploys a script with bad luck to the steady service, and sees that this goes on serving what it did."""

    def deploy(mode: str, change: Callable[[Described], None] = unchanged) -> Answer:
        unlucky = project(tmp_path, "unlucky", change)
        answer = machine.call(
            "deploy", str(unlucky), "--service", SERVICE, "--train-arguments", f"{mode} {tmp_path}", "-o", "json"
        )
        check_nothing_held(machine, answer.run_id)
        assert machine.records.read(service_lock(SERVICE), Lock)[0].released
        if answer.status:
            assert answer_of(machine) == steady
            shown = machine.ok("service", "show", SERVICE, "-o", "json").json
            assert [(version["number"], version["weight"]) for version in shown["versions"]] == [(1, 100)]
        return answer

    return deploy


def check_failed(machine: Machine, answer: Answer, code: str, found: str) -> None:
    """Exit status 1, the reason as JSON on stderr, the same in the run's record, and outputs and logs so far saved."""
    assert answer.status == 1, answer.err
    error = answer.error
    assert (error["code"], error["retry"]) == (code, False)
    assert found in error["found"]
    assert error["message"]
    assert error["expected"]
    assert error["remedy"]
    run = machine.run(answer.run_id)
    assert (run.state, run.error) == (RunState.FAILED, error)
    assert run.outputs_saved
    assert "early.txt" in [file.path for file in read_manifest(machine.workspace.store, run.id)]
    assert machine.workspace.store.get(f"run-files/{run.id}/logs/attempt-1.txt")[0].startswith(b"began")


FAILURES = {
    "exit": (unchanged, "entry-script-failed", "exit status 3"),
    "hang": (with_train(timeout="2s"), "time-limit", "still running after 2 s"),
    "memory": (with_train(memory="200MB"), "memory-limit", "a peak of"),
    "killed": (unchanged, "entry-script-failed", "SIGKILL"),
}


@pytest.mark.parametrize("mode", FAILURES)
def test_a_script_that_fails_ends_the_run_with_its_reason(
    machine: Machine, deploy: Callable[..., Answer], mode: str
) -> None:
    change, code, found = FAILURES[mode]
    check_failed(machine, deploy(mode, change), code, found)


def test_everything_of_a_loud_script_is_kept_and_little_of_it_shown_to_prefect(
    machine: Machine, deploy: Callable[..., Answer]
) -> None:
    answer = deploy("loud")
    check_failed(machine, answer, "entry-script-failed", "exit status 3")
    stored = machine.workspace.store.head(f"run-files/{answer.run_id}/logs/attempt-1.txt")
    assert stored is not None
    assert stored.bytes == BYTES_PRINTED
    shown = sum(len(message) for message in prefect_log(machine, answer.run_id))
    assert 1_000 < shown < BYTES_SHOWN


def prefect_log(machine: Machine, run_id: str) -> Iterator[str]:
    with PrefectApi(machine.env_vars["PREFECT_API_URL"]) as api:
        offset = 0
        while rows := api.call("POST", "/logs/filter", _page(run_id, offset)):
            offset += len(rows)
            yield from (row["message"] for row in rows)


def _page(run_id: str, offset: int) -> dict[str, Any]:
    return {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200, "offset": offset, "sort": "TIMESTAMP_ASC"}


def test_ten_thousand_outputs_are_saved(machine: Machine, deploy: Callable[..., Answer]) -> None:
    answer = deploy("outputs")
    check_failed(machine, answer, "entry-script-failed", "exit status 3")
    assert machine.run(answer.run_id).output_files == 10_001


def test_children_and_daemons_end_with_their_script(
    machine: Machine, deploy: Callable[..., Answer], tmp_path: Path
) -> None:
    check_failed(machine, deploy("forks"), "entry-script-failed", "exit status 3")
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


@pytest.mark.parametrize("mode", ["init-fails", "init-dies"])
def test_a_version_that_does_not_start_is_withdrawn_and_the_service_says_why(
    machine: Machine, deploy: Callable[..., Answer], mode: str
) -> None:
    answer = deploy(mode)
    assert answer.status == 1, answer.err
    run = machine.run(answer.run_id)
    assert (run.state, run.error) == (RunState.FAILED, answer.error)
    assert run.outputs_saved
    shown = machine.ok("service", "show", SERVICE, "-o", "json").json
    assert shown["state"] == "Healthy"
    assert shown["error"] == answer.error
    assert shown["replicas"] == {"ready": 1, "desired": 1}
    deployments = [t.deployment for t in machine.workspace.cluster.deployments() if t.service == SERVICE]
    assert len(deployments) == 1
    assert "told to" in answer.error["found"] + machine.ok("service", "get-logs", SERVICE).out.decode()


@pytest.fixture
def long(machine: Machine, tmp_path: Path) -> Deployment:
    return Deployment(machine, tmp_path, "long", seconds=60.0)


def test_a_cancelled_run_saves_what_its_script_wrote_so_far(machine: Machine, long: Deployment) -> None:
    flow = long.start()
    long.wait_for_training()
    machine.ok("run", "cancel", flow.run_id)
    eventually(lambda: machine.run(flow.run_id).state.final and not machine.flow_alive(flow.run_id), 60)
    run = machine.run(flow.run_id)
    assert run.state is RunState.CANCELED
    assert [attempt.reason for attempt in run.attempts] == [EndReason.CANCELLED]
    assert run.outputs_saved
    assert machine.ok("run", "logs", run.id).out.startswith(b"line 0\nline 1\n")
    assert [file.path for file in read_manifest(machine.workspace.store, run.id)] == ["early.txt"]
    check_nothing_held(machine, run.id)
    assert machine.records.read(service_lock(long.name), Lock)[0].released
    starter = PrefectStarter(machine.home, machine.env_vars["PREFECT_API_URL"])
    assert starter.show(run.id).state == "Cancelled"
    starter.close()


def test_a_second_deployment_of_a_service_is_refused_while_one_goes_on(machine: Machine, long: Deployment) -> None:
    flow = long.start()
    long.wait_for_training()
    before = sorted(stored.key for stored in machine.workspace.store.list("runs/"))
    refused = machine.call(*long.words, "-o", "json")
    assert refused.status == 1
    assert refused.error["code"] == "deployment-in-progress"
    assert flow.run_id in refused.error["found"]
    assert sorted(stored.key for stored in machine.workspace.store.list("runs/")) == before
    machine.ok("run", "cancel", flow.run_id)
    eventually(lambda: machine.run(flow.run_id).state.final and not machine.flow_alive(flow.run_id), 60)
    assert long.book.read_text() == "trained\n"


def test_a_flow_whose_supervisor_was_killed_fails_as_lost(machine: Machine, long: Deployment) -> None:
    flow = long.start()
    long.wait_for_training()
    supervisor = next(p for p in psutil.process_iter() if f"{flow.run_id}/attempt-1" in " ".join(p.cmdline()))
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: machine.run(flow.run_id).state.final and not machine.flow_alive(flow.run_id), 60)
    run = machine.run(flow.run_id)
    assert (run.state, (run.error or {})["code"]) == (RunState.FAILED, "attempt-lost")
    check_nothing_held(machine, run.id)


def test_a_run_that_was_asked_for_in_the_ui_is_taken_by_the_worker(machine: Machine, tmp_path: Path) -> None:
    folder = project(tmp_path, "unlucky")
    parameters = {"project": str(folder), "service": "from-ui", "overrides": {"train_arguments": ["good"]}}
    with PrefectApi(machine.env_vars["PREFECT_API_URL"]) as api:
        deployment = api.deployment("deploy/deploy")["id"]
        flow_run, _ = api.create_flow_run(deployment, {"parameters": parameters})
        eventually(lambda: api.flow_run(flow_run["id"])["state_type"] in ("COMPLETED", "FAILED", "CRASHED"), 120)
        assert api.flow_run(flow_run["id"])["state"]["type"] == "COMPLETED"
    assert machine.run(flow_run["id"]).state is RunState.COMPLETED
    assert machine.ok("service", "run", "from-ui", "-d", "{}").json == {"model": "good"}
    check_nothing_held(machine, flow_run["id"])


def test_no_bad_luck_left_anything_half_written(machine: Machine) -> None:
    assert half_written(machine) == []
