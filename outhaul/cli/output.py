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

LONG_LINE = 60
"""Characters of an object that `show` still prints on one line."""


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
    """An object, or its fields one a line; people are spared the empty ones."""
    if output == "json":
        print_json(item)
        return
    told = {name: _told(value) for name, value in item.items() if value not in (None, "", [], {})}
    width = max(map(len, told), default=0)
    for name, lines in told.items():
        for number, line in enumerate(lines):
            label = f"{name if number == 0 else '':<{width}}"
            click.echo(f"{click.style(label, dim=True)}  {fitted(line, taken=width + 2) if len(lines) > 1 else line}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], err: bool = False) -> None:
    """Aligned columns under their names. What is too wide is cut at the terminal's edge, never wrapped."""
    head, *lines = _aligned([columns, *rows])
    click.echo(click.style(fitted(head, err), bold=True), err=err)
    for line in lines:
        click.echo(fitted(line, err), err=err)


def fitted(line: str, err: bool = False, taken: int = 0) -> str:
    """The line cut at the terminal's edge, `taken` columns before it; whole where a file or a program reads it."""
    if not (sys.stderr if err else sys.stdout).isatty():
        return line
    width = shutil.get_terminal_size().columns - taken
    return line if len(line) <= width else line[: width - 1] + "…"


def cell(value: Any) -> str:
    """A value as people read it, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={cell(inner)}" for key, inner in value.items() if inner not in (None, ""))
    if isinstance(value, list | tuple):
        return ", ".join(
            str(inner["id"]) if isinstance(inner, Mapping) and "id" in inner else cell(inner) for inner in value
        )
    return str(value)


def _told(value: Any) -> list[str]:
    """A field of `show`: a text's own lines, a small table for objects, else one line."""
    if isinstance(value, str):
        return value.splitlines()
    if isinstance(value, Mapping) and (len(line := cell(value)) > LONG_LINE or "\n" in line):
        texts = [f"{key}: {cell(inner)}" for key, inner in value.items() if inner not in (None, "", [], {})]
        return [line for text in texts for line in text.splitlines()]
    if isinstance(value, list | tuple) and isinstance(value[0], Mapping):
        columns = [name for name in value[0] if any(item[name] not in (None, "", []) for item in value)]
        return _aligned([columns, *([cell(item[name]) for name in columns] for item in value)])
    return [cell(value)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    texts = [[" ".join(text.split()) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join(f"{t:<{width}}" for t, width in zip(row, widths, strict=True)).rstrip() for row in texts]
