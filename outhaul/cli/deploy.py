"""`outhaul deploy` and `outhaul train`"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from outhaul.cli.options import follow_options
from outhaul.project.description import Overrides

F = TypeVar("F", bound=Callable[..., Any])


def project_options(command: F) -> F:
    """What stands in for the project's own files."""
    options = [
        click.option("--name", help="Name of the project."),
        click.option("--runconfig", help="Which .azureml/*.runconfig to read."),
        click.option("--train-script", help="Python file that trains."),
        click.option("--train-arguments", help="Its arguments, quoted as in a shell."),
        click.option("--requirements", help="Pip requirements file."),
        click.option("--conda", help="Conda YAML."),
        click.option("--base-image", help="Container image to start from."),
        click.option("--reuse", is_flag=True, help="Take the last run that made the same instead of training again."),
        click.option("--strict", is_flag=True, help="Refuse an environment that cannot be honoured in full."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


PATH = click.argument("path", type=click.Path(path_type=Path), default=".")


@click.command()
@PATH
@click.option("--service", help="Name of the service; the project's name by default.")
@click.option("--replicas", metavar="N|MIN..MAX", help="A number, or a range to scale within.")
@click.option("--score-script", help="Python file with init() and run().")
@click.option("--source-directory", help="Folder of the score script.")
@project_options
@follow_options
def deploy(path: Path, output: str, detach: bool, reuse: bool, strict: bool, **flags: str | None) -> None:
    """Train the model of the project folder PATH in its own environment, and serve it."""
    from outhaul.cli.following import start_and_follow
    from outhaul.cli.starting import start_project

    switches = {"reuse": reuse, "strict": strict}
    sample = path / "request.json" if (path / "request.json").is_file() else None
    start_and_follow(lambda o: start_project(o, "deploy", path, _overrides(flags), switches), output, detach, sample)


@click.command()
@PATH
@project_options
@follow_options
def train(path: Path, output: str, detach: bool, reuse: bool, strict: bool, **flags: str | None) -> None:
    """Run the entry script of the project folder PATH, save its outputs and register its models."""
    from outhaul.cli.following import start_and_follow
    from outhaul.cli.starting import start_project

    switches = {"reuse": reuse, "strict": strict}
    start_and_follow(lambda o: start_project(o, "train", path, _overrides(flags), switches), output, detach)


def _overrides(flags: dict[str, str | None]) -> Overrides:
    arguments = flags.pop("train_arguments", None)
    given = {name: value for name, value in flags.items() if value is not None}
    return Overrides(**given, train_arguments=None if arguments is None else shlex.split(arguments))
