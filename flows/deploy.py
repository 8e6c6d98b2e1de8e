"""From a project folder to a served model."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.parameters import (
    ProjectOverrides,
    ProjectReference,
    Replicas,
    Reuse,
    Strict,
    WorkspaceName,
    library_overrides,
)
from flows.run import train_model
from flows.running import deploying, open_run, release_hook
from tasks.projects import zip_project
from tasks.services import check_service, roll_out_router, roll_out_service

ServiceName = Annotated[
    str | None,
    Field(title="Service", description="Name of the service; the project's name when empty.", max_length=32),
]


@flow(name="deploy", flow_run_name="deploy {project}", on_failure=[release_hook], on_cancellation=[release_hook])
def deploy(
    project: ProjectReference,
    service: ServiceName = None,
    replicas: Replicas = None,
    reuse: Reuse = False,
    strict: Strict = False,
    overrides: ProjectOverrides | None = None,
    workspace: WorkspaceName = "default",
) -> str:
    """Train the project's model in its own environment, and serve it.

    Returns the scoring URL.
    """
    flags = library_overrides(overrides, service=service, replicas=replicas)
    with open_run("deploy", workspace) as run:
        plan = zip_project(run, project, flags, "deploy")
        with deploying(run, plan.project.service_name) as fence:
            models = train_model(run, plan, reuse=reuse, strict=strict)
            roll_out_router(run)
            rollout = roll_out_service(run, plan, models, fence)
            return check_service(run, rollout, fence)
