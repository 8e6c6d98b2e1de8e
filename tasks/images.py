"""Steps on the environment: its hash, the two registries, and the build."""

from __future__ import annotations

from prefect import get_run_logger, task

from outhaul.environment.definition import image_name
from outhaul.errors import Refused
from outhaul.ports import BuiltEnvironment
from outhaul.run.planning import Plan
from tasks.context import REMOTE, RunRef, step


@task(name="hash_environment", task_run_name="hash_environment {plan.environment_hash:.12}", **REMOTE)
def hash_environment(run: RunRef, plan: Plan, strict: bool) -> str:
    """The environment's hash, which is its image's name. With `strict`, what cannot be honoured here is refused."""
    with step(run, "hash_environment", image_name(plan.environment_hash)) as (workspace, opened):
        problems = workspace.builder.unsupported(plan.environment)
        if problems and strict:
            raise Refused(
                "environment-unsupported",
                "the environment asks for what this target cannot give",
                found="\n".join(problems),
                expected="an environment of Python packages only",
                remedy="deploy to the docker target, or leave out --strict to go on without",
            )
        for problem in problems:
            get_run_logger().warning(problem)
        opened.note("; ".join([image_name(plan.environment_hash), *problems]))
    return plan.environment_hash


@task(name="look_up_workspace_registry", task_run_name="look_up_workspace_registry {environment:.12}", **REMOTE)
def look_up_workspace_registry(run: RunRef, environment: str) -> BuiltEnvironment | None:
    """The image in the workspace registry, None when it is absent there. Asked every time: images can be deleted."""
    with step(run, "look_up_workspace_registry") as (workspace, opened):
        built = workspace.environments.find(environment)
        opened.reused(f"found, built {built.built_at}") if built else opened.note("not there")
    return built


@task(name="look_up_global_registry", task_run_name="look_up_global_registry {environment:.12}", **REMOTE)
def look_up_global_registry(run: RunRef, environment: str) -> BuiltEnvironment | None:
    """The image in the global registry, copied to the workspace's. None when it is absent there as well."""
    with step(run, "look_up_global_registry") as (workspace, opened):
        built = workspace.global_environments.find(environment)
        if built is None:
            opened.note("not there")
            return None
        opened.note("found; copying to the workspace registry")
        built = workspace.environments.adopt(built)
        opened.reused(f"copied to the workspace registry, built {built.built_at}")
    return built


@task(name="build_image", task_run_name="build_image {plan.environment_hash:.12}", **REMOTE)
def build_image(run: RunRef, plan: Plan) -> BuiltEnvironment:
    """Build the image, streaming the builder's words to the log."""
    logger = get_run_logger()
    with step(run, "build_image", "starting") as (workspace, opened):

        def say(line: str) -> None:
            logger.info(line)
            opened.note(line.strip()[:120])

        built = workspace.builder.build(plan.environment, say)
        opened.note(f"Python {built.python_version}, {len(built.packages)} packages")
    return built


@task(name="push_image", task_run_name="push_image {built.hash:.12}", **REMOTE)
def push_image(run: RunRef, built: BuiltEnvironment) -> BuiltEnvironment:
    """Bring the image to the workspace registry, and see that it is there."""
    with step(run, "push_image") as (workspace, opened):
        pushed = workspace.environments.adopt(built)
        opened.note(f"in the workspace registry as {image_name(pushed.hash)}")
    return pushed
