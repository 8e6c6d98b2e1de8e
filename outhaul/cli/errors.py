"""How a command ends: its exit status, and the one place that prints errors.

0 done · 1 refused input or failed deployment · 2 command line not understood · 3 our fault · 4 an outside cause
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise

import click

from outhaul.errors import OuthaulError


def run_command(command: click.Command, arguments: Sequence[str]) -> int:
    """Run the command and return the exit status. Errors go to stderr, as JSON when `-o json` was asked."""
    if "_OUTHAUL_COMPLETE" in os.environ:  # a shell asks for completions
        command.main(args=list(arguments), prog_name="outhaul")
    as_json = _asked_for_json(arguments)
    try:
        # Not by click's main(), which has endings of its own: a broken pipe would be our failure there.
        with command.make_context("outhaul", list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
    except OuthaulError as error:
        print_error(dict(error.to_dict()), as_json)
        return error.exit_status
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return 130
    except click.ClickException as error:
        _print_usage(error, as_json)
        return 2
    except BrokenPipeError:
        return _reader_left()
    except Exception as error:  # noqa: BLE001 - the last line of defence: print it, and say whose fault it is
        traceback.print_exc()
        print_error(_internal(error), as_json)
        return 3
    return 0


def _reader_left() -> int:
    """The reader has what it wanted (`outhaul run logs | head`). The interpreter must not complain at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def print_error(fields: dict[str, object], as_json: bool) -> None:
    """One error on stderr: an object for programs, lines for people."""
    if as_json:
        click.echo(json.dumps({"error": fields}), err=True)
        return
    click.echo(click.style("error: ", fg="red", bold=True) + str(fields["message"]), err=True)
    for label in ("found", "expected", "remedy"):
        if text := str(fields.get(label) or ""):
            first, *rest = text.splitlines()
            click.echo(click.style(f"  {label + ':':<10}", dim=True) + first, err=True)
            for line in rest:
                click.echo(" " * 12 + line, err=True)


def _asked_for_json(arguments: Sequence[str]) -> bool:
    named = any(flag in ("-o", "--output") and value == "json" for flag, value in pairwise(arguments))
    return named or not {"-ojson", "--output=json"}.isdisjoint(arguments)


def _print_usage(error: click.ClickException, as_json: bool) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        click.echo(error.format_message(), err=True)
        return
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "outhaul"
    fields = {
        "code": "usage",
        "message": error.format_message().partition("\n")[0].rstrip("."),
        "found": "",
        "expected": context.get_usage().removeprefix("Usage: ") if context else "",
        "remedy": f"see `{path} --help`",
        "retry": False,
    }
    print_error(fields, as_json)


def _internal(error: Exception) -> dict[str, object]:
    return {
        "code": "internal",
        "message": f"this is a fault of Outhaul: {type(error).__name__}: {error}",
        "found": "",
        "expected": "",
        "remedy": "report it with the lines above",
        "retry": False,
    }
