"""Options that several commands share. Imports nothing that is only needed when a command runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the answer on stdout.",
)


def follow_options(command: F) -> F:
    """The options of every command that starts a flow."""
    detach = click.option("--detach", is_flag=True, help="Do not wait for the end; follow with `outhaul run logs -f`.")
    return output_option(detach(command))
