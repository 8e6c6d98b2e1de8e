"""Finding runs."""

from __future__ import annotations

from outhaul.errors import NotFound, Refused
from outhaul.run.record import Run
from outhaul.workspace import Workspace


def list_runs(workspace: Workspace, project: str | None = None) -> list[Run]:
    """All runs (or the project's), the newest first."""
    runs = workspace.records.list("runs/", Run)
    wanted = [run for run in runs if project is None or run.project == project]
    return sorted(wanted, key=lambda run: run.created_at, reverse=True)


def find_run(workspace: Workspace, reference: str) -> Run:
    """The run with this id, beginning of an id, or name; `latest` is the newest. Refused when several fit."""
    runs = list_runs(workspace)
    if reference == "latest" and runs:
        return runs[0]
    found = [run for run in runs if run.id.startswith(reference)] or [run for run in runs if run.name == reference]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(
            "run-ambiguous",
            f"`{reference}` fits several runs",
            found=", ".join(run.id for run in found[:5]),
            expected="one run",
            remedy="give more of the id",
        )
    raise NotFound(
        "run-not-found",
        f"there is no run `{reference}`",
        found=f"{len(runs)} other runs",
        expected="an id, the beginning of one, a name, or `latest`",
        remedy="list the runs with `outhaul run list`",
    )
