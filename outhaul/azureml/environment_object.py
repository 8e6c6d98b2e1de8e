"""v1's environment object, as it stands in inferenceconfig.json and in a runconfig."""

from __future__ import annotations

from typing import Any

import msgspec

from outhaul.errors import Refused
from outhaul.project.layers import prune


class PythonPart(msgspec.Struct, kw_only=True, frozen=True):
    """The packages."""

    user_managed_dependencies: bool | None = None
    interpreter_path: Any = None
    conda_dependencies_file: str | None = None
    conda_dependencies: dict[str, Any] | None = None
    base_conda_environment: Any = None


class DockerPart(msgspec.Struct, kw_only=True, frozen=True):
    """The base image. Fields typed Any change nothing in an image and are not read."""

    enabled: Any = None
    base_image: str | None = None
    base_dockerfile: str | None = None
    build_context: dict[str, Any] | None = None
    base_image_registry: Any = None
    platform: Any = None
    shared_volumes: Any = None
    shm_size: Any = None
    arguments: Any = None
    gpu_support: Any = None


class EnvironmentObject(msgspec.Struct, kw_only=True, frozen=True):
    """The whole object. `name` and `version` never decide anything, as in v1."""

    name: Any = None
    version: Any = None
    environment_variables: dict[str, str] | None = None
    python: PythonPart | None = None
    docker: DockerPart | None = None
    spark: Any = None
    databricks: Any = None
    r: Any = None
    inferencing_stack_version: Any = None
    asset_id: Any = None


EXAMPLE_VARIABLE = ("EXAMPLE_ENV_VAR", "EXAMPLE_VALUE")


def environment_layer(given: dict[str, Any], where: str) -> dict[str, Any]:
    """The given fields of an EnvironmentObject → the `environment` section of a project layer.

    Paths stay as written; the caller knows what they are relative to. Refused for a build context.
    """
    python, docker = given.get("python") or {}, given.get("docker") or {}
    if docker.get("build_context"):
        raise Refused(
            "build-context",
            f"{where}: docker.buildContext is not supported",
            found="docker.buildContext",
            expected="docker.baseImage or docker.baseDockerfile",
            remedy="put the Dockerfile's steps into docker.baseDockerfile, or into docker_steps of outhaul.yaml",
        )
    managed = not python.get("user_managed_dependencies")
    variables = dict(given.get("environment_variables") or {})
    # v1 writes this pair into every file it makes.
    if variables.get(EXAMPLE_VARIABLE[0]) == EXAMPLE_VARIABLE[1]:
        del variables[EXAMPLE_VARIABLE[0]]
    inline = python.get("conda_dependencies") if managed else None
    return prune(
        {
            # v1 resolves the image from the Dockerfile where both are written.
            "base_image": None if docker.get("base_dockerfile") else docker.get("base_image"),
            "dockerfile": docker.get("base_dockerfile"),
            "conda": inline,
            "conda_file": python.get("conda_dependencies_file") if managed and not inline else None,
            "variables": variables or None,
        }
    )
