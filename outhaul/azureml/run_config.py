"""v1's `.azureml/*.runconfig` (YAML) → a project layer. Pure.

A runconfig names many things that only Azure has (framework, history, dataReferences, target, …); those are not read.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from outhaul.azureml.deployment_config import drop_empty
from outhaul.azureml.environment_object import EnvironmentObject, environment_layer
from outhaul.azureml.naming import camel
from outhaul.errors import Refused
from outhaul.project.document import Document, Item
from outhaul.project.layers import Layer, prune
from outhaul.project.typed_document import read_typed

SUFFIX = ".runconfig"


class RunConfigFile(msgspec.Struct, kw_only=True, frozen=True):
    """The keys that are read."""

    script: str | None = None
    arguments: list[str] | str | None = None
    environment: EnvironmentObject | None = None
    environment_variables: dict[str, str] | None = None
    max_run_duration_seconds: float | None = None
    node_count: int | None = None
    command: list[str] | str | None = None


def run_layer(document: Document) -> Layer:
    """Refused for wrong types, a run on several nodes, and a `command` in place of a script."""
    given = read_typed(replace(document, root=_read_keys(document.root)), RunConfigFile, camel)
    _check(given, document.name)
    environment = environment_layer(given.get("environment") or {}, document.name)
    variables = environment.get("variables", {}) | (given.get("environment_variables") or {})
    train = {
        "script": given.get("script"),
        "arguments": _words(given.get("arguments")),
        "timeout": given.get("max_run_duration_seconds"),
    }
    return prune({"train": train, "environment": environment | {"variables": variables or None}})


def _read_keys(root: Item) -> Item:
    names = {camel(field) for field in RunConfigFile.__struct_fields__}
    item = drop_empty(root)
    if not isinstance(item.value, dict):
        return item
    return Item({key: child for key, child in item.value.items() if key in names}, item.line)


def _words(arguments: Any) -> list[str] | None:
    return shlex.split(arguments) if isinstance(arguments, str) else arguments or None


def _check(given: dict[str, Any], name: str) -> None:
    if (given.get("node_count") or 1) > 1:
        raise Refused(
            "node-count",
            f"{name}: runs on several nodes are not supported",
            found=f"nodeCount: {given['node_count']}",
            expected="nodeCount: 1",
            remedy="train on one node, or start the others from the entry script",
        )
    if given.get("command") and not given.get("script"):
        raise Refused(
            "entry-script-missing",
            f"{name}: a `command` cannot be run",
            found=f"command: {given['command']}",
            expected="`script` and `arguments`",
            remedy="name the Python file in `script` and what follows it in `arguments`",
        )


def choose_runconfig(found: Sequence[str], wanted: str | None) -> str | None:
    """The file to read, among file names such as `train.runconfig`. `wanted` may leave the ending out.

    None where there is none. Refused where there are several and none is wanted, or the wanted one is not there.
    """
    if wanted is None:
        if len(found) > 1:
            raise Refused(
                "runconfig-ambiguous",
                f"the project has {len(found)} runconfigs",
                found="\n".join(sorted(found)),
                expected="one, or --runconfig to choose",
                remedy=f"add --runconfig {sorted(found)[0].removesuffix(SUFFIX)}",
            )
        return found[0] if found else None
    for name in found:
        if wanted in (name, name.removesuffix(SUFFIX), f".azureml/{name}"):
            return name
    raise Refused(
        "runconfig-missing",
        f"there is no runconfig `{wanted}`",
        found="\n".join(sorted(found)) or "no file `.azureml/*.runconfig`",
        expected="one of the names found, with or without the ending",
        remedy="choose one of them with --runconfig",
    )
