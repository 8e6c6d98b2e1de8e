"""`outhaul snapshot`"""

from __future__ import annotations

from pathlib import Path

import click

from outhaul.cli.options import output_option
from outhaul.cli.output import print_json, print_table, settings
from outhaul.snapshot.limits import Limits
from outhaul.snapshot.taking import take_and_zip


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=".")
@output_option
def snapshot(path: Path, output: str) -> None:
    """What of the project folder PATH is taken after ignore rules, its digest, and the zip."""
    given = settings()
    limits = Limits(bytes=given.snapshot_max_bytes, files=given.snapshot_max_files)
    taken, archive = take_and_zip(path, given.home, limits)
    for warning in taken.warnings:
        click.echo(f"warning: {warning}", err=True)
    if output == "json":
        files = [{"path": f.path, "bytes": f.bytes, "mode": f.mode, "sha256": f.sha256} for f in taken.files]
        print_json({"digest": taken.digest, "bytes": taken.bytes, "files": files, "zip": str(archive)})
        return
    print_table(["path", "bytes", "sha256"], [[f.path, str(f.bytes), f.sha256[:12]] for f in taken.files])
    click.echo(f"\ndigest {taken.digest}\n{len(taken.files)} files, {taken.bytes:,} bytes\nzip {archive}")
