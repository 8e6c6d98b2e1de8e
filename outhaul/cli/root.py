"""The commands' names, and the modules that hold them."""

from __future__ import annotations

import importlib
from typing import Any

import click

from outhaul import __version__


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called. Their short help is written here, so that `--help`
    imports none of them; a test compares the two."""

    def __init__(self, *args: Any, commands_at: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands_at:
            return None
        module, _, name = self.commands_at[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"outhaul.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.commands_at.items()])


@click.group(
    cls=LazyGroup,
    commands_at={
        "deploy": ("deploy:deploy", "Train a project's model and serve it."),
        "train": ("deploy:train", "Run a project's entry script and register its models."),
        "status": ("machine:status", "What runs on this machine."),
        "up": ("machine:up", "Bring everything up: Prefect, router, services."),
        "down": ("machine:down", "Stop everything; nothing is lost."),
        "run": ("run:run", "Runs: list, show, logs, outputs, cancel, restart."),
        "model": ("model:model", "Models: register, list, show, download."),
        "service": ("service:service", "Services: create, list, show, keys, logs, score, update, delete."),
        "snapshot": ("snapshot:snapshot", "What of a project folder is taken, and its digest."),
        "environment": ("environment:environment", "Environments: hash, list, lock, publish."),
        "replicas-needed": ("replicas:replicas_needed", "How many replicas a load needs."),
        "reap": ("machine:reap", "Release what dead runs still hold."),
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def outhaul() -> None:
    """From a project folder to a served model, on your own machines."""
