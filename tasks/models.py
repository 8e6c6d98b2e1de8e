"""Steps on models."""

from __future__ import annotations

from prefect import task

from outhaul.model.registry import find_model, model_refs, register_run_model
from outhaul.ports import BuiltEnvironment
from outhaul.run.planning import Plan
from outhaul.run.record import Run
from outhaul.service.record import ModelRef
from outhaul.store.keys import run_record
from tasks.context import REMOTE, RunRef, step


@task(name="register_model", task_run_name="register_model of {plan.project.name}", **REMOTE)
def register_model(run: RunRef, plan: Plan, built: BuiltEnvironment) -> list[ModelRef]:
    """Register the project's models as new versions, with where they came from."""
    with step(run, "register_model") as (workspace, opened):
        packages = dict(built.packages)
        models = []
        for wanted in plan.project.wanted_models:
            record = workspace.records.read(run_record(run.id), Run)[0]
            models.append(register_run_model(workspace, record, wanted.name, wanted.path, packages))
        opened.note(", ".join(str(model.ref) for model in models))
    return model_refs(models)


@task(name="find_models", task_run_name="find_models {references}", **REMOTE)
def find_models(run: RunRef, references: list[str]) -> list[ModelRef]:
    """The registered models that the references name, the newest version where they name none."""
    with step(run, "find_models", ", ".join(references)) as (workspace, opened):
        models = [find_model(workspace, reference) for reference in references]
        opened.note(", ".join(str(model.ref) for model in models))
    return model_refs(models)
