"""The documentation is true: links lead somewhere, commands parse, snippets validate, settings are known."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from outhaul.cli.root import outhaul
from outhaul.project.description import Overrides
from outhaul.project.files import load_project

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
GUIDES = [ROOT / "README.md", *sorted(ROOT.glob("docs/guides/*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^ {4}(outhaul .*)$|`(outhaul [a-z][^`]*)`", re.MULTILINE)
YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
SETTING = re.compile(r"\b(?:OUTHAUL|PREFECT)_[A-Z_]+\b")
MAKE = re.compile(r"^ {4}make ([a-z-]+)|`make ([a-z-]+)`", re.MULTILINE)
DATE = re.compile(r"20\d\d-\d\d-\d\d")
DEPENDENCIES = ROOT / "docs/decisions/2026-11-22-dependencies.md"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands() -> list[tuple[str, str]]:
    return [(name_of(page), a or b) for page in GUIDES for a, b in COMMAND.findall(page.read_text())]


def snippets() -> list[tuple[str, str]]:
    return [(name_of(page), text) for page in GUIDES for text in YAML.findall(page.read_text())]


def parse(words: list[str]) -> None:
    """Walk through the groups and parse the last command's options, without running anything."""
    command: click.Command = outhaul
    context = click.Context(outhaul, info_name="outhaul")
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        assert found is not None, f"no command `{words[0]}`"
        command, words = found, words[1:]
    if not isinstance(command, click.Group) and words:
        command.make_context(command.name, list(words), resilient_parsing=False)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_in_the_guides_parses(page: str, line: str) -> None:
    parse(shlex.split(line, comments=True)[1:])


def test_a_command_with_an_unknown_option_would_be_found() -> None:
    with pytest.raises(click.UsageError):
        parse(["service", "show", "digits", "--no-such-option"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {a or b for a, b in MAKE.findall(page.read_text())} - targets == set()


@pytest.mark.parametrize(("page", "text"), snippets())
def test_every_project_file_in_the_guides_is_valid(page: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "outhaul.yaml").write_text(text)
    load_project(tmp_path, Overrides())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_named_setting_is_known_to_the_code(page: Path) -> None:
    sources = [*ROOT.glob("outhaul/**/*.py"), *ROOT.glob("blocks/*.py")]
    known = {name for source in sources for name in SETTING.findall(source.read_text())}
    assert set(SETTING.findall(page.read_text())) - known == set()


def test_every_setting_of_the_settings_file_is_in_the_operations_guide() -> None:
    named = set(SETTING.findall((ROOT / "docs/guides/operations.md").read_text()))
    assert set(SETTING.findall((ROOT / "outhaul/settings.py").read_text())) - {"OUTHAUL_"} - named == set()


def test_every_measured_figure_of_the_readme_has_a_date() -> None:
    table = (ROOT / "README.md").read_text().partition("## Measured")[2].partition("\n## ")[0]
    header, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ]
    assert header == ["what", "target", "measured", "beside", "date"]
    assert rows
    assert [row for row in rows if row[2] != "–" and not DATE.search(row[4])] == []


def test_every_decision_has_a_date_and_is_in_the_index() -> None:
    pages = [page.name for page in (ROOT / "docs/decisions").glob("*.md")]
    index = (ROOT / "docs/README.md").read_text()
    assert [page for page in pages if not DATE.match(page) or f"decisions/{page}" not in index] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0] for group in groups for line in group}
    rows = [line.split("|")[1] for line in DEPENDENCIES.read_text().splitlines() if line.startswith("| ")]
    listed = {name.strip() for row in rows for name in row.split(",")}
    assert names - listed == set()
