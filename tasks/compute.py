"""Steps on compute: a place to run, the project's files there, and giving it back."""

from __future__ import annotations

import time

from prefect import get_run_logger, task

from outhaul.ports import ComputeRequest, Slot
from outhaul.project.quantities import bytes_text
from outhaul.run.lifecycle import LEASE_SECONDS, release_run
from outhaul.run.planning import Plan
from outhaul.store.keys import snapshot_zip
from tasks.context import REMOTE, RunRef, step


@task(name="scale_up_compute", task_run_name="scale_up_compute {plan.project.compute.pool}", **REMOTE)
def scale_up_compute(run: RunRef, plan: Plan) -> Slot:
    """A place to run. Never cached: a flow that starts again must ask again, and is given what it holds already."""
    logger, wanted = get_run_logger(), plan.project.compute
    request = ComputeRequest(
        owner=run.id,
        pool=wanted.pool,
        cpu=wanted.cpu,
        memory_bytes=wanted.memory_bytes,
        gpu=wanted.gpu,
        expires_at=time.time() + LEASE_SECONDS,
    )
    with step(run, "scale_up_compute", f"pool {wanted.pool}") as (workspace, opened):

        def waiting(reason: str) -> None:
            logger.info(reason)
            opened.note(reason)

        slot = workspace.compute.acquire(request, waiting)
        opened.note(f"pool {wanted.pool}, {slot.name}")
    return slot


@task(name="download_project", task_run_name="download_project to {slot.name}", **REMOTE)
def download_project(run: RunRef, slot: Slot, plan: Plan) -> None:
    """Bring the zipped project to the slot's temporary storage."""
    with step(run, "download_project") as (workspace, opened):
        size = workspace.compute.download(slot, workspace.store, snapshot_zip(plan.snapshot))
        opened.note(bytes_text(size)) if size else opened.reused("there already")


@task(name="unzip_project", task_run_name="unzip_project on {slot.name}", **REMOTE)
def unzip_project(run: RunRef, slot: Slot) -> None:
    """Unzip the project in temporary storage."""
    with step(run, "unzip_project") as (workspace, opened):
        opened.note(f"{workspace.compute.unpack(slot)} files")


@task(name="scale_down_compute", task_run_name="scale_down_compute", **REMOTE)
def scale_down_compute(run: RunRef) -> None:
    """Give the place back and remove temporary storage. Saves what was not saved, whatever ended the run."""
    with step(run, "scale_down_compute") as (workspace, opened):
        release_run(workspace, run.id)
        opened.note("temporary storage removed")
