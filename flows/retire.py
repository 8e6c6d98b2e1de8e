"""Take a service down for good: its replicas drained, its record a tombstone, its keys forgotten."""

from __future__ import annotations

from prefect import flow

from tasks.services import retire_service


@flow(name="retire", flow_run_name="retire {service}")
def retire(service: str, workspace: str = "default") -> None:
    """Delete a service. Models, runs and environments stay.

    Args:
        service: Name of the service to delete.
        workspace: Name of an Outhaul Workspace block; `default` needs none.
    """
    retire_service(service, workspace)
