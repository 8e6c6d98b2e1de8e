"""`docs/reference/cli.md` and its schemas list exactly the commands and flags that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator

from outhaul.cli.root import outhaul

REFERENCE = Path(__file__).parents[2] / "docs/reference"
PAGE = (REFERENCE / "cli.md").read_text()
SCHEMAS = {path.name.removesuffix(".schema.json"): path for path in (REFERENCE / "cli").glob("*.schema.json")}
SECTIONS = {
    section.partition("\n")[0].split("`")[1]: section
    for section in re.split(r"^### ", PAGE.partition("\n## In scripts")[0], flags=re.MULTILINE)[1:]
}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(outhaul))


def options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


def section(path: tuple[str, ...]) -> str:
    command = COMMANDS[path]
    context = click.Context(command)
    arguments = [each.make_metavar(context) for each in command.params if isinstance(each, click.Argument)]
    return SECTIONS[" ".join(["outhaul", *path, *arguments])]


def test_the_page_has_one_section_for_each_command() -> None:
    assert len(SECTIONS) == len(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_section_tells_what_the_command_does_and_all_its_flags(path: tuple[str, ...]) -> None:
    command, text = COMMANDS[path], section(path)
    assert command.help is not None
    assert " ".join(command.help.split("\n\n")[0].split()) in " ".join(text.split())
    shown = {flag for row in re.findall(r"^\| (`-.*?) \|", text, re.MULTILINE) for flag in re.findall(r"`(-.*?)`", row)}
    assert shown == {flag for each in options(command) if each.name != "output" for flag in each.opts}
    for each in options(command):
        assert each.help, f"{each.opts} has no help"
        assert each.name == "output" or each.help in text


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_with_an_answer_has_a_schema_that_its_section_links(path: tuple[str, ...]) -> None:
    answers = any(each.name == "output" for each in options(COMMANDS[path]))
    assert ("-".join(path) in SCHEMAS) == answers
    assert (f"cli/{'-'.join(path)}.schema.json" in section(path)) == answers


def test_no_schema_is_left_over() -> None:
    assert set(SCHEMAS) == {"error"} | {"-".join(path) for path in COMMANDS} & set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    schema = json.loads(SCHEMAS[name].read_text())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_the_short_help_of_each_command_is_written_in_the_root_and_imports_none_of_them() -> None:
    from outhaul.cli.root import LazyGroup

    assert isinstance(outhaul, LazyGroup)
    assert all(text.endswith(".") for _, text in outhaul.commands_at.values())
