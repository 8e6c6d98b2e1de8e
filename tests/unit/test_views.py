"""What the command line shows is what its schemas promise, whatever a record holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from outhaul.errors import Failed
from outhaul.model.record import Model
from outhaul.ports import BuiltEnvironment
from outhaul.router.status import ServiceStatus
from outhaul.run.record import Attempt, EndReason, OutputFile, Run, RunState, Step, StepState
from outhaul.service.record import AutoScaler, ModelRef, Score, Service, ServiceSpec, ServiceState, Version
from outhaul.service.replica import Replica, ReplicaState
from outhaul.views import environment_view, model_line, model_view, router_view, run_line, run_view, service_view

SCHEMAS = Path(__file__).parents[2] / "docs/reference/cli"
TIME = "2026-01-02T03:04:05.000Z"
LATER = "2026-01-02T03:04:15.500Z"
ERROR = Failed("x", "it failed").to_dict()


def valid(name: str, value: Any) -> Any:
    """The value after its way through JSON, when it is as the schema says."""
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator(schema).validate(json.loads(json.dumps(value)))
    return value


def run(**fields: Any) -> Run:
    return Run(id="r1", name="deploy digits", project="digits", created_at=TIME, **{"kind": "deploy"} | fields)


RUNS = [
    run(),
    run(kind="train", state=RunState.CANCEL_REQUESTED, started_at=TIME),
    run(kind="rollout", state=RunState.COMPLETED, started_at=TIME, ended_at=LATER, models=[ModelRef("digits", 1)]),
    run(state=RunState.FAILED, error=ERROR, steps=[Step(name="a", state=StepState.FAILED, seconds=1.0)]),
    run(
        attempts=[
            Attempt(number=1, started_at=TIME, ended_at=LATER, reason=EndReason.LOST),
            Attempt(number=2, started_at=TIME, exit_code=-9, reason=EndReason.MEMORY_LIMIT, peak_memory_bytes=1),
            Attempt(number=3, started_at=TIME),
        ]
    ),
]


@pytest.mark.parametrize("record", RUNS, ids=lambda record: f"{record.kind}-{record.state}")
def test_a_run(record: Run) -> None:
    for name in ("run-show", "deploy", "train", "run-restart", "service-create", "service-update"):
        valid(name, run_view(record, 1e10))
    valid("run-list", [run_line(record, 1e10)])
    valid("run-cancel", run_line(record, 1e10))


@pytest.mark.parametrize("state", RunState)
def test_every_state_of_a_run_is_in_its_schema(state: RunState) -> None:
    valid("run-list", [run_line(run(state=state), 1e10)])


def test_a_run_counts_its_seconds_to_its_end_or_to_now() -> None:
    assert run_line(run(started_at=TIME, ended_at=LATER), 1e10)["seconds"] == 10.5
    assert run_line(run(started_at=TIME), 1767323045.0 + 60)["seconds"] == 60.0


def test_a_model() -> None:
    files = [OutputFile(path="m.pkl", bytes=5, sha256="a" * 64)]
    model = Model(name="digits", version=2, created_at=TIME, digest="d", location="x/", files=files, tags={"a": "b"})
    valid("model-list", [model_line(model)])
    for name in ("model-show", "model-register"):
        valid(name, model_view(model))
    assert model_line(model)["files"] == 1


def version(number: int, weight: int, spec: ServiceSpec) -> Version:
    return Version(
        number=number,
        weight=weight,
        created_at=TIME,
        snapshot="s",
        environment="e",
        score=Score(script="score.py"),
        models=[ModelRef("digits", number)],
        spec=spec,
    )


@pytest.mark.parametrize(
    ("spec", "autoscale"),
    [
        (ServiceSpec(auto_scaler=AutoScaler(min_replicas=2, max_replicas=4)), {"min": 2, "max": 4, "target": 70}),
        (ServiceSpec(num_replicas=3), None),
    ],
)
def test_a_service_and_its_replicas(spec: ServiceSpec, autoscale: dict[str, int] | None) -> None:
    service = Service(name="digits", created_at=TIME, updated_at=TIME)
    service.versions = [version(1, 0, spec), version(2, 100, spec)]
    replicas = [
        Replica(id="digits-1-a", deployment="digits-1", state=ReplicaState.TERMINATING),
        Replica(id="digits-2-a", deployment="digits-2", state=ReplicaState.READY),
        Replica(id="digits-2-b", deployment="digits-2", state=ReplicaState.FAILED, restarts=2, message="ValueError"),
    ]
    view = valid_service(service_view(service, replicas, 2, "http://127.0.0.1:1"))
    assert view["replicas"] == {"ready": 1, "desired": 2}
    assert [[each["id"] for each in one["replicas"]] for one in view["versions"]] == [
        ["digits-1-a"],
        ["digits-2-a", "digits-2-b"],
    ]
    assert view["scoringUri"] == "http://127.0.0.1:1/api/v1/service/digits/score"
    assert view["autoscale"] == autoscale


@pytest.mark.parametrize("state", ServiceState)
def test_a_service_that_serves_nothing_yet_and_has_no_router(state: ServiceState) -> None:
    service = Service(name="digits", state=state, created_at=TIME, updated_at=TIME, error=ERROR)
    assert valid_service(service_view(service, [], 0, ""))["scoringUri"] is None


def valid_service(view: dict[str, Any]) -> dict[str, Any]:
    valid("service-list", [view])
    valid("service-show", {**view, "router": None})
    measured = ServiceStatus(queue_wait_ms=500, utilization=-1.0, requests={"2xx": 1})
    valid("service-show", {**view, "router": router_view(measured)})
    return view


def test_an_environment() -> None:
    built = BuiltEnvironment("a" * 32, "k", Path("/p"), "3.11.7", {"numpy": "2"}, "global", TIME, 1.234)
    valid("environment-list", [environment_view(built)])
    valid("environment-publish", environment_view(built))
