"""Steps on the run itself: its entry script and what that wrote."""

from __future__ import annotations

import time

from prefect import get_run_logger, task

from outhaul.ports import BuiltEnvironment, ScriptSpec, Slot
from outhaul.project.quantities import bytes_text
from outhaul.run.log_relay import LogRelay
from outhaul.run.planning import Plan
from outhaul.run.record import Run
from outhaul.run.reuse import Ingredients, reusable_run
from outhaul.run.training import run_entry_script as run_to_its_end
from outhaul.run.training import save_everything
from outhaul.store.keys import run_record
from tasks.context import ONCE, REMOTE, RunRef, step


@task(name="look_up_earlier_run", task_run_name="look_up_earlier_run {plan.snapshot:.12}", **REMOTE)
def look_up_earlier_run(run: RunRef, plan: Plan) -> Run | None:
    """With `reuse`: the last run with equal snapshot, environment, arguments and declared data."""
    with step(run, "look_up_earlier_run") as (workspace, opened):
        own = workspace.records.read(run_record(run.id), Run)[0]
        models = [model.name for model in plan.project.wanted_models]
        earlier = reusable_run(Ingredients.of(own), models, workspace.records.list("runs/", Run))
        if earlier is None:
            opened.note("none made the same; training")
            return None
        opened.reused(f"run {earlier.id[:8]} made {', '.join(map(str, earlier.models))} of the same")

        def take_over(record: Run) -> Run:
            record.reused_from = earlier.id
            record.models, record.metrics = earlier.models, earlier.metrics
            return record

        workspace.records.update(run_record(run.id), Run, take_over)
    return earlier


@task(name="run_entry_script", task_run_name="run_entry_script {plan.project.train.script}", **ONCE)
def run_entry_script(run: RunRef, slot: Slot, plan: Plan, built: BuiltEnvironment) -> None:
    """`python <entry script> <arguments>`, once. A flow that starts again re-attaches to what runs."""
    train, logger, relay = plan.project.train, get_run_logger(), LogRelay()
    assert train is not None  # a project without `train` was refused at the edge
    spec = ScriptSpec(
        environment=built,
        script=train.script,
        arguments=tuple(train.arguments),
        env_vars=plan.environment.env_vars,
        timeout_seconds=train.timeout_seconds,
        memory_bytes=train.memory_bytes,
    )
    command = " ".join(["python", train.script, *train.arguments])
    with step(run, "run_entry_script", command) as (workspace, opened):

        def output(data: bytes) -> None:
            lines = relay.feed(data, time.time())
            if lines:
                logger.info("\n".join(lines))

        try:
            attempt = run_to_its_end(workspace, run.id, slot, spec, output)
        finally:
            if rest := relay.close():
                logger.info("\n".join(rest))
        opened.note(f"{command} (attempt {attempt.number})")


@task(name="save_outputs", task_run_name="save_outputs of {slot.owner:.8}", **REMOTE)
def save_outputs(run: RunRef, slot: Slot) -> Run:
    """Save everything under ./outputs and the logs to the object store, also after a failure."""
    with step(run, "save_outputs") as (workspace, opened):

        def progress(done: int, size: int) -> None:
            opened.note(f"{bytes_text(done)} of {bytes_text(size)}")

        saved = save_everything(workspace, run.id, slot, progress)
        opened.note(f"{saved.output_files} files, {bytes_text(saved.output_bytes)}")
    return saved
