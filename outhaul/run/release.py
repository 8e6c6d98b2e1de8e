"""What a flow's watcher does to the run when the flow ended without ending it."""

from __future__ import annotations

from outhaul.errors import Cancelled
from outhaul.home import Home
from outhaul.run.lifecycle import finish_run, release_run
from outhaul.run.record import Run
from outhaul.settings import read_settings
from outhaul.store.keys import run_record
from outhaul.workspace import open_workspace


def release_cancelled(home: Home, run_id: str) -> None:
    """Stop what a cancelled run still runs, save what it wrote, free what it holds, and end its record."""
    workspace = open_workspace(read_settings({"OUTHAUL_HOME": str(home.root)}))
    if workspace.records.find(run_record(run_id), Run) is not None:
        release_run(workspace, run_id)
        finish_run(workspace, run_id, Cancelled("run-cancelled", "the run was cancelled"))
