"""The flows' parameters as the Prefect UI's form shows them. Each becomes a plain library value at once.

A flow's own parameters are explained in its docstring: that is where Prefect takes the form's descriptions from.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from outhaul.project.description import Overrides
from outhaul.project.quantities import REPLICAS_PATTERN

Replicas = Annotated[str, Field(pattern=f"^$|{REPLICAS_PATTERN}")]
"""`3`, or `2..4`; empty: as the project says."""


class ProjectOverrides(BaseModel):
    """What stands in for the project's own files. Leave empty what they say already."""

    name: str = Field(default="", title="Name", description="Name of the project.")
    train_script: str = Field(default="", title="Entry script", description="Python file that trains.")
    train_arguments: list[str] = Field(default=[], title="Arguments", description="One item each.")
    score_script: str = Field(default="", title="Score script", description="Python file with init() and run().")
    source_directory: str = Field(default="", title="Source directory", description="Folder of the score script.")
    requirements: str = Field(default="", title="Requirements", description="Path of a pip requirements file.")
    conda: str = Field(default="", title="Conda file", description="Path of a conda YAML.")
    base_image: str = Field(default="", title="Base image", description="Container image to start from.")
    runconfig: str = Field(default="", title="Runconfig", description="Which .azureml/*.runconfig to read.")


def library_overrides(overrides: ProjectOverrides | None, service: str = "", replicas: str = "") -> Overrides:
    """The form's fields as the library's value. Empty means: as the project's own files say."""
    fields = {name: value or None for name, value in (overrides.model_dump() if overrides else {}).items()}
    return Overrides(**fields, service=service or None, replicas=replicas or None)
