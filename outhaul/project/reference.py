"""The reference of `outhaul.yaml`, made from the structs: `python -m outhaul.project.reference` rewrites it.

Only what stands between the `<!-- keys -->` markers is made; the prose around it is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as shapes

from outhaul.azureml.naming import camel
from outhaul.project.description import Project, ServiceSection
from outhaul.project.schema import SERVICE_MEANINGS, schema_text

START, END = "<!-- keys -->", "<!-- /keys -->"
PROJECT_PAGE, SERVICE_PAGE, SCHEMA = "project-file.md", "service-settings.md", "outhaul.schema.json"

V1_NAMES: Mapping[str, str] = {
    "train.script": "`script` of a runconfig",
    "train.arguments": "`arguments` of a runconfig",
    "train.timeout": "`maxRunDurationSeconds` of a runconfig",
    "environment.base_image": "`environment.docker.baseImage`",
    "environment.dockerfile": "`environment.docker.baseDockerfile`",
    "environment.docker_steps": "`extraDockerfileSteps` of inferenceconfig.json",
    "environment.conda_file": "`environment.python.condaDependenciesFile`, `condaFile`",
    "environment.conda": "`environment.python.condaDependencies`",
    "environment.variables": "`environmentVariables`",
    "score.script": "`entryScript` of inferenceconfig.json",
    "score.source_directory": "`sourceDirectory` of inferenceconfig.json",
    "service": "deploymentconfig.json, see [service settings](service-settings.md)",
}


DEFAULTS: Mapping[str, str] = {
    "name": "the folder's name",
    "train.script": "`train.py` where it exists",
    "score.script": "`score.py` where it exists",
    "models": "all of `outputs`",
}
"""Defaults that the folder decides."""


def project_table() -> str:
    """Every key of `outhaul.yaml`, the service's own settings left to their page."""
    rows = [row for row in _rows(shapes.type_info(Project), "") if not row[0].startswith("service.")]
    table = [[key, kind, DEFAULTS.get(key, default), text, V1_NAMES.get(key, "")] for key, kind, default, text in rows]
    return _table(["key", "type", "default", "meaning", "v1"], table)


def service_table() -> str:
    """Every key of `service`, with its name in deploymentconfig.json."""
    rows = list(_rows(shapes.type_info(ServiceSection), ""))
    table = [[*row[:3], row[3] or SERVICE_MEANINGS[row[0]], _v1_setting(row[0])] for row in rows]
    return _table(["key", "type", "default", "meaning", "deploymentconfig.json"], table)


def _v1_setting(key: str) -> str:
    return "" if key == "name" else f"`{'.'.join(camel(part) for part in key.split('.'))}`"


def _rows(shape: shapes.Type, prefix: str) -> Iterator[list[str]]:
    assert isinstance(shape, shapes.StructType)
    for field in shape.fields:
        bare, meaning = _bare(field.type)
        key = prefix + field.name
        yield [key, _type(bare), "" if isinstance(bare, shapes.StructType) else _default(field), meaning]
        inner = _bare(bare.item_type)[0] if isinstance(bare, shapes.ListType) else bare
        if isinstance(inner, shapes.StructType):
            yield from _rows(inner, f"{key}{'[]' if inner is not bare else ''}.")


def _bare(shape: shapes.Type) -> tuple[shapes.Type, str]:
    """The type without its description and without `None`, and the description."""
    if isinstance(shape, shapes.Metadata):
        return _bare(shape.type)[0], (shape.extra_json_schema or {}).get("description", "")
    if isinstance(shape, shapes.UnionType):
        kept = [each for each in shape.types if not isinstance(each, shapes.NoneType)]
        return _bare(kept[0]) if len(kept) == 1 else (shapes.UnionType(tuple(kept)), "")
    return shape, ""


_TYPES: Mapping[type, str] = {
    shapes.StructType: "group",
    shapes.IntType: "whole number",
    shapes.FloatType: "number",
    shapes.BoolType: "true or false",
    shapes.DictType: "names and values",
}


def _type(shape: shapes.Type) -> str:
    if isinstance(shape, shapes.UnionType):
        return "number or text"
    if isinstance(shape, shapes.LiteralType):
        return ", ".join(f"`{value}`" for value in shape.values)
    if isinstance(shape, shapes.ListType):
        inner = _bare(shape.item_type)[0]
        return "list of groups" if isinstance(inner, shapes.StructType) else "list of text"
    return _TYPES.get(type(shape), "text")


def _default(field: shapes.Field) -> str:
    if field.required:
        return "required"
    return "" if field.default in (None, "", msgspec.NODEFAULT) else f"`{_yaml(field.default)}`"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([f"`{row[0]}`", *row[1:]] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_table(page: str, table: str) -> str:
    """The page with the table between its markers."""
    before, _, rest = page.partition(START)
    return f"{before}{START}\n{table}\n{END}{rest.partition(END)[2]}"


def write_reference(folder: Path) -> None:
    """Rewrite the two pages' tables and the schema in `folder`."""
    for name, table in ((PROJECT_PAGE, project_table()), (SERVICE_PAGE, service_table())):
        page = folder / name
        page.write_text(with_table(page.read_text(encoding="utf-8"), table), encoding="utf-8")
    (folder / SCHEMA).write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    write_reference(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
