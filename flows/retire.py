"""Take a service down for good: its replicas drained, its record a tombstone, its keys forgotten."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.parameters import WorkspaceName
from tasks.services import retire_service


@flow(name="retire", flow_run_name="retire {service}")
def retire(
    service: Annotated[str, Field(title="Service", description="Name of the service to delete.")],
    workspace: WorkspaceName = "default",
) -> None:
    """Delete a service. Models, runs and environments stay."""
    retire_service(service, workspace)
