"""From a project folder to a served model."""

from __future__ import annotations

from prefect import flow

from flows.names import named
from flows.parameters import ProjectOverrides, Replicas, library_overrides
from flows.run import train_model
from flows.running import deploying, open_run, release_hook
from tasks.projects import zip_project
from tasks.services import check_service, roll_out_router, roll_out_service


@flow(name="deploy", flow_run_name=named("deploy"), on_failure=[release_hook], on_cancellation=[release_hook])
def deploy(
    project: str,
    service: str = "",
    replicas: Replicas = "",
    reuse: bool = False,
    strict: bool = False,
    overrides: ProjectOverrides | None = None,
    workspace: str = "default",
) -> str:
    """Train the project's model in its own environment, and serve it. Returns the scoring URL.

    Args:
        project: git+URL@ref#folder, snapshot:DIGEST, or an absolute path on the machine that runs the flow.
        service: Name of the service. Empty: as the project says.
        replicas: A number, or least..most to scale with the load, such as 2..4. Empty: as the project says.
        reuse: Take the last run that made the same, instead of training again.
        strict: Refuse an environment that this target cannot honour in full.
        overrides: What stands in for the project's own files.
        workspace: Name of an Outhaul Workspace block; `default` needs none.
    """
    flags = library_overrides(overrides, service, replicas)
    with open_run("deploy", workspace) as run:
        plan = zip_project(run, project, flags, "deploy")
        with deploying(run, plan.project.service_name) as fence:
            models = train_model(run, plan, reuse=reuse, strict=strict)
            roll_out_router(run)
            rollout = roll_out_service(run, plan, models, fence)
            return check_service(run, rollout, fence)
