"""How a command ends: its exit status, and the one place that prints errors.

0 done · 1 refused input or failed deployment · 2 command line not understood · 3 our fault · 4 an outside cause
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence

import click

from outhaul.errors import OuthaulError


def run_command(command: click.Command, arguments: Sequence[str]) -> int:
    """Run the command and return the exit status. Errors go to stderr, as JSON when `-o json` was asked."""
    as_json = _asked_for_json(arguments)
    try:
        command.main(args=list(arguments), prog_name="outhaul", standalone_mode=False)
        sys.stdout.flush()
    except OuthaulError as error:
        print_error(dict(error.to_dict()), as_json)
        return error.exit_status
    except click.Abort:
        click.echo("stopped", err=True)
        return 130
    except click.ClickException as error:
        _print_usage(error, as_json)
        return 2
    except (BrokenPipeError, SystemExit) as ended:
        # click turns a broken pipe into an exit of its own
        if isinstance(ended, SystemExit) and not isinstance(ended.__context__, BrokenPipeError):
            raise
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
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any((a in ("-o", "--output") and b == "json") or a in ("-ojson", "--output=json") for a, b in pairs)


def _print_usage(error: click.ClickException, as_json: bool) -> None:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "outhaul"
    fields = {
        "code": "usage",
        "message": error.format_message().rstrip("."),
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
