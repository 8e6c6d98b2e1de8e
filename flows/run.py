"""Run a project's entry script and register what it made."""

from __future__ import annotations

from prefect import flow

from flows.names import named
from flows.parameters import ProjectOverrides, library_overrides
from flows.running import open_run, release_hook, released
from outhaul.ports import BuiltEnvironment
from outhaul.run.planning import Plan
from outhaul.service.record import ModelRef
from tasks.compute import download_project, scale_up_compute, unzip_project
from tasks.context import RunRef
from tasks.images import build_image, hash_environment, look_up_global_registry, look_up_workspace_registry, push_image
from tasks.models import register_model
from tasks.projects import zip_project
from tasks.runs import look_up_earlier_run, run_entry_script, save_outputs


@flow(name="run", flow_run_name=named("train"), on_failure=[release_hook], on_cancellation=[release_hook])
def run(
    project: str,
    reuse: bool = False,
    strict: bool = False,
    overrides: ProjectOverrides | None = None,
    workspace: str = "default",
) -> list[str]:
    """Run the project's entry script in its own environment, save its outputs and register its models.

    Returns the models, as `name:version`.

    Args:
        project: git+URL@ref#folder, snapshot:DIGEST, or an absolute path on the machine that runs the flow.
        reuse: Take the last run that made the same, instead of training again.
        strict: Refuse an environment that this target cannot honour in full.
        overrides: What stands in for the project's own files.
        workspace: Name of an Outhaul Workspace block; `default` needs none.
    """
    with open_run("train", workspace) as opened:
        plan = zip_project(opened, project, library_overrides(overrides), "train")
        return [str(model) for model in train_model(opened, plan, reuse=reuse, strict=strict)]


def train_model(run: RunRef, plan: Plan, *, reuse: bool, strict: bool) -> list[ModelRef]:
    """The steps from compute to registered models; with `reuse`, an earlier run that made the same stands in."""
    earlier = look_up_earlier_run(run, plan) if reuse else None
    if earlier:
        find_image(run, plan, strict)
        return sorted(earlier.models)
    with released(run):
        slot = scale_up_compute(run, plan)
        built = find_image(run, plan, strict)
        download_project(run, slot, plan)
        unzip_project(run, slot)
        try:
            run_entry_script(run, slot, plan, built)
        finally:
            save_outputs(run, slot)
    return register_model(run, plan, built)


def find_image(run: RunRef, plan: Plan, strict: bool) -> BuiltEnvironment:
    """The environment by its hash: from the workspace registry, else from the global one, else built and pushed."""
    environment = hash_environment(run, plan, strict)
    return (
        look_up_workspace_registry(run, environment)
        or look_up_global_registry(run, environment)
        or push_image(run, build_image(run, plan))
    )
