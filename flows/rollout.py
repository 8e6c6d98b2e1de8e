"""Serve registered models, without training: the second half of `deploy` by itself."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.parameters import ProjectOverrides, ProjectReference, Replicas, Strict, WorkspaceName, library_overrides
from flows.run import find_image
from flows.running import deploying, open_run, release_hook
from tasks.models import find_models
from tasks.projects import zip_project
from tasks.services import check_service, roll_out_router, roll_out_service

Models = Annotated[
    list[str],
    Field(title="Models", description="Registered models, as name or name:version; at most 1,000.", max_length=1000),
]


@flow(name="rollout", flow_run_name="roll out {service}", on_failure=[release_hook], on_cancellation=[release_hook])
def rollout(
    project: ProjectReference,
    service: Annotated[str, Field(title="Service", description="Name of the service.", max_length=32)],
    models: Models,
    replicas: Replicas = None,
    strict: Strict = False,
    overrides: ProjectOverrides | None = None,
    workspace: WorkspaceName = "default",
) -> str:
    """Serve registered models with the project's score script.

    Returns the scoring URL.
    """
    flags = library_overrides(overrides, service=service, replicas=replicas)
    with open_run("rollout", workspace) as run:
        plan = zip_project(run, project, flags, "serve")
        with deploying(run, plan.project.service_name) as fence:
            found = find_models(run, models)
            find_image(run, plan, strict)
            roll_out_router(run)
            rolled_out = roll_out_service(run, plan, found, fence)
            return check_service(run, rolled_out, fence)
