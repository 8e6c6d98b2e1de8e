"""`make demo`: the main job on `examples/digits`, then one real scoring request."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from outhaul.cli.errors import run_command
from outhaul.cli.output import program
from outhaul.cli.root import outhaul

PROJECT = Path("examples/digits")
REQUEST = PROJECT / "request.json"


def main() -> int:
    """Deploy the example and ask it one question. Returns the exit status."""
    if not PROJECT.is_dir():
        click.echo("run this in Outhaul's checkout, as `make demo`", err=True)
        return 1
    status = run_command(outhaul, ["deploy", str(PROJECT), "--reuse"])
    if status:
        return status
    click.echo(f"\na scoring request with one handwritten digit ({REQUEST}):")
    status = run_command(outhaul, ["service", "run", "digits", "--data", f"@{REQUEST}"])
    click.echo(f"\nthe service stays up: `{program()} down` stops it, `{program()} up` brings it back", err=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
