"""`outhaul run …`"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from outhaul.cli.options import follow_options, output_option
from outhaul.cli.output import print_json, print_list, print_show, workspace
from outhaul.errors import Conflict
from outhaul.run.finding import find_run, list_runs
from outhaul.run.record import Run
from outhaul.store.keys import run_files, run_record
from outhaul.views import run_line, run_view
from outhaul.workspace import Workspace

RUN = click.argument("reference", metavar="RUN")
"""An id, the beginning of one, a flow run's name, or `latest`."""


@click.group()
def run() -> None:
    """Runs: list, show, logs, outputs, cancel, restart. RUN is an id, the beginning of one, a name, or `latest`."""


@run.command("list")
@click.option("--project", help="Only this project's runs.")
@click.option("--limit", default=50, show_default=True, help="The newest so many.")
@output_option
def list_(project: str | None, limit: int, output: str) -> None:
    """The newest runs first."""
    lines = [run_line(found, time.time()) for found in list_runs(workspace(), project)[:limit]]
    if output == "table":  # the beginning of an id is enough for every command
        lines = [{**line, "id": line["id"][:8], "createdAt": line["createdAt"][:19] + "Z"} for line in lines]
    columns = ["id", "project", "kind", "state", "createdAt", "seconds", "models"]
    print_list(output, lines, columns, "no run yet: `outhaul deploy PATH` or `outhaul train PATH`")


@run.command()
@RUN
@output_option
def show(reference: str, output: str) -> None:
    """One run: its steps, attempts, outputs and models."""
    print_show(output, run_view(find_run(workspace(), reference), time.time()))


@run.command()
@RUN
@click.option("--follow", "-f", "following", is_flag=True, help="Go on until the run has ended.")
@click.option("--flow", is_flag=True, help="The flow's own log instead of the entry script's output.")
def logs(reference: str, following: bool, flow: bool) -> None:
    """All that the entry script printed, of all attempts."""
    from outhaul.run import logs as run_logs

    opened = workspace()
    found = find_run(opened, reference)
    write = sys.stdout.buffer.write
    for data in run_logs.flow_log(opened, found.id) if flow else run_logs.script_log(opened, found.id, following):
        write(data)
        sys.stdout.buffer.flush()


@run.command()
@RUN
@click.option("--target", "-t", type=click.Path(path_type=Path), help="Write the files there; without it, list them.")
@output_option
def outputs(reference: str, target: Path | None, output: str) -> None:
    """What the run saved of ./outputs."""
    from outhaul.model.downloads import download_files
    from outhaul.run import logs as run_logs

    opened = workspace()
    found = find_run(opened, reference)
    if target is None:
        files = run_logs.output_files(opened, found.id)
        lines = [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in files]
        print_list(output, lines, ["path", "bytes", "sha256"], "the run saved no outputs")
        return
    files = run_logs.output_files(opened, found.id)
    paths = [str(path) for path in download_files(opened.store, f"{run_files(found.id)}outputs/", files, target)]
    print_json(paths) if output == "json" else click.echo("\n".join(paths))


@run.command()
@RUN
@output_option
def cancel(reference: str, output: str) -> None:
    """Stop a run. What it wrote so far is saved."""
    from outhaul.cli.starting import starter
    from outhaul.run.lifecycle import request_cancel

    opened = workspace()
    found = find_run(opened, reference)
    if found.state.final:
        raise Conflict(
            "run-ended",
            "the run has ended already",
            found=f"{found.state} at {found.ended_at}",
            expected="a run that is going on",
            remedy="nothing needs to be stopped",
        )
    found = request_cancel(opened, found.id)
    starter(opened.settings).cancel(found.id)
    print_show(output, run_line(found, time.time()))


@run.command()
@RUN
@follow_options
def restart(reference: str, output: str, detach: bool) -> None:
    """Start a dead flow again under the same id. What still runs is re-attached, what is done is not done twice."""
    from outhaul.cli.following import follow
    from outhaul.cli.starting import starter

    opened = workspace()
    found = None if _died_unwritten(opened, reference) else find_run(opened, reference)
    started = starter(opened.settings).restart(found.id if found else reference)
    follow(opened, started, output, detach, before=found)


def _died_unwritten(opened: Workspace, run_id: str) -> bool:
    """Whether the flow died before the run's record was written. Then only its folder and Prefect know of it."""
    from outhaul.run.flow_folder import folder_of

    started = folder_of(opened.settings.home, run_id).read() is not None
    return started and opened.records.find(run_record(run_id), Run) is None
