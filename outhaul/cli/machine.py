"""`outhaul up`, `down`, `status` and `reap`"""

from __future__ import annotations

import time
from datetime import datetime

import click

from outhaul import machine
from outhaul.cli.options import output_option
from outhaul.cli.output import print_json, print_list, settings, workspace
from outhaul.node.control import ProcessStatus


@click.command()
@output_option
def up(output: str) -> None:
    """Bring everything up: router, Prefect server and worker, and the replicas of all services."""
    from outhaul.cli.starting import say
    from outhaul.run.finding import list_runs

    opened = workspace()
    given = opened.settings
    processes = machine.bring_up(given, say)
    machine.tend_runs(given, [run.id for run in list_runs(opened) if not run.state.final])
    _print(processes, output)
    click.echo(f"Prefect  {machine.prefect_api_url(given).removesuffix('/api')}", err=True)


@click.command()
@output_option
def down(output: str) -> None:
    """Stop everything. Records, models and services stay; `outhaul up` brings them back."""
    machine.bring_down(settings())
    if output == "json":
        print_json({"stopped": True})
    else:
        click.echo("stopped")


@click.command()
@output_option
def status(output: str) -> None:
    """What runs on this machine."""
    _print(machine.machine_status(settings()), output)


@click.command()
@output_option
def reap(output: str) -> None:
    """Release what dead runs still hold. The `reap` flow does this on a schedule."""
    from outhaul.run.flow_folder import flow_is_alive
    from outhaul.run.lifecycle import reap as release

    opened = workspace()
    released = release(opened, lambda run: flow_is_alive(opened.settings.home, run), time.time())
    print_json(released) if output == "json" else click.echo("\n".join(released) or "nothing to release")


def _print(processes: list[ProcessStatus], output: str) -> None:
    lines = [
        {
            "name": process.name,
            "state": process.state,
            "pid": process.pid,
            "port": process.port,
            "since": datetime.fromtimestamp(process.since).isoformat(timespec="seconds") if process.since else None,
            "restarts": process.restarts,
            "message": process.message,
            "log": str(process.log),
        }
        for process in processes
    ]
    columns = ["name", "state", "pid", "port", "since", "restarts", "message"]
    print_list(output, lines, columns, "nothing runs: `outhaul up`")
