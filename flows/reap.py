"""On a schedule: release what dead runs still hold. Touches temporary things only."""

from __future__ import annotations

from prefect import flow

from tasks.reaping import reap_dead_runs


@flow(name="reap", flow_run_name="reap {workspace}")
def reap(workspace: str = "default") -> list[str]:
    """Release compute whose run has ended or whose flow is dead. Returns the ids of those runs.

    Args:
        workspace: Name of an Outhaul Workspace block; `default` needs none.
    """
    return reap_dead_runs(workspace)
