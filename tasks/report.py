"""What a run leaves in the Prefect UI besides its tasks: the step table and links."""

from __future__ import annotations

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from outhaul.run.record import Run
from outhaul.run.report import step_table
from outhaul.store.keys import run_record
from tasks.context import RunRef


def publish_report(run: RunRef) -> None:
    """One page for the steps, one link to the service. Stable keys, so that the UI keeps their history."""
    record = run.opened.records.read(run_record(run.id), Run)[0]
    create_markdown_artifact(step_table(record), key="steps", description=f"Steps of {record.name}")
    if record.service:
        create_link_artifact(
            link=record.scoring_uri, link_text=record.service, key="service", description="The service's scoring URL"
        )
