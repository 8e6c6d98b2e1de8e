"""From a project's `environment` section to the environment's definition, by reading the files that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outhaul.environment.definition import Environment
from outhaul.environment.dependencies import conda_variables, inline_conda, parse_conda
from outhaul.environment.requirements import parse_requirements
from outhaul.errors import Refused
from outhaul.project.description import EnvironmentSection, Project


def environment_of(project: Project, root: Path) -> Environment:
    """The environment of the project in folder `root`. Refused, with file and line, for what cannot be read as one."""
    section = project.environment
    packages, variables = _packages(section, root)
    return Environment(
        base_image=section.base_image,
        dockerfile=_dockerfile(section, root),
        docker_steps=section.docker_steps,
        conda=packages,
        env_vars=variables | section.variables,
    )


def _packages(section: EnvironmentSection, root: Path) -> tuple[dict[str, Any] | None, dict[str, str]]:
    def read(path: str) -> str:
        return (root / path).read_text(encoding="utf-8")

    if section.conda is not None:
        # v1 writes an environment without any packages as empty dependencies.
        content = {"dependencies": [], **section.conda}
        variables = {str(key): str(value) for key, value in (content.get("variables") or {}).items()}
        return inline_conda(content, read, "the inline conda definition"), variables
    if section.conda_file is not None:
        text = read_text(root, section.conda_file)
        return parse_conda(text, read, section.conda_file), conda_variables(text, section.conda_file)
    if section.requirements is not None:
        return parse_requirements(read_text(root, section.requirements), read, section.requirements), {}
    return None, {}


def _dockerfile(section: EnvironmentSection, root: Path) -> str | None:
    if section.dockerfile is None or is_text(section.dockerfile):
        return section.dockerfile
    return read_text(root, section.dockerfile)


def is_text(dockerfile: str) -> bool:
    """Whether `dockerfile` is a Dockerfile's text and not its path."""
    return "\n" in dockerfile or dockerfile.upper().startswith("FROM ")


def read_text(root: Path, name: str) -> str:
    """A project file's text. Refused when it is absent, unreadable or not UTF-8."""
    try:
        return (root / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 at byte {error.start}"
        raise Refused(
            "project-file-unreadable",
            f"{name} cannot be read",
            found=str(reason),
            expected="a text file in UTF-8 in the project's folder",
            remedy=f"create or correct {name}, or name another file",
        ) from error
