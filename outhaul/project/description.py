"""A project folder's description: what to train, in which environment, on which compute, and what to serve. Pure.

The structs are `outhaul.yaml` key by key; the editors' JSON Schema and the reference are made from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from outhaul.project.quantities import BYTES_PATTERN, DURATION_PATTERN, REPLICAS_PATTERN, parse_bytes, parse_duration
from outhaul.service.record import REDACTED, Keys, ServiceSpec

Text = Annotated[str, Meta(min_length=1)]
Duration = Annotated[
    Annotated[str, Meta(pattern=DURATION_PATTERN, examples=["90s", "30m", "2h"])] | Annotated[float, Meta(gt=0)],
    Meta(description="Seconds, or text such as 90s, 30m, 2h."),
]
Size = Annotated[
    Annotated[str, Meta(pattern=BYTES_PATTERN, examples=["512MB", "2GB"])] | Annotated[float, Meta(gt=0)],
    Meta(description="GB, or text such as 512MB, 2GB, 1.5GiB."),
]


class Train(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entry script: `python <script> <arguments>`, run in the project's folder."""

    script: Annotated[Text, Meta(description="Python file that trains, relative to the project's folder.")]
    arguments: Annotated[list[str], Meta(description="Command-line arguments, one item each.")] = []
    timeout: Annotated[
        Duration | None, Meta(description="The run is ended after this time: seconds, or text such as 90s, 30m, 2h.")
    ] = None
    memory: Annotated[
        Size | None, Meta(description="The run is ended above this memory: GB, or text such as 512MB, 2GB.")
    ] = None
    restartable: Annotated[
        bool, Meta(description="Whether the script may be started again when its machine was lost.")
    ] = False
    data: Annotated[
        str,
        Meta(description="What identifies the training data (a digest, a date); `--reuse` minds its change."),
    ] = ""

    @property
    def timeout_seconds(self) -> float | None:
        return None if self.timeout is None else parse_duration(self.timeout)

    @property
    def memory_bytes(self) -> int | None:
        return None if self.memory is None else parse_bytes(self.memory)


class EnvironmentSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The packages that training and scoring run with."""

    base_image: Annotated[Text | None, Meta(description="Container image that the packages are installed into.")] = None
    dockerfile: Annotated[
        Text | None,
        Meta(description="Dockerfile that makes the base image: its path, or its text when it has several lines."),
    ] = None
    docker_steps: Annotated[
        list[str], Meta(description="Dockerfile lines that follow the base image, before the packages.")
    ] = []
    conda_file: Annotated[Text | None, Meta(description="Path of a conda YAML.")] = None
    requirements: Annotated[Text | None, Meta(description="Path of a pip requirements file.")] = None
    conda: Annotated[dict[str, Any] | None, Meta(description="A conda YAML's content, written in place.")] = None
    variables: Annotated[
        dict[str, str], Meta(description="Environment variables of training and scoring, taken as written.")
    ] = {}


class ComputeSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the entry script runs, and what it asks for."""

    target: Annotated[
        Literal["embedded", "docker", "kubernetes"],
        Meta(description="`embedded` is processes of this machine, and the only one that exists now."),
    ] = "embedded"
    pool: Annotated[Text, Meta(description="Name of the compute pool.")] = "default"
    cpu: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="Cores.")] = None
    memory: Annotated[Size | None, Meta(description="Memory asked for: GB, or text such as 512MB, 2GB.")] = None
    gpu: Annotated[int, Meta(description="GPUs.", ge=0)] = 0

    @property
    def memory_bytes(self) -> int | None:
        return None if self.memory is None else parse_bytes(self.memory)


class ModelSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that the run registers."""

    name: Annotated[Text, Meta(description="Name to register under; each run adds a version.")]
    path: Annotated[Text, Meta(description="File or folder that the entry script wrote.")] = "outputs"


class ScoreSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The score script with `init()` and `run()`."""

    script: Annotated[Text, Meta(description="Python file, relative to `source_directory`.")]
    source_directory: Annotated[Text, Meta(description="Folder that holds it, relative to the project's folder.")] = "."


class ServiceSection(ServiceSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The service: its name, and v1's deployment configuration in snake case."""

    name: Annotated[Text | None, Meta(description="Name of the service; the project's name by default.")] = None


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project folder's `outhaul.yaml`."""

    name: Annotated[Text, Meta(description="Name of the project; the folder's name by default.")]
    train: Annotated[Train | None, Meta(description="The entry script.")] = None
    environment: Annotated[EnvironmentSection, Meta(description="The packages.")] = EnvironmentSection()
    compute: Annotated[ComputeSection, Meta(description="Where the entry script runs.")] = ComputeSection()
    models: Annotated[
        list[ModelSection],
        Meta(description="What to register; by default all of `outputs` under the project's name."),
    ] = []
    score: Annotated[ScoreSection | None, Meta(description="The score script.")] = None
    service: Annotated[ServiceSection | None, Meta(description="The service.")] = None

    @property
    def service_name(self) -> str:
        return (self.service and self.service.name) or self.name

    @property
    def service_spec(self) -> ServiceSpec:
        """The service's settings. Never holds keys: those are `keys`, for the SecretStore only."""
        if self.service is None:
            return ServiceSpec()
        fields = {field: getattr(self.service, field) for field in ServiceSpec.__struct_fields__}
        return ServiceSpec(**(fields | {"keys": Keys()}))

    @property
    def keys(self) -> Keys:
        """Keys that the user chose. They go to the SecretStore and to no record, parameter or log; a snapshot of the
        project holds none."""
        given = Keys() if self.service is None else self.service.keys
        primary, secondary = (None if key == REDACTED else key for key in (given.primary_key, given.secondary_key))
        return Keys(primary_key=primary, secondary_key=secondary)

    @property
    def wanted_models(self) -> list[ModelSection]:
        """`models`, or the default: all of `outputs` under the project's name."""
        return self.models or [ModelSection(name=self.name)]

    def without_keys(self) -> Project:
        """The project as a record may keep it."""
        if self.service is None:
            return self
        return msgspec.structs.replace(self, service=msgspec.structs.replace(self.service, keys=Keys()))


class Overrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the command line's flags say. None and empty mean: not given."""

    name: str | None = None
    runconfig: str | None = None
    train_script: str | None = None
    train_arguments: list[str] | None = None
    score_script: str | None = None
    source_directory: str | None = None
    requirements: str | None = None
    conda: str | None = None
    base_image: str | None = None
    service: str | None = None
    replicas: Annotated[str, Meta(pattern=REPLICAS_PATTERN)] | None = None
    """`3`, or `2..4` to autoscale between the two."""
