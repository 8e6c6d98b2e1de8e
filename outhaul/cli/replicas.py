"""`outhaul replicas-needed`"""

from __future__ import annotations

import click

from outhaul.cli.options import output_option
from outhaul.cli.output import print_json
from outhaul.service.autoscaler import replicas_needed as needed


@click.command("replicas-needed")
@click.option("--rps", type=float, required=True, help="Requests per second to carry.")
@click.option("--seconds", type=float, required=True, help="Seconds that one request takes.")
@click.option("--utilization", type=float, default=0.7, show_default=True, help="Share of replicas that may be busy.")
@click.option("--concurrency", type=int, default=1, show_default=True, help="Requests that a replica answers at once.")
@output_option
def replicas_needed(rps: float, seconds: float, utilization: float, concurrency: int, output: str) -> None:
    """How many replicas a load needs: ceil(rps x seconds / utilization / concurrency)."""
    replicas = needed(rps, seconds, utilization, concurrency)
    print_json({"replicas": replicas}) if output == "json" else click.echo(replicas)
