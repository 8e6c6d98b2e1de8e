"""v1's inferenceconfig.json (JSON or YAML) → a project layer. Pure but for asking which files exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import msgspec

from outhaul.azureml.deployment_config import drop_empty
from outhaul.azureml.environment_object import EnvironmentObject, environment_layer
from outhaul.azureml.naming import camel
from outhaul.errors import Refused
from outhaul.project.document import Document
from outhaul.project.layers import Layer, prune
from outhaul.project.typed_document import read_typed

Exists = Callable[[str], bool]
"""Whether a path relative to the project's folder is a file."""


class InferenceConfigFile(msgspec.Struct, kw_only=True, frozen=True):
    """The file's keys, the deprecated ones (from `runtime` on) included."""

    entry_script: str | None = None
    source_directory: str | None = None
    environment: EnvironmentObject | None = None
    description: Any = None
    runtime: str | None = None
    conda_file: str | None = None
    extra_dockerfile_steps: str | None = None
    enable_gpu: Any = None
    base_image: str | None = None
    base_image_registry: Any = None
    cuda_version: Any = None


def inference_layer(document: Document, exists: Exists, read: Callable[[str], str]) -> Layer:
    """Refused for unknown keys, wrong types, and a runtime other than Python. `read` gives a project file's text."""
    given = read_typed(replace(document, root=drop_empty(document.root)), InferenceConfigFile, camel)
    folder = given.get("source_directory") or "."
    runtime = given.get("runtime") or "python"
    if runtime != "python":
        raise Refused(
            "runtime",
            f"{document.name}: the runtime `{runtime}` is not supported",
            found=f"runtime: {runtime}",
            expected="`python`",
            remedy="score with a Python script",
        )
    environment = environment_layer(given.get("environment") or {}, document.name)
    environment |= _deprecated(given, lambda path: _placed(path, folder, exists), read)
    if "conda_file" in environment:
        environment["conda_file"] = _placed(environment["conda_file"], folder, exists)
    score = {"script": given.get("entry_script"), "source_directory": folder}
    return prune({"score": score if score["script"] else None, "environment": environment})


def _deprecated(given: dict[str, Any], placed: Callable[[str], str], read: Callable[[str], str]) -> dict[str, Any]:
    steps = given.get("extra_dockerfile_steps")
    return prune(
        {
            "conda_file": given.get("conda_file"),
            "base_image": given.get("base_image"),
            "docker_steps": [read(placed(steps)).strip()] if steps else None,
        }
    )


def _placed(path: str, folder: str, exists: Exists) -> str:
    """The path relative to the project's folder. v1 takes paths relative to sourceDirectory; many files do not."""
    inside = str(PurePosixPath(folder) / path)
    return inside if exists(inside) or not exists(path) else path
