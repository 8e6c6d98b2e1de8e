"""The reference and the schema say what the structs say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from outhaul.project.reference import PROJECT_PAGE, SCHEMA, SERVICE_PAGE, project_table, service_table, with_table
from outhaul.project.schema import project_schema, schema_text

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
REMEDY = "run `python -m outhaul.project.reference`"


@pytest.mark.parametrize(("page", "table"), [(PROJECT_PAGE, project_table), (SERVICE_PAGE, service_table)])
def test_every_key_stands_in_the_reference(page: str, table: Any) -> None:
    text = (REFERENCE / page).read_text(encoding="utf-8")
    assert text == with_table(text, table()), REMEDY


def test_every_key_has_a_meaning() -> None:
    for table in (project_table(), service_table()):
        rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()[2:]]
        assert [row[1] for row in rows if not row[4]] == []


def test_the_schema_is_current() -> None:
    assert (REFERENCE / SCHEMA).read_text(encoding="utf-8") == schema_text(), REMEDY


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("name: a", True),
        ("train: {timeout: 30m, arguments: [1, two, true]}", True),
        ("train: {timeout: soon}", False),
        ("train: {scrpt: a}", False),
        ("environment: {variables: {A: 1}}", True),
        ("models: [{path: a}]", False),
        ("service: {auto_scaler: {min_replicas: 2}, num_replicas: null}", True),
        ("service: {num_replicas: many}", False),
    ],
)
def test_an_editor_finds_the_mistakes_that_we_find(text: str, valid: bool) -> None:
    assert jsonschema.Draft202012Validator(project_schema()).is_valid(yaml.safe_load(text)) is valid
