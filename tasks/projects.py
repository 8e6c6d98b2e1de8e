"""Steps on the project folder."""

from __future__ import annotations

from prefect import get_run_logger, task

from outhaul.project.description import Overrides
from outhaul.project.quantities import bytes_text
from outhaul.run.lifecycle import note_plan
from outhaul.run.planning import Plan, plan_run
from tasks.context import REMOTE, RunRef, step


@task(name="zip_project", task_run_name="zip_project {reference:.48}", **REMOTE)
def zip_project(run: RunRef, reference: str, overrides: Overrides, kind: str) -> Plan:
    """Zip the project's files after ignore rules, and store the snapshot."""
    with step(run, "zip_project", reference) as (workspace, opened):
        plan = plan_run(workspace, reference, overrides, kind)
        note_plan(workspace, run.id, plan, "" if kind == "train" else plan.project.service_name)
        opened.note(f"{plan.snapshot_files} files, {bytes_text(plan.snapshot_bytes)}, digest {plan.snapshot[:12]}")
    for warning in plan.warnings:
        get_run_logger().warning(warning)
    return plan
