"""What flags, `outhaul.yaml`, v1's files and conventions say, laid over each other field by field. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from outhaul.errors import Refused
from outhaul.project.description import Overrides, Project
from outhaul.project.quantities import parse_replicas

Layer = Mapping[str, Any]
"""The given fields of a Project, as plain values."""

ALTERNATIVES: Mapping[str, tuple[frozenset[str], ...]] = {
    "environment": (frozenset({"base_image", "dockerfile"}), frozenset({"conda_file", "requirements", "conda"})),
    "service": (frozenset({"num_replicas", "auto_scaler"}),),
}
"""Fields that say the same thing in different ways: a stronger layer that gives one hides the others below."""


def merge(layers: Iterable[Layer]) -> dict[str, Any]:
    """Lay the layers over each other, the strongest first. Lists are replaced whole, groups field by field."""
    merged: dict[str, Any] = {}
    for layer in reversed(list(layers)):
        merged = _over(layer, merged, ())
    return merged


def _over(upper: Layer, lower: Layer, path: tuple[str, ...]) -> dict[str, Any]:
    result = {key: value for key, value in lower.items() if key not in _hidden(upper, path)}
    for key, value in upper.items():
        below = result.get(key)
        whole = path == ("environment",) and key == "conda"
        if isinstance(value, Mapping) and isinstance(below, Mapping) and not whole:
            result[key] = _over(value, below, (*path, key))
        elif value is not None or key not in result:
            result[key] = value
    return result


def _hidden(upper: Layer, path: tuple[str, ...]) -> set[str]:
    given = {key for key, value in upper.items() if value is not None}
    groups = ALTERNATIVES.get(path[0], ()) if len(path) == 1 else ()
    return {name for group in groups if group & given for name in group - given}


def flags_layer(flags: Overrides) -> dict[str, Any]:
    """What the flags say. Refused for a number of replicas that is none."""
    layer: dict[str, Any] = {
        "name": flags.name,
        "train": {"script": flags.train_script, "arguments": flags.train_arguments},
        "score": {"script": flags.score_script, "source_directory": flags.source_directory},
        "environment": {
            "requirements": flags.requirements,
            "conda_file": flags.conda,
            "base_image": flags.base_image,
        },
        "service": {"name": flags.service, **_replicas(flags.replicas)},
    }
    return prune(layer)


def _replicas(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    least, most = parse_replicas(text)
    if ".." not in text:
        return {"num_replicas": least}
    return {"auto_scaler": {"autoscale_enabled": True, "min_replicas": least, "max_replicas": most}}


def prune(layer: Layer) -> dict[str, Any]:
    """The layer without fields that are not given and groups that hold nothing."""
    kept: dict[str, Any] = {}
    for key, value in layer.items():
        pruned = prune(value) if isinstance(value, dict) and key not in ("conda", "variables") else value
        if pruned is not None and pruned != {}:
            kept[key] = pruned
    return kept


def default_name(folder: str) -> str:
    """A project name from its folder's: `My Project` → `my-project`."""
    return re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:32].rstrip("-") or "project"


def finish(merged: Mapping[str, Any]) -> Project:
    """The project. Refused where settings of a script are given but the script itself is not."""
    for section, flag, code in (
        ("train", "--train-script", "entry-script-missing"),
        ("score", "--score-script", "score-script-missing"),
    ):
        given = merged.get(section)
        if given and "script" not in given:
            raise Refused(
                code,
                f"`{section}` names no script",
                found=f"{section}: {', '.join(sorted(given))}",
                expected=f"a Python file, for example `{section}.py`",
                remedy=f"add `{section}: {{script: …}}` to outhaul.yaml, or give {flag}",
            )
    try:
        return msgspec.convert({key: value for key, value in merged.items() if value is not None}, Project)
    except msgspec.ValidationError as error:
        raise Refused(
            "project-setting",
            f"a setting of the project is out of range: {error}",
            found=str(error),
            expected="settings as in docs/reference/project-file.md",
            remedy="correct the flag or the v1 file that gives it",
        ) from error
