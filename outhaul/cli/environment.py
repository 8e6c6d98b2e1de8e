"""`outhaul environment …`"""

from __future__ import annotations

from pathlib import Path

import click

from outhaul.cli.options import output_option
from outhaul.cli.output import print_json, print_list, print_show, workspace
from outhaul.environment.definition import canonical, environment_hash, image_name
from outhaul.errors import NotFound
from outhaul.project.description import Overrides
from outhaul.project.files import load_project
from outhaul.project.packages import environment_of
from outhaul.views import environment_view

PATH = click.argument("path", type=click.Path(path_type=Path), default=".")


@click.group()
def environment() -> None:
    """Environments: hash, list, lock, publish."""


@environment.command("hash")
@PATH
@output_option
def hash_(path: Path, output: str) -> None:
    """The environment hash of the project folder PATH, its image, and what is hashed."""
    found = environment_of(load_project(path, Overrides()), path)
    name = environment_hash(found)
    print_show(output, {"hash": name, "image": image_name(name), "inputs": canonical(found)})


@environment.command("list")
@output_option
def list_(output: str) -> None:
    """The environments in the workspace store and in the global one."""
    opened = workspace()
    built = [*opened.environments.list(), *opened.global_environments.list()]
    columns = ["hash", "store", "python", "builtAt", "seconds"]
    print_list(output, [environment_view(one) for one in built], columns, "none yet: a deployment builds them")


@environment.command()
@PATH
@click.option("--write", type=click.Path(path_type=Path), help="File to write; without it, print.")
@output_option
def lock(path: Path, write: Path | None, output: str) -> None:
    """The project's environment with every installed package pinned to its version."""
    from outhaul.environment.lock import lock as pinned

    opened = workspace()
    wanted = environment_of(load_project(path, Overrides()), path)
    built = opened.environments.find(environment_hash(wanted)) or opened.builder.build(
        wanted, lambda line: click.echo(line, err=True)
    )
    text = pinned(wanted, built)
    if write:
        write.write_text(text)
    if output == "json":
        print_json({"hash": built.hash, "text": text, "file": str(write) if write else None})
    else:
        click.echo(f"written to {write}" if write else text, nl=bool(write))


@environment.command()
@click.argument("environment_hash", metavar="HASH")
@output_option
def publish(environment_hash: str, output: str) -> None:
    """Copy an environment from the workspace store to the global one, for other workspaces to find."""
    opened = workspace()
    built = opened.environments.find(environment_hash)
    if built is None:
        raise NotFound(
            "environment-not-found",
            f"the workspace store holds no environment `{environment_hash}`",
            found=f"{len(opened.environments.list())} others",
            expected="the hash of a built environment",
            remedy="list them with `outhaul environment list`",
        )
    print_show(output, environment_view(opened.global_environments.adopt(built)))
