"""What commands print: data on stdout, as JSON for programs or as a table for people; all else on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from outhaul.settings import Settings, read_settings
from outhaul.workspace import Workspace, open_workspace


def settings() -> Settings:
    """The settings of this shell."""
    return read_settings()


def workspace() -> Workspace:
    """The workspace of this shell's settings."""
    return open_workspace(read_settings())


def program() -> str:
    """How this shell calls Outhaul, for hints that can be pasted."""
    if shutil.which("outhaul"):
        return "outhaul"
    return os.path.relpath(Path(sys.executable).parent / "outhaul")


def print_json(value: object) -> None:
    """The answer for programs: one JSON value, plain types only."""
    json.dump(value, sys.stdout, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False)
    sys.stdout.write("\n")


def print_list(output: str, items: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """An array, or a table of `columns`; `empty` says on stderr what to do where there is nothing yet."""
    if output == "json":
        print_json(list(items))
    elif not items:
        click.echo(empty, err=True)
    else:
        print_table(columns, [[cell(item[name]) for name in columns] for item in items])


def print_show(output: str, item: Mapping[str, Any]) -> None:
    """An object, or its fields one a line."""
    if output == "json":
        print_json(item)
        return
    width = max(len(name) for name in item)
    for name, value in item.items():
        first, *rest = cell(value).splitlines() or [""]
        click.echo(f"{click.style(f'{name:<{width}}', dim=True)}  {first}")
        for line in rest:
            click.echo(" " * (width + 2) + line)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], err: bool = False) -> None:
    """Aligned columns under their names. The last column is cut at the terminal's edge, never wrapped."""
    texts = [[" ".join(text.split()) for text in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *texts, strict=True)]
    click.echo(click.style(fitted(_line(columns, widths), err), bold=True), err=err)
    for row in texts:
        click.echo(fitted(_line(row, widths), err), err=err)


def fitted(line: str, err: bool = False, taken: int = 0) -> str:
    """The line cut at the terminal's edge, `taken` columns before it; whole where a file or a program reads it."""
    if not (sys.stderr if err else sys.stdout).isatty():
        return line
    width = shutil.get_terminal_size().columns - taken
    return line if len(line) <= width else line[: width - 1] + "…"


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={cell(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(cell(inner) for inner in value)
    return str(value)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
