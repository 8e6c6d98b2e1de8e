"""`outhaul model …`"""

from __future__ import annotations

from pathlib import Path

import click

from outhaul.cli.options import output_option
from outhaul.cli.output import print_json, print_list, print_show, workspace
from outhaul.model.registry import download_model, find_model, list_models, register_path
from outhaul.views import model_line, model_view


@click.group()
def model() -> None:
    """Models: register, list, show, download."""


@model.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", "-n", required=True, help="Name to register under; a known name gets a new version.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="May be given several times.")
@click.option("--description", "-d", default="", help="A sentence for people.")
@output_option
def register(path: Path, name: str, tags: tuple[str, ...], description: str, output: str) -> None:
    """Register the file or folder PATH as a model."""
    for tag in tags:
        if "=" not in tag:
            raise click.BadParameter(f"`{tag}` is not KEY=VALUE", param_hint="--tag")
    made = register_path(workspace(), path, name, dict(tag.split("=", 1) for tag in tags), description)
    print_show(output, model_view(made))


@model.command("list")
@click.option("--name", "-n", help="Only this model's versions.")
@output_option
def list_(name: str | None, output: str) -> None:
    """Every version of every model."""
    lines = [model_line(made) for made in list_models(workspace(), name)]
    columns = ["name", "version", "createdAt", "bytes", "files", "metrics"]
    print_list(output, lines, columns, "no model yet: `outhaul train PATH` or `outhaul model register PATH --name N`")


@model.command()
@click.argument("reference", metavar="NAME[:VERSION]")
@output_option
def show(reference: str, output: str) -> None:
    """One model, with where it came from. The newest version unless one is named."""
    print_show(output, model_view(find_model(workspace(), reference)))


@model.command()
@click.argument("reference", metavar="NAME[:VERSION]")
@click.option("--target", "-t", type=click.Path(path_type=Path), default=".", help="Folder to write to.")
@output_option
def download(reference: str, target: Path, output: str) -> None:
    """Write a model's files to a folder."""
    opened = workspace()
    paths = [str(path) for path in download_model(opened, find_model(opened, reference), target)]
    print_json(paths) if output == "json" else click.echo("\n".join(paths))
