"""The flows' parameters as the Prefect UI's form shows them. Each becomes a plain library value at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from outhaul.project import Overrides
from outhaul.quantities import REPLICAS_PATTERN

ProjectReference = Annotated[
    str,
    Field(
        title="Project",
        description="snapshot:<digest>, git+URL@ref#folder, or an absolute path on the machine that runs the flow.",
        min_length=1,
        examples=["git+https://git.example.com/team/models.git@main#digits"],
    ),
]
Replicas = Annotated[
    str | None,
    Field(
        title="Replicas",
        description="A number, or least..most to scale with the load, such as 2..4.",
        pattern=REPLICAS_PATTERN,
    ),
]
Reuse = Annotated[
    bool,
    Field(title="Reuse", description="Take the last run that made the same instead of training again."),
]
Strict = Annotated[
    bool,
    Field(title="Strict", description="Refuse an environment that this target cannot honour in full."),
]
WorkspaceName = Annotated[
    str,
    Field(title="Workspace", description="Name of an Outhaul Workspace block; `default` needs none."),
]


class ProjectOverrides(BaseModel):
    """What stands in for the project's own files. Leave empty what they say already."""

    name: str | None = Field(default=None, title="Name", description="Name of the project.")
    train_script: str | None = Field(default=None, title="Entry script", description="Python file that trains.")
    train_arguments: list[str] | None = Field(default=None, title="Arguments", description="One item each.")
    score_script: str | None = Field(
        default=None, title="Score script", description="Python file with init() and run()."
    )
    source_directory: str | None = Field(
        default=None, title="Source directory", description="Folder of the score script."
    )
    requirements: str | None = Field(default=None, title="Requirements", description="Path of a pip requirements file.")
    conda: str | None = Field(default=None, title="Conda file", description="Path of a conda YAML.")
    base_image: str | None = Field(default=None, title="Base image", description="Container image to start from.")
    runconfig: str | None = Field(default=None, title="Runconfig", description="Which .azureml/*.runconfig to read.")


def library_overrides(
    overrides: ProjectOverrides | None, service: str | None = None, replicas: str | None = None
) -> Overrides:
    """The form's fields as the library's value."""
    fields = overrides.model_dump() if overrides else {}
    return Overrides(**fields, service=service, replicas=replicas)
