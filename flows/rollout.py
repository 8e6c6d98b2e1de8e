"""Serve registered models, without training: the second half of `deploy` by itself."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.names import named
from flows.parameters import ProjectOverrides, Replicas, library_overrides
from flows.run import find_image
from flows.running import deploying, open_run, release_hook
from outhaul.service.record import MOST_MODELS
from tasks.models import find_models
from tasks.projects import zip_project
from tasks.services import check_service, roll_out_router, roll_out_service


@flow(name="rollout", flow_run_name=named("roll out"), on_failure=[release_hook], on_cancellation=[release_hook])
def rollout(
    project: str,
    service: str,
    models: Annotated[list[str], Field(max_length=MOST_MODELS)],
    replicas: Replicas = "",
    strict: bool = False,
    overrides: ProjectOverrides | None = None,
    workspace: str = "default",
) -> str:
    """Serve registered models with the project's score script. Returns the scoring URL.

    Args:
        project: Where the score script is: git+URL@ref#folder, snapshot:DIGEST, or an absolute path.
        service: Name of the service.
        models: Registered models, as name or name:version; at most 1,000.
        replicas: A number, or least..most to scale with the load, such as 2..4. Empty: as the project says.
        strict: Refuse an environment that this target cannot honour in full.
        overrides: What stands in for the project's own files.
        workspace: Name of an Outhaul Workspace block; `default` needs none.
    """
    flags = library_overrides(overrides, service, replicas)
    with open_run("rollout", workspace) as run:
        plan = zip_project(run, project, flags, "serve")
        with deploying(run, plan.project.service_name) as fence:
            found = find_models(run, models)
            find_image(run, plan, strict)
            roll_out_router(run)
            rolled_out = roll_out_service(run, plan, found, fence)
            return check_service(run, rolled_out, fence)
