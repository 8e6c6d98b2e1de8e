"""The step of the reap flow."""

from __future__ import annotations

import time

from prefect import get_run_logger, task

from blocks.workspace import open_named
from outhaul.run.flow_folder import flow_is_alive
from outhaul.run.lifecycle import reap
from tasks.context import REMOTE


@task(name="reap_dead_runs", task_run_name="reap_dead_runs of {workspace}", **REMOTE)
def reap_dead_runs(workspace: str) -> list[str]:
    """Release compute that no living flow needs any more."""
    opened = open_named(workspace)
    released = reap(opened, lambda run: flow_is_alive(opened.settings.home, run), time.time())
    for run in released:
        get_run_logger().warning("released what run %s still held", run)
    return released
