"""Steps on the service: its router, its versions, and whether it answers."""

from __future__ import annotations

import msgspec
from prefect import task

from blocks.workspace import open_named
from outhaul.machine import ensure_router
from outhaul.run.lifecycle import note_scoring_uri
from outhaul.run.planning import Plan
from outhaul.service.endpoint import wait_until_healthy, wait_until_routed
from outhaul.service.operations import retire
from outhaul.service.record import ModelRef, Score
from outhaul.service.rollout import Candidate, Rollout, roll_out, shrink
from tasks.context import ONCE, REMOTE, RunRef, step


@task(name="roll_out_router", task_run_name="roll_out_router", **REMOTE)
def roll_out_router(run: RunRef) -> None:
    """Bring up the router where it is absent. Never replaces a newer one."""
    with step(run, "roll_out_router") as (workspace, opened):
        started = ensure_router(workspace.settings)
        opened.note("started") if started else opened.reused("running")


@task(name="roll_out_service", task_run_name="roll_out_service {plan.project.service_name}", **ONCE)
def roll_out_service(run: RunRef, plan: Plan, models: list[ModelRef], fence: int) -> Rollout:
    """Bring the new version to the service's requests: ready, then weight, then shrink."""
    project = plan.project
    assert project.score is not None  # a project without `score` was refused at the edge
    candidate = Candidate(
        snapshot=plan.snapshot,
        environment=plan.environment_hash,
        score=Score(script=project.score.script, source_directory=project.score.source_directory),
        models=models,
        env_vars=plan.environment.env_vars,
        spec=msgspec.structs.replace(project.service_spec, keys=project.keys),
    )
    with step(run, "roll_out_service", project.service_name) as (workspace, opened):
        rollout = roll_out(workspace, project.service_name, candidate, run.id, fence, opened.note)
        wait_until_routed(workspace, rollout.service)
        shrink(workspace, rollout.service)
        told = f"version {rollout.version.number}"
        opened.reused(f"{told} serves exactly this") if rollout.unchanged else opened.note(f"{told} serves")
    return rollout


@task(name="check_service", task_run_name="check_service {rollout.service.name}", **REMOTE)
def check_service(run: RunRef, rollout: Rollout, fence: int) -> str:
    """Ask the service through its router until it answers; write its state. Returns the scoring URL."""
    with step(run, "check_service", rollout.service.name) as (workspace, opened):
        url = wait_until_healthy(workspace, rollout.service.name, fence)
        note_scoring_uri(workspace, run.id, url)
        opened.note(url)
    return url


@task(name="retire_service", task_run_name="retire_service {service}", **REMOTE)
def retire_service(service: str, workspace: str) -> None:
    """Delete the service under its deployer lock."""
    retire(open_named(workspace), service)
